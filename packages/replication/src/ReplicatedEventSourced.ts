/**
 * Event sourced entities that are written in several regions at the same time: each region is a replica, with a database of its own, and has all events in the
 * end.
 *
 * @since 0.1.0
 */
import type { EntityType } from "@sluice/core/EntityType"
import { type Metadata, ownMetadata, sizeOf } from "@sluice/core/Envelope"
import type { Journal } from "@sluice/core/Journal"
import type { Payload } from "@sluice/core/Payload"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import type { StateType } from "@sluice/core/StateType"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Activations from "@sluice/entity/Activations"
import * as Decision from "@sluice/entity/Decision"
import type { Entity } from "@sluice/entity/Entity"
import * as EntityClient from "@sluice/entity/EntityClient"
import type { EntityError } from "@sluice/entity/EntityError"
import type * as EventSourced from "@sluice/entity/EventSourced"
import * as EventSourcedKind from "@sluice/entity/EventSourcedKind"
import type { Arrived, Lineage } from "@sluice/entity/Lineage"
import * as PlainEntities from "@sluice/entity/PlainEntities"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import { arrivalOf, arrivalTag } from "./internal/arrival.ts"
import { interceptions } from "./internal/interceptions.ts"
import { checkJournal } from "./internal/ownJournal.ts"
import * as state from "./internal/replica.ts"
import * as Replica from "./Replica.ts"
import {
  type ArrivalError,
  ArrivalsLost,
  EventsLost,
  HistoryForked,
  Intercepted,
  InvalidArrival,
  UnknownReplica
} from "./ReplicationError.ts"
import type { VersionVector } from "./VersionVector.ts"

const TypeId = "~sluice/ReplicatedEventSourced"

/**
 * A command, and the entity that it is for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request<out Payload, out State> extends EventSourced.Request<Payload, State> {
  /** The replica that decides: this one. */
  readonly replica: string
  /** What the replica knows of the entity: what it has stored, and what those events had seen, which may still be on its way. */
  readonly version: VersionVector
  /** The time of the first event of the decision, see {@link Place}. */
  readonly time: Timestamp
}

/**
 * Where an event stands in this replica, and where it comes from. But for its place and `concurrent`, it is the same in all replicas.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place extends EventSourced.Place {
  /** The replica that has decided it, and its number there. */
  readonly origin: string
  readonly originSequenceNumber: number
  /** What its origin knew of the entity with it: what was stored there, and what those events had seen, which may still have been on its way. */
  readonly version: VersionVector
  /**
   * Whether its version and that of this replica each had something that the other had not: in causal order, whether an event is here that its origin had not seen. In another order, with more than two
   * replicas, it may be false where neither of two events was decided with knowledge of the other.
   */
  readonly concurrent: boolean
  /** Whether the state is computed from stored events. */
  readonly recovering: boolean
  /**
   * When it was decided, in microseconds by the clock of its origin, and later than all events of the entity that its origin had seen by then. Of an event from
   * Akka, which does not say, when it has come, which differs between replicas.
   */
  readonly time: Timestamp
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
    | Decision.Decision<Event, State, Rpc.Success<C>, Rpc.Error<C>, any>
    | Effect.Effect<Decision.Decision<Event, State, Rpc.Success<C>, Rpc.Error<C>, any>, Rpc.Error<C>, any>
}

/**
 * An event of another replica, as it comes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Arriving<out Event> {
  readonly event: Event
  /**
   * The event as the other replica has it, which is stored so: it may have more than is decoded here, where that replica is of a later version. It is encoded anew where nothing is said.
   */
  readonly payload?: Payload | undefined
  readonly replication: ReplicationMetadata
  readonly metadata: Metadata
  /** Whether it comes from another replica than that which has decided it; not where nothing is said. */
  readonly isRelayed?: boolean | undefined
  /** The number of the event of the same origin that was given before it, and is stored: where it is not any more, as after a failover that has lost commits, this one is refused. */
  readonly previous?: number | undefined
}

/**
 * An event of another replica that is about to be stored, and the entity as it is before.
 *
 * @category models
 * @since 0.1.0
 */
