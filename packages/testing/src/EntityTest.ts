/**
 * Given, when, then for entities, commands in random sequences, and events of old versions: in memory, with every value passing its codec.
 *
 * @since 0.1.0
 */
import type { DurableStateStore } from "@sluice/core/DurableStateStore"
import * as ExpectedError from "@sluice/core/ExpectedError"
import type { Journal } from "@sluice/core/Journal"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import type { StateType } from "@sluice/core/StateType"
import type { DurableState } from "@sluice/entity/DurableState"
import type { Entity } from "@sluice/entity/Entity"
import type { Arguments, CommandOptions } from "@sluice/entity/EntityClient"
import type { EntityError } from "@sluice/entity/EntityError"
import type { EventSourced } from "@sluice/entity/EventSourced"
import type { Replica } from "@sluice/replication/Replica"
import type { ReplicatedEventSourced } from "@sluice/replication/ReplicatedEventSourced"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { fileURLToPath } from "node:url"
import { differenceOf, stepsBetween } from "./internal/entities/converging.ts"
import { isAmong, readFolder, storedOf, unreadable, writeFixture } from "./internal/entities/fixtures.ts"
import { type Before, type Outcome as AnyOutcome, outcomeOf, type Sent } from "./internal/entities/given.ts"
import { type AnyEntity, type Kind, kindOf } from "./internal/entities/kind.ts"
import { difference, isSame, short } from "./internal/entities/render.ts"
import {
  type Fault,
  faultOf,
  type Model as AnyModel,
  type StepOptions,
  stepsOf
} from "./internal/entities/sequences.ts"

/**
 * A command has led to something else than the test says. The message shows what differs.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotAsExpected
  extends ExpectedError.TaggedError<NotAsExpected>("@sluice/testing/NotAsExpected")("NotAsExpected", {
    entityType: Schema.String,
    /** What was given, and the commands. */
    story: Schema.String,
    expected: Schema.Unknown,
    actual: Schema.Unknown
  })
{
  override get message(): string {
    return `${this.story}: what follows is not what was expected (- expected, + actual)\n${
      difference(this.expected, this.actual)
    }`
  }
}

/**
 * What follows from a command. What is not said is not compared, but that the command is accepted unless `error` or `failure` says otherwise; then nothing
 * may be persisted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Expected<out Event, out State, out Reply, out Error> {
  /** The events of the last command; of a durable state, its change events. */
  readonly events?: ReadonlyArray<Event> | undefined
  readonly state?: State | undefined
  /** The tags of the last event, or of the durable state. */
  readonly tags?: ReadonlyArray<string> | undefined
  readonly reply?: Reply | undefined
  /** The error that the command declares. */
  readonly error?: Error | undefined
  /** What else goes wrong, such as `DecisionFailed` where `decide` throws. */
  readonly failure?: EntityError["_tag"] | undefined
}

/**
 * What has followed from a command.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outcome<out Event, out State, out Reply, out Error> {
  readonly events: ReadonlyArray<Event>
  readonly state: State
  readonly tags: ReadonlyArray<string>
  readonly reply?: Reply
  readonly error?: Error
  readonly failure?: EntityError
}

/**
 * An entity that commands are sent to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Given<in out Rpcs extends Rpc.Any, in out Event, in out State, out R> {
  /** Sends a command. What comes before the last one is given as well, and has to be accepted. */
  readonly when: <Tag extends Rpcs["_tag"]>(
    tag: Tag,
    ...args: Arguments<Rpc.ExtractTag<Rpcs, Tag>>
  ) => When<Rpcs, Event, State, Rpc.ExtractTag<Rpcs, Tag>, R>
}

/**
 * An entity after a command.
 *
 * @category models
 * @since 0.1.0
 */
export interface When<in out Rpcs extends Rpc.Any, in out Event, in out State, in out Last extends Rpc.Any, out R>
  extends Given<Rpcs, Event, State, R>
{
  /** Fails where something else has followed from the last command. */
  readonly expect: (
    expected: Expected<Event, State, Rpc.Success<Last>, Rpc.Error<Last>>
  ) => Effect.Effect<void, NotAsExpected, R>
  /** What has followed from the last command, for assertions of your own. */
  readonly outcome: Effect.Effect<Outcome<Event, State, Rpc.Success<Last>, Rpc.Error<Last>>, never, R>
}

