/**
 * The streams between the replicas of an entity type. Each replica offers its journal, and consumes those of the others.
 *
 * It is composed of what other streams are made of: an `EventProducer`, and an at-least-once `Projection` of each `EventConsumer`, whose handler gives the events
 * to the entities. These store each once.
 *
 * @since 0.1.0
 */
import type { ConsumerFilter } from "@sluice/core/ConsumerFilter"
import type { Envelope, Place } from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import * as EventStream from "@sluice/core/EventStream"
import * as Handler from "@sluice/core/Handler"
import type { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import type { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import type { SourceTimeout } from "@sluice/core/Source"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import { Runs } from "@sluice/entity/EntityClient"
import type { EntityError } from "@sluice/entity/EntityError"
import type { Caller } from "@sluice/grpc/Caller"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import { type DuplicateStream, type InsecureTransport, WrongReplica } from "@sluice/grpc/GrpcError"
import type { GrpcServer } from "@sluice/grpc/GrpcServer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { allHeader } from "./internal/allHeader.ts"
import { type AsWritten, asWritten } from "./internal/asWritten.ts"
import { checkReplicas } from "./internal/checkReplicas.ts"
import { isOfDeletedHere } from "./internal/deletedHere.ts"
import { givingAgain } from "./internal/givingAgain.ts"
import { LastGiven } from "./internal/LastGiven.ts"
import { orderOf } from "./internal/orderOf.ts"
import { progressFor } from "./internal/progressOf.ts"
import { projectionName } from "./internal/projectionName.ts"
import { refusing } from "./internal/refusing.ts"
import * as state from "./internal/replica.ts"
import { byText } from "./internal/vectors.ts"
import * as Replica from "./Replica.ts"
import { type Arriving, receiveAll, type ReplicatedEventSourced } from "./ReplicatedEventSourced.ts"
import { type ArrivalError, EntityHeldUp } from "./ReplicationError.ts"

/**
 * Where another replica is, and how it is reached: the options of `EventConsumer.source`, without `onReplaced`, as a replica whose journal was replaced has to begin
 * anew under another id.
 *
 * @category models
 * @since 0.1.0
 */
export interface Remote extends Omit<EventConsumer.Options, "name" | "replica" | "producerReplica" | "onReplaced"> {}

/**
 * Which replicas are consumed, and how.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConsumerOptions {
  /**
   * The other replicas that this one consumes, by their ids. This one may be among them, and is left out, so that all may have the same options. The events of a
   * replica that is not among them come by way of those that are.
   */
  readonly replicas: Readonly<Record<string, Remote>>
  /**
   * Which entities this replica takes from the others; all, where nothing is said. Each other replica goes by it before it sends anything, and `ConsumerFilter` changes it while events flow, for each of the
   * {@link projections}.
   */
  readonly filter?: EventFilter.EventFilter | undefined
  /**
   * In which order events of different replicas are stored here. In the order `"origin"`, the default, an event may be stored before another one that it has seen, of a third replica. In the order `"causal"` it is
   * not: each other replica passes on all events that it has, in the order in which it has stored them, so that more is sent. It has to be the order of all replicas.
   */
  readonly order?: "origin" | "causal" | undefined
  /** In how many slice ranges each is consumed; 4 where nothing is said. */
  readonly consumers?: number | undefined
  /**
   * To how many entities each consumer gives events at a time, of different slices; 32 where nothing is said. What they read and write in the same moment shares statements and commits, so a region catches up the quicker
   * the more there are. Each consumer reads no more while it holds 200 events for each of them, or 4 MiB, that are not stored. Events of an entity that have come by then are given to it together, unless it has `intercept`.
   */
  readonly parallelUpdates?: number | undefined
}

/**
 * How the own journal is offered, and which replicas are consumed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R = never> extends ConsumerOptions, Pick<EventProducer.Options<R>, "select" | "topicPrefix"> {}

/**
 * The stream of events that replicas of an entity type offer each other. Its id is the name of the entity type.
 *
 * @category getters
 * @since 0.1.0
 */
export const stream = <Event>(
  { entityType }: ReplicatedEventSourced<any, any, Event, any, any>
): EventStream.EventStream<Event> => EventStream.make(entityType.name, { codec: entityType.codec })

/** Whether an event comes to a replica on another way, or is its own. One that does not say which it is wants the events of this replica alone. */
const dropAt = (self: string) => ({ headers, replica }: Caller) => {
  // it compares what both have
  if (headers[allHeader] !== undefined) return () => false
  if (replica === undefined) return ({ replication }: Place) => replication !== undefined && replication.origin !== self
  const known = new Set([replica.id, ...replica.others])
  known.delete(self)
  return ({ replication }: Place) => replication !== undefined && known.has(replication.origin)
}

/**
 * Offers the journal of this replica to the others.
 *
 * **Details**
 *
 * A consumer is sent the events that were decided here, and those of replicas that it does not consume itself. Placeholders take the place of the others, so that
 * nothing is missing, and its lag reaches zero. `order` is that of {@link consumer}: one that stores events in another order, or has another journal than the one that is known here under its id, is refused, with
 * `ReplicaRefused`. Placeholders take also the place of events which are not of this replica, as those from before the entity type was
 * replicated are: the log says so once.
 *
 * @category layers
 * @since 0.1.0
 */
export const producer = <Name extends string, Event, R = never>(
  entity: ReplicatedEventSourced<Name, any, Event, any, any>,
  options?: Pick<EventProducer.Options<R>, "select" | "topicPrefix"> & Pick<ConsumerOptions, "order">
): Layer.Layer<
  never,
  DuplicateStream,
  R | Replica.Replica | Journal.Journal | GrpcServer | ProjectionManagement | HeartbeatStore | ConsumerFilter
> =>
  Layer.unwrap(Effect.gen(function*() {
    const { id } = yield* Replica.Replica
    const run = Effect.runForkWith(yield* Effect.context())
    const stores = yield* Effect.context<ProjectionManagement | HeartbeatStore | ConsumerFilter>()
    const refuse = refusing(entity.name, id, orderOf(options?.order))
    const dropOf = dropAt(id)
    const suffix = `|${id}`
    let isSaid = false
    const isStrange = ({ persistenceId }: Place): boolean => {
      if (persistenceId.endsWith(suffix)) return false
      if (!isSaid) {
        isSaid = true
        run(Effect.logWarning(
          `The stream of '${entity.name}' leaves out the events of '${persistenceId}' and of all others that are not of replica '${id}', ` +
            "as those from before the entity type was replicated"
        ))
      }
      return true
    }
    return EventProducer.layer(stream(entity), Source.journal(entity.entityType), {
      ...options,
      drop: (caller) => {
        const isElsewhere = dropOf(caller)
        return (place) => isStrange(place) || isElsewhere(place)
      },
      replica: {
        id,
        replicas: entity.replicas,
        progress: (of) => Effect.provideContext(progressFor(entity.name, id, entity.replicas, of), stores),
        refuse: (other) => Effect.provideContext(refuse(other), stores)
      }
    })
  }))

/** An error that is of one entity alone, though its event is not at fault, is none that stops the others. */
const ofEntity = (
  about: { readonly entityType: string; readonly id: string },
  first: ReplicationMetadata,
  error: ArrivalError | EntityError
): ArrivalError | EntityError | EntityHeldUp => {
  // where it does not say of which event it is, it is given again to the entity event by event
  const { origin, originSequenceNumber } = "originSequenceNumber" in error ? error : first
  // any other room is that of all entities
  const isOfOne = error._tag === "Overloaded" ? error.full === "mailbox" || error.full === "time" : held.has(error._tag)
  return isOfOne
    ? new EntityHeldUp({ ...about, origin, originSequenceNumber, code: error._tag, problem: error.message })
    : error
}

/** So many events of a slice are given to their entities at once: few enough that a command of an entity does not wait for long behind them. */
const together = { size: 200, bytes: 1024 * 1024 }

/** Each may take as long as `intercept` takes, which whoever pauses or moves the projection would wait for of a whole group. */
const alone = { ...together, size: 1 }

/** The errors that are of one entity. */
const held: ReadonlySet<string> = new Set<(ArrivalError | EntityError)["_tag"]>([
  "Intercepted",
  "InvalidArrival",
  "EventsLost",
  "ArrivalsLost",
  "HistoryForked",
  "EntityConflict"
])

/**
 * Whether the database still has what was stored last. A failover may have lost that, and the offsets after it must not be stored then: what was lost comes again. Where the journal is not that of this process there is nothing to
 * look at.
 */
const isStillThere = (given: LastGiven): Effect.Effect<void, StorageError> =>
  Effect.flatMap(Effect.serviceOption(Journal.Journal), (journal) => {
    const { receipt } = given
    if (receipt === undefined || Option.isNone(journal) || journal.value.identity !== receipt.journal) {
      return Effect.void
    }
    const { persistenceId, sequenceNumber } = receipt
    return Effect.flatMap(
      Journal.has(journal.value, receipt),
      (has) =>
        has ? Effect.void : Effect.fail(
          new StorageError({
            operation: "store how far another replica was read",
            reason: "Unavailable",
            cause: new Error(
              `event ${sequenceNumber} of '${persistenceId}' was stored, and is not in the journal any more: the database has lost commits`
            )
          })
        )
    )
  })

/**
 * The projections of the other replicas' events, as values. {@link layer} runs them.
 *
 * **Details**
 *
 * Each is named `RES_<entity type>_<this replica>_<the other one>`, and independent of the others: a replica that is down delays no other one's events.
 *
 * An event that its entity cannot take now is tried three times more, 200 milliseconds apart: with those of its slice that have come with it, if there are any, and then by itself. Then it is put aside as a dead letter; the later ones of that entity in that journal wait behind it, and other
 * entities go on. {@link consumer} and {@link layer} give it to the entity again until it is taken. Whoever runs the projections without these calls `Projection.handleDeadLetters`. As many as 10,000 events
 * wait in each worker; one that has no room holds back its stream. What concerns all entities, such as a database that is away, holds back the stream as well, and is tried again for as long
 * as it takes.
 *
 * Throws a `RangeError` where a replica is none of the entity type, the order is none, the name has more than 255 characters, or the filter includes an entity from a sequence number on.
 *
 * @category getters
 * @since 0.1.0
 */
export const projections = <Name extends string, Event>(
  entity: ReplicatedEventSourced<Name, any, Event, any, any>,
  self: string,
  { consumers = 4, filter = EventFilter.passAll, parallelUpdates = 32, replicas, ...options }: ConsumerOptions
): ReadonlyArray<
  Projection.Projection<
    EventConsumer.ConsumerError | ArrivalError | EntityError | EntityHeldUp | SourceTimeout,
    Runs<Name> | Projection.Stores
  >
> => {
  const { name } = entity
  checkReplicas(entity, Object.keys(replicas))
  const order = orderOf(options.order)
  const others = Object.keys(replicas).filter((id) => id !== self)
  return others.map((remote) => {
    /** Whose events come from themselves. In causal order those of one come on every way, behind what they had seen. */
    const direct = order === "causal" ? [remote] : others
    /** What comes on another way is not taken from this one, where some of it may be missing. */
    const elsewhere = new Set(direct.filter((id) => id !== remote))
    const relayed = entity.replicas.filter((id) => id !== self && !direct.includes(id)).toSorted(byText)
    const suffix = `|${remote}`
    const given = new LastGiven()
    const receiving = Effect.flatMap(Runs(name), (runner) =>
      Effect.provideService(receiveAll(entity), Runs(name), {
        ...runner,
        send: (id, command) =>
          Effect.tap(runner.send(id, command), (answer) =>
            Effect.sync(() => {
              if (answer._tag === "Replied" && answer.receipt !== undefined) given.receipt = answer.receipt
            }))
      }))
    /** An event as it arrives at its entity; undefined where it comes on another way. */
    const arrivalOf = (
      { event: { event, payload }, metadata, persistenceId, replication, sequenceNumber, timestamp }: Envelope<
        AsWritten<Event>
      >
    ): { readonly id: string; readonly arriving: Arriving<Event> } | WrongReplica | undefined => {
      if (!persistenceId.startsWith(`${name}|`) || !persistenceId.endsWith(suffix)) {
        const { address } = replicas[remote]!
        return new WrongReplica({ streamId: name, address, expected: remote, actual: undefined, persistenceId })
      }
      const id = PersistenceId.entityId(persistenceId).slice(0, -suffix.length)
      const from = replication ?? state.migrated(remote, sequenceNumber, timestamp)
      if (from.origin === self || elsewhere.has(from.origin)) return undefined
      const isRelayed = from.origin !== remote
      const previous = given.before(id, from)
      return { id, arriving: { event, payload, metadata, replication: from, isRelayed, previous } }
    }
    // what this one did not need before, as it came on another way, was left out: it is read from the beginning
    const sourceName = [`${name}:${remote}`, ...relayed].join("+")
    const key = { projection: projectionName(name, self, remote), source: `stream:${sourceName}` }
    let isSaid = false
    /** Fails as the entity does, unless all of it had come before it was deleted here. */
    const passedOver = <E>(id: string, places: ReadonlyArray<Place>, error: E) =>
      Effect.gen(function*() {
        const here = PersistenceId.make(name, `${id}|${self}`)
        for (const place of places) {
          // put aside otherwise, and given again
          const isPast = yield* Effect.orElseSucceed(isOfDeletedHere(here, key, place), () => false)
          if (!isPast) return yield* Effect.fail(error)
        }
        if (isSaid) return
        isSaid = true
        yield* Effect.logInfo(
          `Passes over what comes of '${here}' from replica '${remote}' once more, and of other entities that were deleted here: ` +
            `it had come before that. Delete these in all regions`
        )
      })
    return EventConsumer.source(EventStream.make(name, { codec: asWritten(entity.entityType.codec) }), {
      ...replicas[remote]!,
      name: sourceName,
      replica: { id: self, others: direct, order },
      producerReplica: remote,
      // also where a value has more than its type: the events of another history are none that could be read anew
      onReplaced: "fail"
    }).pipe(
      EventConsumer.filter(filter),
      Projection.atLeastOnce(
        projectionName(name, self, remote),
        Handler.grouped({ ...(entity.intercepts ? alone : together), within: 0 }, (envelopes) => {
          const entities = new Map<
            string,
            { readonly arriving: Array<Arriving<Event>>; readonly places: Array<Place> }
          >()
          for (const envelope of envelopes) {
            const arrival = arrivalOf(envelope)
            if (arrival === undefined) continue
            if (arrival instanceof WrongReplica) return Effect.fail(arrival)
            const of = entities.get(arrival.id)
            if (of === undefined) entities.set(arrival.id, { arriving: [arrival.arriving], places: [envelope] })
            else {
              of.arriving.push(arrival.arriving)
              of.places.push(envelope)
            }
          }
          let heldUp: EntityHeldUp | undefined
          return Effect.flatMap(
            receiving,
            (receive) =>
              Effect.forEach(entities, ([id, { arriving, places }]) =>
                receive(id, arriving).pipe(
                  Effect.tap(() => Effect.sync(() => given.stored(id, arriving))),
                  Effect.catchTag("RecoveryFailed", (error) => passedOver(id, places, error)),
                  Effect.mapError((error) =>
                    error._tag === "ArrivalsLost" && given.isToBeginAgain(id, error.previous)
                      ? error
                      : ofEntity({ entityType: name, id }, arriving[0]!.replication, error)
                  ),
                  // the others are not to wait for it
                  Effect.catchTag("EntityHeldUp", (error) => Effect.sync(() => void (heldUp ??= error)))
                ), { discard: true })
          ).pipe(
            Effect.andThen(Effect.suspend(() => heldUp === undefined ? Effect.void : Effect.fail(heldUp)))
          )
        }),
        // an event that comes again after a crash is known by its entity, so that offsets need not be stored often
        { parallelism: parallelUpdates, saveAfter: 2_000, confirm: isStillThere(given) }
      ),
      Projection.workers(consumers),
      Projection.recovery(
        RecoveryStrategy.retryAndDeadLetter({ retries: 3, delay: "200 millis", queue: { overflow: "holdBack" } })
      )
    )
  })
}

/**
 * Consumes the other replicas, for as long as the layer lives. It fails with `InsecureTransport` where one is to be reached in plaintext beyond this machine, and dies with a `RangeError` where {@link projections} throws one.
 *
 * @category layers
 * @since 0.1.0
 */
export const consumer = <Name extends string, Event>(
  entity: ReplicatedEventSourced<Name, any, Event, any, any>,
  options: ConsumerOptions
): Layer.Layer<never, InsecureTransport, Replica.Replica | Runs<Name> | Projection.Stores> =>
  Layer.unwrap(Effect.gen(function*() {
    const { id } = yield* Replica.Replica
    const [first, ...more] = projections(entity, id, options).map((projection) =>
      Layer.merge(Projection.layer(projection), Layer.effectDiscard(Effect.forkScoped(givingAgain(projection))))
    )
    for (const [other, remote] of Object.entries(options.replicas)) {
      if (other !== id) yield* EventConsumer.checkTransport(remote)
    }
    return first === undefined ? Layer.empty : Layer.mergeAll(first, ...more)
  }))

/**
 * Replicates an entity type: offers the journal of this replica, and consumes those of the others.
 *
 * **Details**
 *
 * With one {@link Replica.layer} and these options the same program runs in every region. A replica that cannot be reached is tried again with backoff, and what
 * was written meanwhile on both sides comes then. It fails where one is to be reached in plaintext beyond this machine.
 *
 * **Gotchas**
 *
 * The events of one replica come in their order, those of different replicas as they come: with three replicas, an event may be here before another one that it has
 * seen, unless `order` is `"causal"`.
 *
 * **Example** (A region)
 *
 * ```ts
 * import { EntityType, MemoryStorage } from "@sluice/core"
 * import { Decision } from "@sluice/entity"
 * import { GrpcServer } from "@sluice/grpc"
 * import { Replica, ReplicatedEventSourced, Replication } from "@sluice/replication"
 * import { Layer, Schema } from "effect"
 * import { Rpc } from "effect/rpc"
 *
 * class Added extends Schema.TaggedClass<Added>()("Added", { amount: Schema.Int }) {}
 *
 * const Counter = ReplicatedEventSourced.make(EntityType.make("counter", { event: Added }), {
 *   replicas: ["eu", "us"],
 *   state: Schema.Int,
 *   initial: 0,
 *   commands: [Rpc.make("Add", { payload: { amount: Schema.Int }, success: Schema.Int })],
 *   decide: { Add: ({ payload }) => Decision.persist([new Added(payload)], (sum: number) => sum) },
 *   evolve: (sum, { amount }) => sum + amount
 * })
 *
 * const region = (id: string) =>
 *   Replication.layer(Counter, {
 *     replicas: { eu: { address: "localhost:8101" }, us: { address: "localhost:8102" } }
 *   }).pipe(
 *     Layer.provideMerge(ReplicatedEventSourced.layer(Counter)),
 *     Layer.provide([Replica.layer(id), GrpcServer.layer({ port: id === "eu" ? 8101 : 8102 }), MemoryStorage.layer])
 *   )
 * const Europe = region("eu")
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Name extends string, Event, R = never>(
  entity: ReplicatedEventSourced<Name, any, Event, any, any>,
  options: Options<R>
): Layer.Layer<
  never,
  DuplicateStream | InsecureTransport,
  R | Replica.Replica | Journal.Journal | GrpcServer | Runs<Name> | Projection.Stores
> => Layer.merge(producer(entity, options), consumer(entity, options))
