/**
 * Entities whose state is computed from their events: commands are decided, events are persisted in the journal, and the state follows from them.
 *
 * @since 0.1.0
 */
import type { EntityType } from "@sluice/core/EntityType"
import type { InvalidInput } from "@sluice/core/InvalidInput"
import * as Journal from "@sluice/core/Journal"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import { SnapshotStore } from "@sluice/core/SnapshotStore"
import type { StateType } from "@sluice/core/StateType"
import type { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import * as Activations from "./Activations.ts"
import type { Decision, Persist } from "./Decision.ts"
import type { Entity } from "./Entity.ts"
import type { EntityClient, Runs } from "./EntityClient.ts"
import * as Client from "./EntityClient.ts"
import * as Kind from "./EventSourcedKind.ts"
import { plain } from "./internal/plain.ts"

const TypeId = "~sluice/EventSourced"

/**
 * A command, and the entity that it is for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request<out Payload, out State> {
  /** The id of the entity. */
  readonly id: string
  readonly payload: Payload
  readonly state: State
  /** The number of the last event that the state includes; 0 where there is none. */
  readonly sequenceNumber: number
  readonly commandId: string | undefined
}

/**
 * Where an event stands.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place {
  readonly persistenceId: PersistenceId
  readonly sequenceNumber: number
}

/**
 * A function for each command, which decides: purely, or as an effect. An error that the effect fails with is a rejection.
 *
 * @category models
 * @since 0.1.0
 */
export type Decide<Rpcs extends Rpc.Any, Event, State> = {
  readonly [C in Rpcs as C["_tag"]]: (
    request: Request<Rpc.Payload<C>, State>
  ) =>
    | Decision<Event, State, Rpc.Success<C>, Rpc.Error<C>, any>
    | Effect.Effect<Decision<Event, State, Rpc.Success<C>, Rpc.Error<C>, any>, Rpc.Error<C>, any>
}

/**
 * What the functions of `decide`, and effects after persisting, need.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Requirements<D> = {
  readonly [Tag in keyof D]: D[Tag] extends (...args: any) => infer Result ? RequirementsOf<Result> : never
}[keyof D]

type RequirementsOf<Result> = Result extends Persist<any, any, any, infer R> ? R
  : Result extends Effect.Effect<infer Decided, any, infer R> ? R | RequirementsOf<Decided>
  : never

/**
 * A kind of event sourced entity. `R` is what its decisions need.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventSourced<
  out Name extends string,
  out Rpcs extends Rpc.Any,
  in out Event,
  in out State,
  out R = never
> extends Entity<Name, Rpcs, R | Journal.Journal | SnapshotStore> {
  readonly [TypeId]: typeof TypeId
  readonly entityType: EntityType<Event, Name>
  readonly stateType: StateType<State>
  /** The state before the first event. */
  readonly initial: (id: string) => State
  /** Its functions that decide, by the names of the commands. */
  readonly decide: Readonly<Record<string, (request: any) => unknown>>
  /** The state after an event. */
  readonly evolve: (state: State, event: Event, place: Place) => State
}

/**
 * A kind of event sourced entity: which commands it takes, what it decides, and what its state is after each event. It is a value, and runs where one of
 * the layers runs it.
 *
 * **Details**
 *
 * Throws a `TypeError` where two commands have one name, where a command replies with a stream or has a middleware, and where the functions of `decide` are
 * not those of the commands; a `RangeError` where a number is none, or the entity type's name cannot be one.
 *
 * **Gotchas**
 *
 * `evolve` runs before the events are written and again at each recovery, with the same outcome. What it needs, such as a time, is in the event.
 *
 * Where `decide` is an effect, write an arrow function with `Effect.gen`: in `Effect.fnUntraced(function*(request) {…})` the request is `any`.
 *
 * Where a reply is computed from the state, the type of that is known only in a function that takes its request: `(_) => Decision.persist(…, (state) => …)`.
 *
 * **Example** (A counter)
 *
 * ```ts
 * import { EntityType, MemoryStorage } from "@sluice/core"
 * import { Decision, EventSourced } from "@sluice/entity"
 * import { Effect, Layer, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 *
 * class Added extends Schema.TaggedClass<Added>()("Added", { amount: Schema.Int }) {}
 *
 * const Counter = EventSourced.make(EntityType.make("counter", { event: Added }), {
 *   state: Schema.Int,
 *   initial: 0,
 *   commands: [Rpc.make("Add", { payload: { amount: Schema.Int }, success: Schema.Int })],
 *   decide: {
 *     Add: ({ payload }) => Decision.persist([new Added(payload)], (sum) => sum)
 *   },
 *   evolve: (sum, { amount }) => sum + amount
 * })
 *
 * const program = Effect.gen(function*() {
 *   const counters = yield* EventSourced.client(Counter)
 *   yield* counters("c-1").Add({ amount: 2 })
 *   return yield* counters("c-1").Add({ amount: 3 })
 * })
 * const layer = EventSourced.layerPlain(Counter).pipe(Layer.provide(MemoryStorage.layer))
 * await Effect.runPromise(Effect.provide(program, layer)) // => 5
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  Name extends string,
  Event,
  State,
  Rpcs extends Rpc.Any,
  const D extends Decide<Rpcs, Event, State>
>(
  entityType: EntityType<Event, Name>,
  options: Kind.Options<Event, State> & {
    readonly commands: ReadonlyArray<Rpcs>
    readonly decide: D & { readonly [Tag in Exclude<keyof D, Rpcs["_tag"]>]: "There is no command of this name" }
    /** The state after an event. It is pure, and never fails. */
    readonly evolve: (state: NoInfer<State>, event: NoInfer<Event>, place: Place) => NoInfer<State>
  }
): EventSourced<Name, Rpcs, Event, State, Requirements<D>> => {
  const { behaviour, initial, stateType } = Kind.make<Name, Event, State>(entityType, options)
  const { commands, decide, evolve } = options
  return {
    [TypeId]: TypeId,
    name: entityType.name,
    commands,
    entityType,
    stateType,
    initial,
    decide,
    evolve,
    behaviour: behaviour()
  }
}

