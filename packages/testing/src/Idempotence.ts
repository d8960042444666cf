/**
 * Whether the result of a projection stays the same, whatever is repeated: a property, tried on random events with random faults.
 *
 * @since 0.1.0
 */
import type { EntityType } from "@sluice/core/EntityType"
import type { EventStream } from "@sluice/core/EventStream"
import * as ExpectedError from "@sluice/core/ExpectedError"
import { isFlow } from "@sluice/core/Flow"
import type { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Formatter from "effect/Formatter"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Faults from "./Faults.ts"
import { aroundHandler } from "./internal/aroundHandler.ts"
import { Pace, quick } from "./internal/eventually.ts"
import { countingSteps } from "./internal/faults/afterSteps.ts"
import { numberOf } from "./internal/faults/Injector.ts"
import { OnUnmet } from "./internal/faults/OnUnmet.ts"
import * as ProjectionTestKit from "./ProjectionTestKit.ts"
import * as TestSource from "./TestSource.ts"

/**
 * With these faults the projection has led to another state than without them. Events and faults are as few as were found to do.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotIdempotent
  extends ExpectedError.TaggedError<NotIdempotent>("@sluice/testing/NotIdempotent")("NotIdempotent", {
    projection: Schema.String,
    /** Those that have happened. */
    faults: Schema.Array(Faults.Fault),
    /** After how many events it has stored its offset, if another number was tried than its own. */
    saveAfter: Schema.UndefinedOr(Schema.Int),
    /** What was published, one event each. */
    publications: Schema.Array(Schema.Struct({ id: Schema.String, events: Schema.NonEmptyArray(Schema.Unknown) })),
    /** The state without faults. */
    expected: Schema.Unknown,
    /** The state with them, or why the projection did not come to its end. */
    actual: Schema.Unknown,
    seed: Schema.Union([Schema.String, Schema.Finite])
  })
{
  override get message(): string {
    const { actual, expected, faults, projection, publications, saveAfter, seed } = this
    const saved = saveAfter === undefined ? "" : ` with saveAfter ${saveAfter}`
    const events = publications.map(({ events, id }) => `${id}: ${Formatter.format(events[0])}`).join("; ")
    return `Projection '${projection}'${saved} ${Faults.describe({ faults })}, and its state is ${
      Formatter.format(actual)
    }, not ${Formatter.format(expected)}, after the events ${events}. Again with seed ${Formatter.format(seed)}`
  }
}

/**
 * What is tried in each run: a projection that has handled nothing yet, and how to read what it has led to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subject<out ProjectionServices, out StateServices> {
  /** Is called again wherever a process starts, after each crash as well: what a handler keeps in memory is to be made in it, and is lost with the process. */
  readonly projection: () => Projection.Projection<unknown, ProjectionServices>
  /** Is compared by structure. */
  readonly state: Effect.Effect<unknown, unknown, StateServices>
}

/**
 * How to try.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A, R, Projections, States, Storage> {
  readonly event: Arbitrary.Arbitrary<A>
  /** Is made anew for each run, and is empty then: storage in memory, or a new database. */
  readonly storage: Layer.Layer<Storage, unknown>
  /** Is run once for each run, with its storage: what survives a crash is to be made in it, such as the tables of a handler. */
  readonly subject: (source: TestSource.TestSource<A>) => Effect.Effect<Subject<Projections, States>, unknown, R>
  /** How many sequences of events are tried, each without faults and with some. 100 by default. */
  readonly runs?: number | undefined
  /** How many events a sequence has at most. 8 by default. */
  readonly events?: number | undefined
  /** Of how many entities they are at most. 3 by default. */
  readonly entities?: number | undefined
  /** Names the sequences. By default, each check has others. */
  readonly seed?: string | number | undefined
}