/**
 * An entity with these events, or a durable state with this state; where nothing is given, as it is at first. A replicated entity is in the replica that `Replica.layer` says, which has decided the events.
 *
 * **Details**
 *
 * The commands run as `layerPlain` runs them, on a storage in memory that nobody else uses, so that state, events, command ids and effects after
 * persisting are what they are in production. Events, state, payloads, replies and errors pass their codecs; where one does not come back as it was, the
 * effect dies and says so. Provide what `decide` needs.
 *
 * **Example** (A cart)
 *
 * ```ts
 * import { EntityType } from "@sluice/core"
 * import { Decision, EventSourced } from "@sluice/entity"
 * import { EntityTest } from "@sluice/testing"
 * import { Effect, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String }) {}
 * const Cart = EventSourced.make(EntityType.make("cart", { event: ItemAdded }), {
 *   state: Schema.Struct({ items: Schema.Int }),
 *   initial: { items: 0 },
 *   commands: [Rpc.make("AddItem", { payload: { sku: Schema.String }, success: Schema.Int, error: Schema.Literal("full") })],
 *   decide: {
 *     AddItem: ({ payload, state }) =>
 *       state.items === 2
 *         ? Decision.fail("full" as const)
 *         : Decision.persist([new ItemAdded(payload)], ({ items }: { readonly items: number }) => items)
 *   },
 *   evolve: ({ items }) => ({ items: items + 1 })
 * })
 *
 * const tea = new ItemAdded({ sku: "tea" })
 * const test = Effect.gen(function*() {
 *   yield* EntityTest.given(Cart, [tea])
 *     .when("AddItem", { sku: "milk" })
 *     .expect({ events: [new ItemAdded({ sku: "milk" })], state: { items: 2 }, reply: 2 })
 *   yield* EntityTest.given(Cart, [tea, tea])
 *     .when("AddItem", { sku: "milk" })
 *     .expect({ error: "full" })
 *   return yield* Effect.flip(EntityTest.given(Cart, [tea]).when("AddItem", { sku: "milk" }).expect({ reply: 3 }))
 * })
 * const { message } = await Effect.runPromise(test)
 * message.split("\n").slice(1)
 * // => [" {", "-  reply: 3", "+  reply: 2", " }", ""]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const given: {
  <Name extends string, Rpcs extends Rpc.Any, Event, State, R>(
    entity: EventSourced<Name, Rpcs, Event, State, R>,
    events?: ReadonlyArray<NoInfer<Event>>,
    options?: GivenOptions
  ): Given<Rpcs, Event, State, R>
  <Name extends string, Rpcs extends Rpc.Any, State, Event, R>(
    entity: DurableState<Name, Rpcs, State, Event, R>,
    state?: NoInfer<State>,
    options?: GivenOptions
  ): Given<Rpcs, Event, State, R>
  <Name extends string, Rpcs extends Rpc.Any, Event, State, R>(
    entity: ReplicatedEventSourced<Name, Rpcs, Event, State, R>,
    events?: ReadonlyArray<NoInfer<Event>>,
    options?: GivenOptions
  ): Given<Rpcs, Event, State, R | Replica>
} = (entity: any, given?: any, options?: GivenOptions): any => {
  const kind = kindOf(entity)
  const isEventSourced = kind.evolve !== undefined
  return after(kind, {
    id: options?.id ?? "1",
    events: isEventSourced ? given ?? [] : [],
    state: isEventSourced ? Option.none() : Option.fromUndefinedOr(given)
  }, [])
}

/**
 * What else may be given.
 *
 * @category models
 * @since 0.1.0
 */
export interface GivenOptions {
  /** The id of the entity; `"1"` where nothing is said. */
  readonly id?: string | undefined
}

const after = (kind: Kind, before: Before, commands: ReadonlyArray<Sent>): unknown => {
  const outcome = outcomeOf(kind, before, commands)
  return {
    when: (tag: string, payload?: unknown, options?: CommandOptions) =>
      after(kind, before, [...commands, { ...options, tag, payload, commandId: options?.commandId }]),
    expect: (expected: Expected<unknown, unknown, unknown, unknown>) =>
      Effect.flatMap(outcome, (outcome) => {
        const { actual, wanted } = compared(outcome, expected)
        return isSame(wanted, actual)
          ? Effect.void
          : Effect.fail(
            new NotAsExpected({
              entityType: kind.name,
              story: story(kind, before, commands),
              expected: wanted,
              actual
            })
          )
      }),
    outcome: Effect.map(outcome, ({ answer, ...rest }) =>
      answer._tag === "Reply"
        ? { ...rest, reply: answer.reply }
        : answer._tag === "Error"
        ? { ...rest, error: answer.error }
        : { ...rest, failure: answer.error })
  }
}