export interface Intercept<out Event, out State> {
  readonly id: string
  readonly state: State
  readonly event: Event
  readonly origin: string
  readonly originSequenceNumber: number
  /** The number that it is to have here. */
  readonly sequenceNumber: number
}

/**
 * A kind of replicated entity. `R` is what its decisions need.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReplicatedEventSourced<
  out Name extends string,
  out Rpcs extends Rpc.Any,
  in out Event,
  in out State,
  out R = never
> extends Entity<Name, Rpcs, R | Replica.Replica | Journal | SnapshotStore> {
  readonly [TypeId]: typeof TypeId
  readonly entityType: EntityType<Event, Name>
  readonly stateType: StateType<State>
  /** The ids of all replicas. */
  readonly replicas: ReadonlyArray<string>
  /** Whether something is done before an event of another replica is stored. */
  readonly intercepts: boolean
  /** The state before the first event. */
  readonly initial: (id: string) => State
  /** The state after an event. */
  readonly evolve: (state: State, event: Event, place: Place) => State
}

/**
 * A kind of entity that is written in several replicas. It is described as an `EventSourced` entity is, and by its replicas; which of them a process belongs to
 * says the {@link Replica.layer} that it is run with, so that the same program runs everywhere.
 *
 * **Details**
 *
 * Each replica decides on commands by what it has seen, and never waits for another. Its events come to the others, which store each once, by {@link receive}. In
 * the end all have the same events, though in different orders: those of one replica are in order everywhere. The states are the same where `evolve` leads to the same in both orders, as it does with the CRDTs
 * of this package.
 *
 * In the journal of a replica the entity is `type|id|replica`. Effects after persisting run in the replica that has decided, and nowhere else. `intercept` may look
 * at an event of another replica before that is stored, and wait: commands of the entity wait meanwhile. What it fails with holds the event up, which comes again. It has
 * `decideWithin`, as `decide` has.
 *
 * Throws as `EventSourced.make` does, and a `RangeError` where a replica's id is none, or two are the same.
 *
 * **Gotchas**
 *
 * Ids of commands are remembered by the replica that they were sent to: sent to another one, the same command happens again.
 *
 * Tags are computed in each replica, from its own state.
 *
 * **Example** (A counter in two regions)
 *
 * ```ts
 * import { EntityType, MemoryStorage } from "@sluice/core"
 * import { Decision } from "@sluice/entity"
 * import { Replica, ReplicatedEventSourced } from "@sluice/replication"
 * import { Effect, Layer, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 *
 * class Added extends Schema.TaggedClass<Added>()("Added", { amount: Schema.Int }) {}
 *
 * const Counter = ReplicatedEventSourced.make(EntityType.make("counter", { event: Added }), {
 *   replicas: ["eu", "us"],
 *   state: Schema.Int,
 *   initial: 0,
 *   commands: [Rpc.make("Add", { payload: { amount: Schema.Int }, success: Schema.Int })],
 *   decide: {
 *     Add: ({ payload }) => Decision.persist([new Added(payload)], (sum: number) => sum)
 *   },
 *   evolve: (sum, { amount }) => sum + amount
 * })
 *
 * const program = Effect.gen(function*() {
 *   const counters = yield* ReplicatedEventSourced.client(Counter)
 *   return yield* counters("c-1").Add({ amount: 2 })
 * })
 * const Europe = ReplicatedEventSourced.layer(Counter).pipe(
 *   Layer.provide([Replica.layer("eu"), MemoryStorage.layer])
 * )
 * await Effect.runPromise(Effect.provide(program, Europe)) // => 2
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
  const D extends Decide<Rpcs, Event, State>,
  RI = never
>(
  entityType: EntityType<Event, Name>,
  options: EventSourcedKind.Options<Event, State> & {
    /** The ids of all replicas, also of those that are no more. They are in events and persistence ids, and never change. */
    readonly replicas: ReadonlyArray<string>
    readonly commands: ReadonlyArray<Rpcs>
    readonly decide: D & { readonly [Tag in Exclude<keyof D, Rpcs["_tag"]>]: "There is no command of this name" }
    /** The state after an event, of whichever replica. It is pure, and never fails. */
    readonly evolve: (state: NoInfer<State>, event: NoInfer<Event>, place: Place) => NoInfer<State>
    /** What is done before an event of another replica is stored. */
    readonly intercept?:
      | ((arriving: Intercept<NoInfer<Event>, NoInfer<State>>) => Effect.Effect<void, unknown, RI>)
      | undefined
  }
): ReplicatedEventSourced<Name, Rpcs, Event, State, EventSourced.Requirements<D> | RI> => {
  const { commands, evolve } = options
  const replicas = options.replicas.map((id) => Replica.checkId(id))
  const all = new Set(replicas)
  if (all.size !== replicas.length) {
    throw new RangeError(`Two replicas of '${entityType.name}' have the same id: ${replicas.join(", ")}`)
  }
  const kind = EventSourcedKind.make<Name, Event, State>(entityType, options)
  const arrival = arrivalOf(entityType.codec)
  const lineageOf = lineages(entityType, all, arrival, options)
  return {
    [TypeId]: TypeId,
    name: entityType.name,
    commands,
    arrival,
    entityType,
    stateType: kind.stateType,
    replicas,
    intercepts: options.intercept !== undefined,
    initial: kind.initial,
    evolve,
    behaviour: Effect.flatMap(Replica.Replica, ({ id }) => {
      if (!all.has(id)) {
        const names = replicas.join("', '")
        return Effect.die(
          new RangeError(`This process is of replica '${id}', which '${entityType.name}' does not have: '${names}'`)
        )
      }
      return Effect.andThen(checkJournal(entityType.name, id, all), kind.behaviour(lineageOf(id)))
    })
  }
}