/**
 * The client of an entity type: by the id of an entity, a function for each command. It does not see how, or where, the entity is run.
 *
 * **Details**
 *
 * A payload is checked before it is sent. `{ commandId }` after the payload, or after `undefined` where there is none, makes a repetition harmless.
 * `withReceipt` also answers where the events stand.
 *
 * @category operations
 * @since 0.1.0
 */
export const client = <Name extends string, Rpcs extends Rpc.Any>(
  entity: EventSourced<Name, Rpcs, any, any, any>
): Effect.Effect<EntityClient<Rpcs>, never, Runs<Name>> => Client.make(entity)

/**
 * Runs entities without keeping anything of them in memory: each command recovers the entity, decides, and appends. So it is right in any number of
 * processes. Where another process has written to the entity meanwhile, the command is decided again, up to ten times.
 *
 * **Details**
 *
 * Commands of this process that write to the same entity take turns, in the order in which they come. 1,000 may wait for one: the next fails with `Overloaded`. Those
 * in a transaction, and those that an entity sends, do not wait for a turn.
 *
 * A command that is sent in a transaction of the journal is part of that: its events are written if that commits, and effects after persisting run
 * then.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPlain = <Name extends string, Rpcs extends Rpc.Any, Event, State, R>(
  entity: EventSourced<Name, Rpcs, Event, State, R>
): Layer.Layer<Runs<Name>, never, R | Journal.Journal | SnapshotStore> => plain(entity)

/**
 * Runs entities in this process, with the state of each in memory from its first command on, until it has been idle for long, or another one needs the
 * room. The commands of an entity are handled one after the other. See {@link Activations.make}.
 *
 * **Details**
 *
 * It is right in any number of processes as well, as each append expects the number that the state was computed at. But where several write to the same
 * entities, they have to recover them again and again: then run them as a cluster, or plainly.
 *
 * **Gotchas**
 *
 * What only reads is answered from memory. It does not see what another process has written since, until a command with events, one with a
 * command id, or one that is rejected meets that: before these are answered, the journal was asked whether it has anything newer.
 *
 * A command is no part of a transaction of whoever sends it. So one that is sent in a transaction fails with `InvalidCommand`: the two could wait for
 * each other.
 *
 * **Example** (A counter)
 *
 * ```ts
 * import { EntityType, MemoryStorage } from "@sluice/core"
 * import { Decision, EventSourced } from "@sluice/entity"
 * import { Effect, Layer, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 *
 * class Added extends Schema.TaggedClass<Added>()("Added", { amount: Schema.Int }) {}
 *
 * const Counter = EventSourced.make(EntityType.make("counter", { event: Added }), {
 *   state: Schema.Int,
 *   initial: 0,
 *   commands: [Rpc.make("Add", { payload: { amount: Schema.Int }, success: Schema.Int })],
 *   decide: {
 *     Add: ({ payload: { amount } }) => Decision.persist([new Added({ amount })], (total: number) => total)
 *   },
 *   evolve: (total, { amount }) => total + amount
 * })
 *
 * const program = Effect.gen(function*() {
 *   const counters = yield* EventSourced.client(Counter)
 *   yield* counters("c-1").Add({ amount: 40 })
 *   return yield* counters("c-1").Add({ amount: 2 })
 * })
 * const Counters = EventSourced.layer(Counter, { idleAfter: "10 minutes" }).pipe(Layer.provide(MemoryStorage.layer))
 * await Effect.runPromise(Effect.provide(program, Counters)) // => 42
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Name extends string, Rpcs extends Rpc.Any, Event, State, R>(
  entity: EventSourced<Name, Rpcs, Event, State, R>,
  options?: Activations.Options
): Layer.Layer<Runs<Name>, never, R | Journal.Journal | SnapshotStore> => Activations.layer(entity, options)

/**
 * Removes old events to make room, as `Journal.prune` does, but none that an entity has yet to be recovered from: only those before the event of its newest snapshot. Returns how many that were.
 *
 * **Details**
 *
 * An entity without a snapshot keeps all of its events that were not deleted, and so does one whose newest snapshot is beyond its newest event, as after a restored backup. So how much goes depends on the policy: by
 * `SnapshotPolicy.every(100)`, an entity keeps up to 99 events after its newest snapshot, and that of the snapshot, which tells whether the snapshot is of this journal.
 *
 * Fails with `ReplicatedEvents` where the type has events of replicas: `ReplicatedJournal.prune` of `@sluice/replication` asks these first, and keeps the same.
 *
 * **Gotchas**
 *
 * A snapshot counts also where a recovery passes it over, as its schema has changed, or as it is of other events of a journal that was restored from a backup since: then commands of the entity fail with `RecoveryFailed`.
 * Projections that have not come as far as what is removed fail with `OffsetBelowFloor`.
 *
 * @category operations
 * @since 0.1.0
 */
export const prune = (
  entity: EventSourced<any, any, any, any, any>,
  options: { readonly before: Timestamp }
): Effect.Effect<
  number,
  InvalidInput | Journal.ReplicatedEvents | StorageError,
  Journal.Journal | SnapshotStore
> => SnapshotStore.use(({ newest }) => Journal.prune(entity.entityType, { ...options, included: newest }))