/** What is compared with what: no more than was said, and what is never right where it was not. */
const compared = (
  { answer, events, state, tags }: AnyOutcome,
  expected: Expected<unknown, unknown, unknown, unknown>
): { readonly wanted: object; readonly actual: object } => {
  const isAccepted = !("error" in expected) && !("failure" in expected)
  const wanted = isAccepted ? expected : { events: [], ...expected }
  const says = (key: keyof Expected<unknown, unknown, unknown, unknown>) => key in wanted
  return {
    wanted,
    actual: {
      ...(says("events") ? { events } : undefined),
      ...(says("state") ? { state } : undefined),
      ...(says("tags") ? { tags } : undefined),
      ...(answer._tag === "Reply"
        ? says("reply") || !isAccepted ? { reply: answer.reply } : undefined
        : answer._tag === "Error"
        ? { error: answer.error }
        : says("failure") && expected.failure === answer.error._tag
        ? { failure: answer.error._tag }
        : { failure: answer.error.message })
    }
  }
}

const story = ({ evolve, name }: Kind, { events, id, state }: Before, commands: ReadonlyArray<Sent>): string => {
  const there = evolve === undefined
    ? Option.match(state, { onNone: () => "as it is at first", onSome: (state) => `with the state ${short(state)}` })
    : events.length === 0
    ? "without events"
    : `with ${events.length} ${events.length === 1 ? "event" : "events"}`
  const sent = commands.map(({ payload, tag }) => payload === undefined ? tag : `${tag} ${short(payload)}`)
  return `Given ${name} '${id}' ${there}, when ${sent.join(", then ")}`
}

/**
 * After these commands the entity is not as it has to be. The sequence is the shortest one that was found.
 *
 * @category errors
 * @since 0.1.0
 */
export class SequenceFailed
  extends ExpectedError.TaggedError<SequenceFailed>("@sluice/testing/SequenceFailed")("SequenceFailed", {
    entityType: Schema.String,
    /** The commands, each with its answer, and the restarts. */
    steps: Schema.Array(Schema.String),
    problem: Schema.String,
    seed: Schema.Union([Schema.String, Schema.Finite])
  })
{
  override get message(): string {
    const steps = this.steps.map((step, i) => `  ${i + 1}. ${step}\n`).join("")
    return `Entity '${this.entityType}' after\n${steps}${this.problem.trimEnd()}\nAgain with seed ${
      JSON.stringify(this.seed)
    }`
  }
}

/**
 * What a model says of a command: the model after it, where it changes, and the reply or the error, unless anything is right.
 *
 * @category models
 * @since 0.1.0
 */
export interface Prediction<out Model, out Reply, out Error> {
  readonly model?: Model
  readonly reply?: Reply
  readonly error?: Error
}

/**
 * An entity as somebody else would write it, as simply as possible: a value, and what each command makes of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Model<in out Rpcs extends Rpc.Any, out State, in out M> {
  readonly initial: M
  /** Commands that are left out are not compared. */
  readonly commands: {
    readonly [Tag in Rpcs["_tag"]]?: (
      model: NoInfer<M>,
      payload: Rpc.Payload<Rpc.ExtractTag<Rpcs, Tag>>
    ) => Prediction<NoInfer<M>, Rpc.Success<Rpc.ExtractTag<Rpcs, Tag>>, Rpc.Error<Rpc.ExtractTag<Rpcs, Tag>>>
  }
  /** The state that the entity has to have. */
  readonly state?: ((model: NoInfer<M>) => State) | undefined
}

/**
 * An entity that can be tried: event sourced, replicated, or a durable state.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tried<out Rpcs extends Rpc.Any, in out State, out R> extends Entity<string, Rpcs, R> {
  readonly stateType: StateType<State>
}

/**
 * How to try.
 *
 * @category models
 * @since 0.1.0
 */
export interface SequenceOptions<Rpcs extends Rpc.Any, State, M> {
  readonly model?: Model<Rpcs, State, M> | undefined
  /** The payloads of commands, where they are not to be any that their schemas allow. */
  readonly commands?:
    | { readonly [C in Rpcs as C["_tag"]]?: Arbitrary.Arbitrary<Rpc.Payload<C>> | undefined }
    | undefined
  /** How many sequences are tried. 100 by default. */
  readonly runs?: number | undefined
  /** How many commands and restarts a sequence has at most. 20 by default. */
  readonly length?: number | undefined
  /** How many entities they go to. 2 by default. */
  readonly entities?: number | undefined
  /** Names the sequences. By default, each check has others. */
  readonly seed?: string | number | undefined
}