/** In the metadata of a snapshot: what is known of the events that it includes. */
const knownKey = `${ownMetadata}replica`

const lineages = <Event, State>(
  { name }: EntityType<Event>,
  replicas: ReadonlySet<string>,
  arrival: Rpc.Any,
  { decideWithin = "10 seconds", intercept, maxEvents = 1_000 }: {
    readonly decideWithin?: Duration.Input | undefined
    readonly intercept?: ((arriving: Intercept<Event, State>) => Effect.Effect<void, unknown, any>) | undefined
    readonly maxEvents?: number | undefined
  }
) => {
  /** An id has to fit where the name of the replica is longest, or its events could not come there. */
  const longest = [...replicas].toSorted((a, b) => Buffer.byteLength(b) - Buffer.byteLength(a))[0] ?? ""
  // what takes longer is not the event's fault, as a decision that takes too long would be
  const interceptWithin = Duration.times(Duration.fromInputUnsafe(decideWithin), 0.9)

  return (self: string): Lineage<state.Known> => {
    const intercepting = intercept && interceptions(intercept, interceptWithin)
    return {
      journalId: (id) => `${id}|${self}`,
      idProblem: (id) =>
        PersistenceId.is(`${name}|${id}|${longest}`)
          ? undefined
          : `the entity id is too long: with the entity type and the replica '${longest}', it has more than ${PersistenceId.maxBytes} bytes of UTF-8`,
      initial: state.nothing,
      encode: (known) => ({ [knownKey]: state.encode(known) }),
      decode: (metadata) => {
        const text = metadata[knownKey]
        if (text === undefined) {
          throw new Error(
            "It does not say which events of other replicas it includes, as `SnapshotStore.save` has saved it and not the entity"
          )
        }
        return state.decode(text)
      },
      request: (known, now): Pick<Request<unknown, unknown>, "replica" | "version" | "time"> => ({
        replica: self,
        version: known.version,
        time: state.nextTime(known, now)
      }),
      written: (known, sequenceNumber, now) => state.written(known, self, sequenceNumber, now),
      stored: ({ replication, sequenceNumber, timestamp }) =>
        replication === undefined
          ? state.migrated(self, sequenceNumber, timestamp)
          : replication.time === undefined
          ? { ...replication, time: timestamp }
          : replication,
      after: (known, replication) => state.after(known, self, replication),
      place: (
        { concurrent, origin, originSequenceNumber, time, version },
        recovering
      ): Omit<Place, keyof EventSourced.Place> => ({
        origin,
        originSequenceNumber,
        version,
        concurrent,
        recovering,
        time: time!
      }),
      arrival,
      arrive: ({ id, payload, sequenceNumber, state: current }, known, now) => {
        const { arriving } = payload as { readonly arriving: NonEmptyReadonlyArray<Arriving<Event>> }
        const outcomes: Array<Outcome> = []
        const stored: Array<Arrived> = []
        let after = known
        for (const { event, isRelayed, metadata, payload, previous, replication } of arriving) {
          const { origin, originSequenceNumber } = replication
          const about = { entityType: name, id, origin, originSequenceNumber }
          const arrival = state.arrive(after, { self, replicas }, replication, isRelayed === true, previous)
          if (arrival._tag === "Own" || arrival._tag === "Duplicate") {
            outcomes.push(arrival._tag)
            continue
          }
          // what cannot be stored is the first one of those that are sent again
          if (outcomes.length > 0 && (arrival._tag !== "Stored" || intercepting !== undefined)) break
          switch (arrival._tag) {
            case "UnknownReplica":
              return Decision.fail(new UnknownReplica({ ...about, replicas: [...replicas] }))
            case "Invalid":
              return Decision.fail(new InvalidArrival({ ...about, problem: arrival.problem }))
            case "EventsLost":
              return Decision.fail(new EventsLost({ ...about, self, seen: arrival.seen, last: arrival.last }))
            case "ArrivalsLost":
              return Decision.fail(new ArrivalsLost({ ...about, self, previous: previous!, last: arrival.last }))
            case "HistoryForked": {
              const { number: last, time: lastTime } = arrival.last
              return Decision.fail(new HistoryForked({ ...about, time: replication.time!, last, lastTime }))
            }
          }
          if (stored.length === maxEvents) break
          const next: Arrived = { event, payload, replication: state.received(after, replication, now), metadata }
          if (intercepting !== undefined) {
            return Effect.map(
              intercepting({
                id,
                state: current,
                event,
                origin,
                originSequenceNumber,
                sequenceNumber: sequenceNumber + 1
              }),
              (problem) =>
                problem === undefined
                  ? Decision.persist([next], () => ["Stored"])
                  : Decision.fail(new Intercepted({ ...about, problem }))
            )
          }
          stored.push(next)
          outcomes.push("Stored")
          after = state.after(after, self, next.replication)
        }
        return Decision.persist(stored, () => outcomes)
      }
    }
  }
}