/**
 * Tries a projection on random events: first as it is, then with random crashes, lost answers and repetitions, and compares the states that this leads to. Fails with
 * {@link NotIdempotent}, which says the fewest events and faults that were found to make a difference.
 *
 * **When to use**
 *
 * For at-least-once handlers, which have to stand repetitions; and for exactly-once ones that do anything beside their transaction. At most once, events
 * are lost in a crash, so that there is nothing to compare: it throws a `RangeError` then.
 *
 * **Details**
 *
 * Each run has a storage of its own, and a `TestClock`. All events are published before the projection starts. It tries again at once where an injected fault
 * makes its handler fail, and otherwise does what its recovery strategy says. A crash comes between any two steps of the handler as well, and loses what is
 * in memory. An at-least-once projection stores its offset after as many events as it says in some runs, and after one to three in the others: what it keeps in memory of
 * events that are stored is lost. The faults of the error are those of `Faults`: given to `ProjectionTestKit.start`, with the function that makes the projection, they show it again, with the
 * error's `saveAfter` if there is one.
 *
 * **Example** (A counter that does not stand repetitions)
 *
 * ```ts
 * import { EntityType, EventCodec, MemoryStorage, Projection } from "@sluice/core"
 * import { Faults, Idempotence } from "@sluice/testing"
 * import { Arbitrary, Effect } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 *
 * const check = (isRight: boolean) =>
 *   Idempotence.check(Note, {
 *     event: Arbitrary.Constant("written"),
 *     storage: MemoryStorage.layer,
 *     seed: 1,
 *     subject: (notes) =>
 *       Effect.sync(() => {
 *         // they stand for tables, and survive a crash
 *         let counted = 0
 *         const seen = new Map<string, number>()
 *         const projection = () =>
 *           notes.pipe(
 *             Projection.atLeastOnce("notes", ({ persistenceId, sequenceNumber }) =>
 *               Effect.sync(() => {
 *                 if (isRight && sequenceNumber <= (seen.get(persistenceId) ?? 0)) return
 *                 seen.set(persistenceId, sequenceNumber)
 *                 counted++
 *               }))
 *           )
 *         return { projection, state: Effect.sync(() => counted) }
 *       })
 *   })
 *
 * await Effect.runPromise(check(true))
 * const error = await Effect.runPromise(Effect.flip(check(false)))
 * error.expected // => 1
 * error.actual // => 2
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const check = <A, R, Projections, States, Storage>(
  contract: EntityType<A> | EventStream<A>,
  options: Options<A, R, Projections, States, Storage>
): Effect.Effect<void, NotIdempotent, Exclude<R | Projections | States | OffsetStore, Storage | Scope.Scope>> =>
  Effect.gen(function*() {
    const { entities = 3, event, events: length = 8, runs = 100, storage, subject } = options
    const seed = options.seed ?? (yield* Random.nextInt)
    const inputs: Arbitrary.Arbitrary<Input<A>> = Arbitrary.map(
      Arbitrary.all({
        events: Arbitrary.array(
          Arbitrary.all({ entity: Arbitrary.schema(upTo(entities)), event }),
          { minLength: 1, maxLength: length }
        ),
        faults: Arbitrary.array(Arbitrary.schema(fault(length)), { minLength: 1, maxLength: 3 }),
        saveAfter: Arbitrary.schema(Schema.Literals([0, 1, 2, 3]))
      }),
      ({ events, faults, saveAfter }) => ({
        saveAfter: saveAfter === 0 ? undefined : saveAfter,
        publications: events.map(({ entity, event }) => ({ id: `${entity}`, events: [event] as const })),
        // each at an event that there is
        faults: Faults.make(faults.map((fault) => ({ ...fault, event: (fault.event - 1) % events.length + 1 })))
      })
    )
    const run = (
      publications: ReadonlyArray<TestSource.Publication<A>>,
      faults: Faults.Faults,
      { saveAfter, steps }: { readonly steps?: Map<number, number>; readonly saveAfter?: number | undefined }
    ) =>
      Effect.gen(function*() {
        const source = yield* TestSource.make(contract)
        const { projection, state } = yield* subject(source)
        const { delivery, handler, name } = projection()
        if (delivery._tag === "AtMostOnce") {
          throw new RangeError(
            `Projection '${name}' is at most once, and loses events in a crash: nothing can be compared`
          )
        }
        yield* source.publish(...publications)
        const meant = isFlow(handler) ? Faults.make(faults.faults.map(ofFlow)) : faults
        const saved = delivery._tag === "AtLeastOnce" && saveAfter !== undefined
          ? { ...delivery, saveAfter }
          : undefined
        let unmet: ReadonlyArray<Faults.Fault> = []
        const persistent = () => {
          const own = steps === undefined ? projection() : counting(projection(), steps)
          const made: typeof own = Object.create(Object.getPrototypeOf(own))
          Object.assign(made, own, { delivery: saved ?? own.delivery })
          const retries = made.recovery.retries + meant.faults.length
          return made.pipe(Projection.recovery({ ...made.recovery, retries, delay: Duration.zero }))
        }
        const reached = yield* ProjectionTestKit.start(persistent, { faults: meant }).pipe(
          Effect.flatMap((kit) => Effect.exit(Effect.andThen(kit.caughtUp({ timeout: "1 minute" }), state))),
          Effect.provideService(OnUnmet, ({ faults }) => Effect.sync(() => void (unmet = faults))),
          Effect.scoped
        )
        return {
          name,
          faults: meant.faults.filter((fault) => !unmet.includes(fault)),
          saveAfter: saved?.saveAfter,
          reached
        }
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.fresh(storage)),
        Effect.provide([ProjectionRegistry.layer, TestClock.layer()]),
        Effect.provideService(References.MinimumLogLevel, "None"),
        Effect.provideService(Pace, quick)
      )
    const property = ({ faults, publications, saveAfter }: Input<A>) =>
      Effect.gen(function*() {
        const steps = new Map<number, number>()
        const expected = yield* Effect.orDie(
          Effect.flatMap(run(publications, Faults.none, { steps }), ({ reached }) => reached)
        )
        const meant = Faults.make(faults.faults.map((fault) => withinSteps(fault, steps)))
        const trial = yield* Effect.orDie(run(publications, meant, { saveAfter }))
        const actual = Exit.isSuccess(trial.reached) ? trial.reached.value : Cause.squash(trial.reached.cause)
        if (Exit.isSuccess(trial.reached) && Equal.equals(actual, expected)) return true
        return yield* new NotIdempotent({
          projection: trial.name,
          faults: trial.faults,
          saveAfter: trial.saveAfter,
          publications: publications.map(({ events, id }) => ({ id, events: [events[0]] })),
          expected,
          actual,
          seed
        })
      })
    const result = yield* Arbitrary.checkEffect(inputs, property, { runs, seed, maxShrinks: 50 })
    if (result._tag === "Falsified" && result.failure._tag === "PropertyError") return yield* result.failure.error
    const problem = Arbitrary.formatCheckFailure(result)
    if (problem !== undefined) return yield* Effect.die(new Error(problem))
  }) as Effect.Effect<void, NotIdempotent, any>

interface Input<A> {
  readonly publications: ReadonlyArray<TestSource.Publication<A>>
  readonly faults: Faults.Faults
  readonly saveAfter: number | undefined
}

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 1, maximum }))

/** As many as a handler has, whatever that is. */
const allSteps = 1_000_000