/**
 * Tries an entity with random commands, and restarts it in between. Fails with {@link SequenceFailed}, which says the shortest sequence that was found to
 * show what is wrong.
 *
 * **Details**
 *
 * After each command
 *
 * * the answer, and the state, are those of the model, where there is one;
 * * the state is that which its events lead to when they are folded again at another time, each of them on a state that has passed its codec as a snapshot does;
 * * payload, reply, error and state come back from their codecs as they were;
 * * `decide`, where it is no effect, and the entity is not replicated, decides in the same way once more at another time; neither it nor `evolve` has changed the state that it was given.
 *
 * A replicated entity is tried in the replica that `Replica.layer` says, without the others: {@link converges} has several.
 *
 * A restart recovers each entity from what is stored, which leads to the state that it had. Another time means that `Date`, `performance.now` and `Math.random` give something else.
 *
 * Give a function that makes the definition, and it is called for each process: what is kept in variables that it makes is lost with the process then.
 *
 * **Example** (A counter that counts beside its state)
 *
 * ```ts
 * import { EntityType } from "@sluice/core"
 * import { Decision, EventSourced } from "@sluice/entity"
 * import { EntityTest } from "@sluice/testing"
 * import { Effect, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 *
 * class Added extends Schema.TaggedClass<Added>()("Added", {}) {}
 * const Type = EntityType.make("counter", { event: Added })
 *
 * const make = () => {
 *   let count = 0
 *   return EventSourced.make(Type, {
 *     state: Schema.Int,
 *     initial: 0,
 *     commands: [Rpc.make("Add", { success: Schema.Int })],
 *     // this should be `(count) => count`
 *     decide: { Add: () => Effect.sync(() => Decision.persist([new Added()], ++count)) },
 *     evolve: (count) => count + 1
 *   })
 * }
 *
 * const check = EntityTest.sequences(make, {
 *   model: { initial: 0, commands: { Add: (count) => ({ model: count + 1, reply: count + 1 }) } },
 *   entities: 1,
 *   seed: 1
 * })
 * const { steps } = await Effect.runPromise(Effect.flip(check))
 * steps // => ["'1' Add → 1", "restart", "'1' Add → 1"]
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const sequences = <Rpcs extends Rpc.Any, State, R, M>(
  entity: Tried<Rpcs, State, R> | (() => Tried<Rpcs, State, R>),
  options: SequenceOptions<Rpcs, State, M> = {}
): Effect.Effect<void, SequenceFailed, Exclude<R, Journal | SnapshotStore | DurableStateStore>> =>
  Effect.gen(function*() {
    const { entities = 2, length = 20, model, runs = 100 } = options
    const payloads = (options.commands ?? {}) as StepOptions["payloads"]
    const seed = options.seed ?? (yield* Random.nextInt)
    const make = (typeof entity === "function" ? entity : () => entity) as () => AnyEntity
    const kind = kindOf(make())
    const steps = stepsOf(kind, { payloads, length, entities })
    yield* tried(kind.name, steps, (steps) => faultOf(make, steps, model as AnyModel | undefined), {
      runs,
      seed,
      length
    })
  })

/** Fails with the shortest sequence that is found to be wrong. */
const tried = <Step>(
  entityType: string,
  steps: Arbitrary.Arbitrary<Array<Step>>,
  faultOf: (steps: ReadonlyArray<Step>) => Effect.Effect<Fault | undefined, never, any>,
  { length, runs, seed }: { readonly length: number; readonly runs: number; readonly seed: string | number }
): Effect.Effect<void, SequenceFailed, any> =>
  Effect.gen(function*() {
    const result = yield* Arbitrary.checkEffect(
      steps,
      (steps) =>
        Effect.flatMap(faultOf(steps), (fault) =>
          fault === undefined
            ? Effect.succeed(true)
            : Effect.fail(new SequenceFailed({ entityType, ...fault, seed }))),
      {
        runs,
        seed,
        size: length,
        maxShrinks: 500
      }
    )
    if (result._tag === "Falsified" && result.failure._tag === "PropertyError") {
      return yield* result.failure.error
    }
    const problem = Arbitrary.formatCheckFailure(result)
    if (problem !== undefined) {
      return yield* Effect.die(new Error(problem))
    }
  })