/**
 * The client of a replicated entity type, as `EventSourced.client` is: it sends commands to the replica of this process.
 *
 * @category operations
 * @since 0.1.0
 */
export const client = <Name extends string, Rpcs extends Rpc.Any>(
  entity: ReplicatedEventSourced<Name, Rpcs, any, any, any>
): Effect.Effect<EntityClient.EntityClient<Rpcs>, never, EntityClient.Runs<Name>> => EntityClient.make(entity)

/**
 * What has become of an event that has come: it was stored, it was stored before, or it is of this replica itself.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = "Stored" | "Duplicate" | "Own"

/**
 * Gives an event of another replica to its entity, in whatever way that is run. Each is stored once, and answered as a `Duplicate` from then on.
 *
 * **Details**
 *
 * It takes its turn among the commands of the entity. The events of an origin have to come in their order, and none may be left out: what comes after a later one is taken for a
 * duplicate.
 *
 * @category operations
 * @since 0.1.0
 */
export const receive = <Name extends string, Event>(
  entity: ReplicatedEventSourced<Name, any, Event, any, any>
): Effect.Effect<
  (id: string, arriving: Arriving<Event>) => Effect.Effect<Outcome, ArrivalError | EntityError>,
  never,
  EntityClient.Runs<Name>
> =>
  Effect.map(
    receiveAll(entity),
    (receive) => (id, arriving) => Effect.map(receive(id, [arriving]), ([outcome]) => outcome!)
  )

/**
 * Gives several events of other replicas to one entity, in this order, as {@link receive} does with each.
 *
 * **Details**
 *
 * As many as possible have one turn, and are written at once. It fails with the error of the first event that the entity cannot take; those before it are stored, and those after it are not.
 *
 * @category operations
 * @since 0.1.0
 */