/** A crash within a handler at one of the steps that it has taken for the event without faults. */
const withinSteps = (fault: Faults.Fault, steps: ReadonlyMap<number, number>): Faults.Fault =>
  fault._tag === "Crash" && fault.at === "inHandler"
    ? { ...fault, step: Math.ceil(fault.step / allSteps * (steps.get(fault.event) ?? 1)) }
    : fault

/** The projection, whose handler says how many steps it has taken for each event. */
const counting = <E, R>(
  self: Projection.Projection<E, R>,
  steps: Map<number, number>
): Projection.Projection<E, R> => {
  const { handler } = self
  if (isFlow(handler)) return self
  const numbers = new Map<string, number>()
  const made: typeof self = Object.create(Object.getPrototypeOf(self))
  return Object.assign(made, self, {
    handler: aroundHandler(handler, (envelopes, call) => {
      const events = envelopes.map((envelope) => numberOf(numbers, envelope))
      return countingSteps(call, (taken) => {
        for (const event of events) steps.set(event, taken)
      })
    })
  })
}

/** What a handler has to stand. What else there is concerns Sluice alone, or the order of entities. */
const fault = (events: number) => {
  const event = upTo(events)
  return Schema.Union([
    Schema.TaggedStruct("FailAfterCommit", { event }),
    Schema.TaggedStruct("Duplicate", { event }),
    Schema.TaggedStruct("Crash", { event, at: Schema.Literals(["afterHandler", "afterCommit"]), step: upTo(1) }),
    // in proportion to those that the handler has; more often than the others, as it has many
    ...[1, 2, 3].map(() =>
      Schema.TaggedStruct("Crash", { event, at: Schema.Literal("inHandler"), step: upTo(allSteps) })
    )
  ])
}

/** A flow has no calls: it is killed once it has emitted the event, before or after that is stored. */
const ofFlow = (fault: Faults.Fault): Faults.Fault =>
  fault._tag === "Reorder" || fault._tag === "Crash" && fault.at === "afterCommit"
    ? fault
    : { _tag: "Crash", event: fault.event, at: "afterHandler", step: 1 }