/**
 * How to try whether replicas converge.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConvergenceOptions<Rpcs extends Rpc.Any>
  extends Pick<SequenceOptions<Rpcs, unknown, unknown>, "commands" | "runs" | "seed">
{
  /** How many commands and arrivals a sequence has at most. 20 by default. */
  readonly length?: number | undefined
}

/**
 * Tries whether all replicas of an entity have the same state in the end, whatever they do at the same time: sends random commands to random replicas, has their events come to each other at random times, and compares the
 * states once all have all events. Fails with {@link SequenceFailed}, which says the shortest sequence that was found to make a difference.
 *
 * **Details**
 *
 * The events of each replica come in their order, as they do in production. Each replica has a storage in memory of its own. Provide what `decide` needs, but no `Replica`.
 *
 * It also fails where a replica cannot take an event of another one, as `evolve` throws at it, and where a command fails in another way than by the errors that it declares.
 *
 * **Example** (The last one that comes wins)
 *
 * ```ts
 * import { EntityType } from "@sluice/core"
 * import { Decision } from "@sluice/entity"
 * import { ReplicatedEventSourced } from "@sluice/replication"
 * import { EntityTest } from "@sluice/testing"
 * import { Effect, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 *
 * const name = Schema.Literals(["tea", "chai"])
 * class Named extends Schema.TaggedClass<Named>()("Named", { name }) {}
 *
 * const Product = ReplicatedEventSourced.make(EntityType.make("product", { event: Named }), {
 *   replicas: ["eu", "us"],
 *   state: Schema.String,
 *   initial: "",
 *   commands: [Rpc.make("Name", { payload: { name } })],
 *   decide: { Name: ({ payload }) => Decision.persist([new Named(payload)]) },
 *   // this should be an `LwwRegister`
 *   evolve: (_, { name }) => name
 * })
 *
 * const { problem } = await Effect.runPromise(Effect.flip(EntityTest.converges(Product, { seed: 1 })))
 * problem.split("\n")[0]
 * // => "'eu' and 'us' have the same events in another order, which lead to other states (- eu, + us)"
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const converges = <Name extends string, Rpcs extends Rpc.Any, Event, State, R>(
  entity: ReplicatedEventSourced<Name, Rpcs, Event, State, R>,
  options: ConvergenceOptions<Rpcs> = {}
): Effect.Effect<void, SequenceFailed, Exclude<R, Replica | Journal | SnapshotStore>> =>
  Effect.gen(function*() {
    const { length = 20, runs = 100 } = options
    const payloads = (options.commands ?? {}) as StepOptions["payloads"]
    const seed = options.seed ?? (yield* Random.nextInt)
    const steps = stepsBetween(entity, { payloads, length })
    yield* tried(entity.name, steps, (steps) => differenceOf(entity, steps), { runs, seed, length })
  })

/**
 * Events or states that were stored once are not read as they have to be, or new ones are not recorded yet.
 *
 * @category errors
 * @since 0.1.0
 */
export class FixturesFailed
  extends ExpectedError.TaggedError<FixturesFailed>("@sluice/testing/FixturesFailed")("FixturesFailed", {
    entityType: Schema.String,
    problems: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    return `Fixtures of '${this.entityType}':${this.problems.map((problem) => `\n* ${problem.trimEnd()}`).join("")}`
  }
}

/**
 * An event or a state as it was stored: its entity type, its manifest, and its bytes, as JSON or in base64.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredFixture {
  /** The entity type that it is of; any where it does not say so. */
  readonly entityType?: string | undefined
  readonly kind: "event" | "state"
  readonly manifest: string
  /** The bytes, where they are JSON; otherwise `base64`. */
  readonly json?: unknown
  readonly base64?: string | undefined
}

/**
 * What the entity stores today, and whether to record it.
 *
 * @category models
 * @since 0.1.0
 */
export interface FixtureOptions<out Event, out State> {
  /** An event of each kind; of a durable state, change events. */
  readonly events?: ReadonlyArray<Event> | undefined
  /** States as snapshots, or durable states, hold them. */
  readonly states?: ReadonlyArray<State> | undefined
  /** Records what is not there yet, and leaves what is there as it is. */
  readonly write?: boolean | undefined
}

