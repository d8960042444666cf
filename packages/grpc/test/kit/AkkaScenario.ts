/** A projection of a plain Akka producer that keeps to a script, and what must have become of the events. */
import { assert } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import type * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import type * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import { CallTransport } from "@sluice/grpc/CallTransport"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AkkaProducer from "./AkkaProducer.ts"
import { remote } from "./Consumer.ts"
import { makeStorage } from "./Recorder.ts"

/** How often the producer may be asked, in all. No event is ever asked for twice, unless `loads` says how often. */
export interface Limits {
  readonly inits?: number
  /** Replays on the stream, and calls for an entity's events that are answered. */
  readonly repairs?: number
  readonly eventTimestamps?: number
  readonly loads?: number
}

/** What the scenario is about, and what the producer may be asked for. */
export interface Options extends AkkaProducer.Options {
  readonly limits?: Limits
  readonly workers?: number
  readonly guarantee?: "exactly once" | "at least once"
  readonly filter?: EventFilter.EventFilter
  readonly recovery?: RecoveryStrategy.RecoveryStrategy
  /** How many times faster than usual the consumer's deadlines pass. */
  readonly speed?: number
  /** What the handler does first, with the nth event that it is given. */
  readonly before?: (envelope: Envelope<string>, n: number) => Effect.Effect<void, unknown>
}