export const receiveAll = <Name extends string, Event>(
  entity: ReplicatedEventSourced<Name, any, Event, any, any>
): Effect.Effect<
  (
    id: string,
    arriving: ReadonlyArray<Arriving<Event>>
  ) => Effect.Effect<ReadonlyArray<Outcome>, ArrivalError | EntityError>,
  never,
  EntityClient.Runs<Name>
> =>
  Effect.map(EntityClient.Runs(entity.name), (runner) => {
    /** The first ones, at most so many at once, and then the others. */
    const send = (
      id: string,
      arriving: ReadonlyArray<Arriving<Event>>,
      most: number
    ): Effect.Effect<ReadonlyArray<Outcome>, ArrivalError | EntityError> => {
      if (arriving.length === 0) return Effect.succeed([])
      const payload = { arriving: arriving.slice(0, most) }
      const command = { tag: arrivalTag, payload, commandId: undefined, bytes: bytesOf(payload.arriving) }
      return Effect.matchEffect(runner.send(id, command), {
        onFailure: (error) => {
          const { length } = payload.arriving
          // halves find the one that is at fault in few turns, and store those before it in few as well
          return length > 1 && isOfSome(error) ? send(id, arriving, Math.ceil(length / 2)) : Effect.fail(error)
        },
        onSuccess: (answer) => {
          if (answer._tag === "Rejected") return Effect.fail(answer.error as ArrivalError)
          const outcomes = answer.reply as ReadonlyArray<Outcome>
          const taken = outcomes.length
          return taken === arriving.length
            ? Effect.succeed(outcomes)
            : Effect.map(send(id, arriving.slice(taken), Math.min(most, taken)), (others) => [...outcomes, ...others])
        }
      })
    }
    return (id, arriving) =>
      send(
        id,
        arriving.map(({ event, isRelayed = false, metadata, payload, previous, replication }) => ({
          event,
          payload,
          replication,
          metadata: withoutOwn(metadata),
          isRelayed,
          previous
        })),
        Infinity
      )
  })

/** What an event takes in memory besides its content. */
const overhead = 500
const noTags: ReadonlyArray<string> = []

/** What events take in memory, roughly, each as it is written and as it is read; undefined where it is not known how large one is. */
const bytesOf = (arriving: ReadonlyArray<Arriving<unknown>>): number | undefined => {
  let bytes = 0
  for (const { metadata, payload, replication } of arriving) {
    if (payload === undefined) return undefined
    bytes += overhead + sizeOf({ payload, tags: noTags, metadata, replication }) + payload.bytes.length
  }
  return bytes
}

/** Whether an error of several events may be that of one of them, so that nothing was written. */
const isOfSome = ({ _tag }: EntityError): boolean =>
  _tag === "DecisionFailed" || _tag === "InvalidDecision" || _tag === "InvalidCommand"

/** What an entity keeps of its commands is not to come from elsewhere. */
const withoutOwn = (metadata: Metadata): Metadata => {
  for (const key in metadata) {
    if (key.startsWith(ownMetadata)) {
      return Object.fromEntries(Object.entries(metadata).filter(([key]) => !key.startsWith(ownMetadata)))
    }
  }
  return metadata
}

/**
 * Runs replicated entities without keeping anything of them in memory, as `EventSourced.layerPlain` does.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPlain = <Name extends string, Rpcs extends Rpc.Any, Event, State, R>(
  entity: ReplicatedEventSourced<Name, Rpcs, Event, State, R>
): Layer.Layer<EntityClient.Runs<Name>, never, R | Replica.Replica | Journal | SnapshotStore> =>
  PlainEntities.layer(entity)

/**
 * Runs replicated entities in this process, as `EventSourced.layer` does. Over the processes of a replica, `EntityCluster.layer` runs them.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Name extends string, Rpcs extends Rpc.Any, Event, State, R>(
  entity: ReplicatedEventSourced<Name, Rpcs, Event, State, R>,
  options?: Activations.Options
): Layer.Layer<EntityClient.Runs<Name>, never, R | Replica.Replica | Journal | SnapshotStore> =>
  Activations.layer(entity, options)