/**
 * Checks that what was stored once, in whatever version, can still be read, and that what is stored today is among it, for the versions to come.
 *
 * **When to use**
 *
 * Once for each entity, with a folder that is kept with the sources, and may be that of others as well. Where a schema changes, the test fails: old fixtures do not decode any more, and `versions` of
 * `EventCodec.json` say how to read them, or the samples are stored in another way than before, and `write: true` records that beside the old.
 *
 * **Details**
 *
 * A fixture has to decode, to be encoded again, and to come back as the same. Each of `events` and `states` has to be among the fixtures in the way that it is stored now. A
 * fixture is never changed and never removed: events of that form may be in a journal for ever. What is written names the entity type; fixtures of
 * other types are passed over. A check that fails writes nothing.
 *
 * **Example** (An event of an old version)
 *
 * ```ts
 * import { EntityType } from "@sluice/core"
 * import { Decision, EventSourced } from "@sluice/entity"
 * import { EntityTest } from "@sluice/testing"
 * import { Effect, Schema } from "effect"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
 * const Cart = EventSourced.make(EntityType.make("cart", { event: ItemAdded }), {
 *   state: Schema.Int,
 *   initial: 0,
 *   commands: [],
 *   decide: {},
 *   evolve: (items, { quantity }) => items + quantity
 * })
 *
 * const stored: ReadonlyArray<EntityTest.StoredFixture> = [
 *   { kind: "event", manifest: "json.sluice/ItemAdded", json: { _tag: "ItemAdded", sku: "tea" } }
 * ]
 * const { problems } = await Effect.runPromise(Effect.flip(EntityTest.fixtures(Cart, stored)))
 * problems[0]?.includes("event json.sluice/ItemAdded: it does not decode any more: Missing key") // => true
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const fixtures: {
  <Name extends string, Rpcs extends Rpc.Any, Event, State, R>(
    entity: EventSourced<Name, Rpcs, Event, State, R>,
    stored: string | URL | ReadonlyArray<StoredFixture>,
    options?: FixtureOptions<NoInfer<Event>, NoInfer<State>>
  ): Effect.Effect<void, FixturesFailed>
  <Name extends string, Rpcs extends Rpc.Any, State, Event, R>(
    entity: DurableState<Name, Rpcs, State, Event, R>,
    stored: string | URL | ReadonlyArray<StoredFixture>,
    options?: FixtureOptions<NoInfer<Event>, NoInfer<State>>
  ): Effect.Effect<void, FixturesFailed>
} = (
  entity: AnyEntity,
  stored: string | URL | ReadonlyArray<StoredFixture>,
  options: FixtureOptions<unknown, unknown> = {}
): Effect.Effect<void, FixturesFailed> =>
  Effect.suspend(() => {
    const { entityType, name, stateType } = kindOf(entity)
    const { events = [], states = [], write = false } = options
    const folder = typeof stored === "string" ? stored : stored instanceof URL ? fileURLToPath(stored) : undefined
    const all = folder === undefined
      ? (stored as ReadonlyArray<StoredFixture>).map((fixture, i) => ({ ...fixture, place: `fixture ${i + 1}` }))
      : readFolder(folder)
    const found = all.filter(({ entityType }) => entityType === undefined || entityType === name)
    const codecOf = (kind: StoredFixture["kind"]) => kind === "state" ? stateType.codec : entityType?.codec
    const problems: Array<string> = []
    const missing: Array<StoredFixture> = []
    for (const fixture of found) {
      const codec = codecOf(fixture.kind)
      const problem = codec === undefined ? `'${name}' has no events` : unreadable(fixture, codec)
      if (problem !== undefined) problems.push(`${fixture.place}, ${fixture.kind} ${fixture.manifest}: ${problem}`)
    }
    const samples = [
      ...events.map((event) => ["event", event] as const),
      ...states.map((state) => ["state", state] as const)
    ]
    for (const [kind, sample] of samples) {
      const codec = codecOf(kind)
      if (codec === undefined) {
        problems.push(`'${name}' has no events`)
        continue
      }
      const now = storedOf(name, kind, codec.encodeUnsafe(sample))
      if (isAmong(found, now) || isAmong(missing, now)) continue
      if (write && folder !== undefined) missing.push(now)
      else {
        problems.push(
          `${kind} ${now.manifest} is not recorded as it is stored now: ${
            short(now.json ?? now.base64)
          }. Run once with 'write: true'`
        )
      }
    }
    if (found.length === 0 && samples.length === 0) {
      problems.push(`there are none${folder === undefined ? "" : ` in ${folder}`}, and no samples to record`)
    }
    if (problems.length > 0) return Effect.fail(new FixturesFailed({ entityType: name, problems }))
    for (const fixture of missing) writeFixture(folder!, fixture)
    return Effect.void
  })