/** A scenario that runs. */
export interface Stage {
  readonly producer: AkkaProducer.AkkaProducer
  /** Runs the projection, until it is stopped. */
  readonly start: (workers?: number) => Effect.Effect<void>
  /** Runs it once more, as another process would, until the scenario ends. */
  readonly startAnother: Effect.Effect<void>
  /** Interrupts it, wherever it is. */
  readonly stop: Effect.Effect<void>
  /** Ends when the handler was given so many different events. */
  readonly handled: (n: number) => Effect.Effect<void>
  /** Ends when so many are committed. */
  readonly stored: (n: number) => Effect.Effect<void>
  /** Ends when the condition holds. */
  readonly until: (what: string, condition: () => boolean) => Effect.Effect<void>
  /** Ends when the consumer reads so many streams. */
  readonly connected: (streams?: number) => Effect.Effect<void>
  /** What the handler was given, in order, as `entity number`. */
  readonly given: ReadonlyArray<string>
  /** What was committed, in order. */
  readonly committed: Effect.Effect<ReadonlyArray<string>>
  readonly status: Effect.Effect<ReadonlyArray<ProjectionStatus.WorkerStatus>>
  /** What workers have failed with last, also if they go on since. */
  readonly failures: Effect.Effect<ReadonlyArray<Cause.Cause<unknown>>>
  readonly projection: string
  readonly storage: Context.Context<any>
  /** Asks where the projection runs. */
  readonly asked: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export type Script = (stage: Stage) => Effect.Effect<unknown, unknown, Scope.Scope>

const Handled = EntityType.make("handled", { codec: EventCodec.string })

/** What was handled, written in the transaction that moves the offset. */
const record = (envelope: Envelope<string>) =>
  Journal.append(Handled, {
    id: "all",
    events: [lineOf(envelope.persistenceId, envelope.sequenceNumber, envelope.event)]
  })

const lineOf = (persistenceId: string, sequenceNumber: number, text: string): string =>
  `${PersistenceId.entityId(PersistenceId.parse(persistenceId))} ${sequenceNumber} ${text}`

/** Everything that a handler has to be given, of each entity in order. */
const truthOf = (rows: ReadonlyArray<AkkaProducer.Row>): ReadonlyMap<string, ReadonlyArray<string>> =>
  byEntity(
    rows.filter(({ text }) => text !== undefined)
      .toSorted((a, b) => a.sequenceNumber - b.sequenceNumber)
      .map((row) => lineOf(row.persistenceId, row.sequenceNumber, row.text!))
  )

const byEntity = (lines: ReadonlyArray<string>): ReadonlyMap<string, ReadonlyArray<string>> =>
  new Map([...Map.groupBy(lines, (line) => line.split(" ")[0]!)].toSorted(([a], [b]) => a < b ? -1 : 1))

const problemOf = (cause: Cause.Cause<unknown>): string => String(Cause.squash(cause))

const projectionName = "scripted"

export const setStage = (
  options: Options,
  storage: Effect.Effect<Context.Context<any>, never, Scope.Scope> = makeStorage
): Effect.Effect<Stage, never, Scope.Scope> =>
  Effect.gen(function*() {
    const producer = yield* AkkaProducer.make(options)
    const here = yield* storage
    const outer = yield* Effect.scope
    const given: Array<string> = []
    const registry = ProjectionRegistry.make()
    let current: Scope.Closeable | undefined
    const handle = (envelope: Envelope<string>) =>
      Effect.suspend(() => {
        given.push(`${PersistenceId.entityId(envelope.persistenceId)} ${envelope.sequenceNumber}`)
        return Effect.andThen(options.before?.(envelope, given.length) ?? Effect.void, record(envelope))
      })
    const run = (scope: Scope.Scope, workers: number) =>
      Effect.gen(function*() {
        const all = remote(producer.address)
        const source = options.filter === undefined ? all : all.pipe(EventConsumer.filter(options.filter))
        const projection = options.guarantee === "at least once"
          ? Projection.atLeastOnce(projectionName, handle)(source)
          : Projection.exactlyOnce(projectionName, handle)(source)
        yield* Layer.build(
          Projection.layer(
            projection.pipe(
              Projection.workers(workers),
              options.recovery === undefined ? (_) => _ : Projection.recovery(options.recovery)
            ) as Projection.Projection<never, any>
          )
        ).pipe(Effect.provide(here), Scope.provide(scope), Effect.orDie)
      })
    const start = (workers = options.workers ?? 1) =>
      Effect.gen(function*() {
        current = yield* Scope.fork(outer)
        yield* Effect.provideService(run(current, workers), ProjectionRegistry.ProjectionRegistry, registry)
      })
    const asked: Stage["asked"] = Effect.provideService(ProjectionRegistry.ProjectionRegistry, registry)
    const status = asked(ProjectionStatus.status(projectionName))
    const explained = Effect.map(status, (workers) => {
      const states = workers.map(({ failure, state }) =>
        failure === undefined ? state : `${state} (${problemOf(failure.cause)})`
      )
      const { inits, ...others } = producer.asked
      return `${states.join(", ")}; ${given.length} given, ${inits.length} streams, ${
        JSON.stringify(others).slice(0, 500)
      }`
    })
    const until = (what: string, condition: () => boolean) =>
      Wait.until(what, condition).pipe(
        Effect.catchCause((cause) =>
          Effect.flatMap(explained, (text) => Effect.die(new Error(`${problemOf(cause)}: ${text}`)))
        )
      )
    const committed = Stream.runCollect(Journal.read(Handled, "all")).pipe(
      Effect.map((envelopes) => envelopes.map(({ event }) => event)),
      Effect.provide(here),
      Effect.orDie
    ) as Effect.Effect<ReadonlyArray<string>>
    return {
      producer,
      start,
      startAnother: Effect.provideService(
        run(outer, options.workers ?? 1),
        ProjectionRegistry.ProjectionRegistry,
        ProjectionRegistry.make()
      ),
      stop: Effect.suspend(() => current === undefined ? Effect.void : Scope.close(current, Exit.void)).pipe(
        // what is shown from now on is for who comes next
        Effect.andThen(until("the streams to end", () => producer.streams() === 0))
      ),
      handled: (n) => until(`${n} events to be handled`, () => new Set(given).size >= n),
      until,
      connected: (streams = 1) => until(`${streams} streams`, () => producer.streams() >= streams),
      given,
      committed,
      stored: (n) => Wait.until(`${n} events to be stored`, Effect.map(committed, (lines) => lines.length >= n)),
      status,
      failures: Effect.sync(() =>
        registry.workers(projectionName).flatMap(({ reading: { lastFailure } }) =>
          lastFailure === undefined ? [] : [lastFailure.failure.cause]
        )
      ),
      projection: projectionName,
      storage: here,
      asked
    }
  })

/**
 * Plays the script, and then one more event to see that all goes on. Everything of the journal must have been handled, in order, and
 * exactly once if that was promised; and the producer was not asked too often.
 */
export const play = (script: Script, options: Options = {}, storage?: Parameters<typeof setStage>[1]) =>
  Effect.gen(function*() {
    const stage = yield* setStage(options, storage)
    const { producer } = stage
    yield* stage.start()
    yield* script(stage)
    yield* stage.until("a stream", () => producer.streams() > 0)
    producer.write("the-last")
    const truth = truthOf(producer.rows)
    const total = [...truth.values()].reduce((sum, lines) => sum + lines.length, 0)
    yield* stage.handled(total)
    yield* Wait.until("all to be committed", Effect.map(stage.committed, (lines) => lines.length >= total))
    const lines = yield* stage.committed
    const committed = byEntity(options.guarantee === "at least once" ? [...new Set(lines)] : lines)
    assert.deepStrictEqual(committed, truth)
    const { limits = {} } = options
    const { currents, eventTimestamps, inits, loads, replays } = producer.asked
    assert.isAtMost(inits.length, limits.inits ?? 1, "streams")
    assert.isAtMost(replays.length + currents.length, limits.repairs ?? 0, "repairs")
    assert.isAtMost(eventTimestamps.length, limits.eventTimestamps ?? 0, "questions for timestamps")
    if (limits.loads === undefined) {
      assert.strictEqual(loads.length, new Set(loads).size, "events that are loaded twice")
    } else assert.isAtMost(loads.length, limits.loads, "loads")
    return stage
  }).pipe(hurrying(options.speed))

/** Deadlines, of the network too, pass sooner. */
const hurrying = (speed: number | undefined) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  speed === undefined ? effect : Effect.gen(function*() {
    const transport = yield* CallTransport
    const clock = hurried(transport.clock, speed)
    return yield* effect.pipe(
      Effect.provideService(CallTransport, Object.assign(Object.create(transport), { clock })),
      Effect.provideService(Clock.Clock, clock)
    )
  })

const hurried = (clock: Clock.Clock, speed: number): Clock.Clock => {
  const since = clock.monotonicTimeNanosUnsafe()
  const millis = clock.currentTimeMillisUnsafe()
  const passed = () => (clock.monotonicTimeNanosUnsafe() - since) * BigInt(speed)
  const monotonic = () => since + passed()
  const now = () => millis + Number(passed() / 1_000_000n)
  return Object.assign(Object.create(clock), {
    sleep: (duration: Duration.Duration) => clock.sleep(Duration.divideUnsafe(duration, speed)),
    monotonicTimeNanosUnsafe: monotonic,
    monotonicTimeNanos: Effect.sync(monotonic),
    currentTimeMillisUnsafe: now,
    currentTimeMillis: Effect.sync(now)
  })
}

/**
 * Plays the script, and waits until a worker has failed with an error that has this tag and text. What was handled until then
 * is of each entity what comes first.
 */
export const playToFailure = (
  script: Script,
  { tag, text }: { readonly tag: string; readonly text: string },
  options: Options = {},
  storage?: Parameters<typeof setStage>[1]
) =>
  Effect.gen(function*() {
    const stage = yield* setStage(options, storage)
    yield* stage.start()
    yield* script(stage)
    let errors: ReadonlyArray<any> = []
    yield* Wait.until(
      `a ${tag} that says '${text}'`,
      Effect.map(stage.failures, (failures) => {
        errors = failures.map((cause) => Cause.squash(cause))
        return errors.some((error) => error._tag === tag && String(error.message).includes(text))
      })
    ).pipe(Effect.catchCause((cause) => {
      const found = errors.map(({ _tag, message }) => `${_tag}: ${message}`).join(", ")
      return Effect.die(new Error(`${problemOf(cause)}: ${found}`))
    }))
    const truth = truthOf(stage.producer.rows)
    for (const [entity, lines] of byEntity(yield* stage.committed)) {
      assert.deepStrictEqual(lines, (truth.get(entity) ?? []).slice(0, lines.length), entity)
    }
    return stage
  }).pipe(hurrying(options.speed))
