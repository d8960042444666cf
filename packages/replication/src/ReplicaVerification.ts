/**
 * Compares what replicas have of the same entities: the events, and the states that they lead to.
 *
 * @since 0.1.0
 */
import type { ConsumerFilter } from "@sluice/core/ConsumerFilter"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { isSkipped } from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import type { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import { Journal } from "@sluice/core/Journal"
import type { Offsets } from "@sluice/core/Offset"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import type { StorageError } from "@sluice/core/StorageError"
import type { Runs } from "@sluice/entity/EntityClient"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import type { ReplicaProgress } from "@sluice/grpc/ReplicaProgress"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { allHeader } from "./internal/allHeader.ts"
import { answerWithin, isOfOthers, isPositioned, messageOf, type Other, othersOf } from "./internal/asking.ts"
import { compareSides, EntitySide, removedOf, type Unmatched } from "./internal/entitySide.ts"
import { orderOf } from "./internal/orderOf.ts"
import { filterOf, type OwnProgress, progressOf } from "./internal/progressOf.ts"
import { migrated } from "./internal/replica.ts"
import * as Replica from "./Replica.ts"
import { type Outcome, receive, type ReplicatedEventSourced } from "./ReplicatedEventSourced.ts"
import * as Replication from "./Replication.ts"

/**
 * The options of `Replication.layer`, as far as they say what a replica is to have; and how much is listed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Pick<Replication.Options<any>, "replicas" | "order" | "select" | "topicPrefix"> {
  /** How many differences are listed of each replica: 1,000 if undefined. All are counted. */
  readonly limit?: number | undefined
}

/**
 * Events of an entity that were decided in one replica, by their numbers there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Events {
  /** The id of the entity, as its commands have it. */
  readonly id: string
  readonly origin: string
  readonly count: number
  /** The first 100 of them. */
  readonly numbers: ReadonlyArray<number>
}

/**
 * The other replica has the events, and this one, which has gone past them, has not. Events of this one itself are those that its journal has lost.
 *
 * @category models
 * @since 0.1.0
 */
export interface MissingHere extends Events {
  readonly _tag: "MissingHere"
}

/**
 * This replica has the events, and the other one, which has gone past them, has not.
 *
 * @category models
 * @since 0.1.0
 */
export interface MissingThere extends Events {
  readonly _tag: "MissingThere"
}

/**
 * Both have events with these numbers, which are not the same: the origin has given numbers again, as after a restored backup.
 *
 * @category models
 * @since 0.1.0
 */
export interface OtherEvents extends Events {
  readonly _tag: "OtherEvents"
}

/**
 * Both have the same events of the entity, and these lead to different states: `evolve` does not converge. It goes by the order in which the events came, or by something beside them.
 *
 * @category models
 * @since 0.1.0
 */
export interface OtherState {
  readonly _tag: "OtherState"
  readonly id: string
  /** A hash of the state here. */
  readonly here: string
  /** A hash of the state there. */
  readonly there: string
}

/**
 * One of them has had fewer events of the entity than the other one, and lacks none of those that are left: it has lost some which the other one has pruned since, so that nothing says which these were.
 *
 * @category models
 * @since 0.1.0
 */
export interface OtherCount {
  readonly _tag: "OtherCount"
  readonly id: string
  /** How many this one has had. */
  readonly here: number
  /** How many the other one has had. */
  readonly there: number
}

/**
 * A difference between this replica and another one.
 *
 * @category models
 * @since 0.1.0
 */
export type Difference = MissingHere | MissingThere | OtherEvents | OtherState | OtherCount

/**
 * A missing event that a repair has given to its entity, and that was not stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface NotRepaired {
  /** The id of the entity, as its commands have it. */
  readonly id: string
  readonly origin: string
  /** Its number in the journal of its origin. */
  readonly number: number
  readonly problem: string
}

/**
 * How this replica compares with another one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /** The other one. */
  readonly replica: string
  /** Why it was not compared, or not to the end; undefined where it was. */
  readonly problem: string | undefined
  /** How many entities were compared. */
  readonly entities: number
  /** How many events both have. */
  readonly events: number
  /** Of how many entities the states were compared. They are not where the events differ, or where one side has deleted some of them. */
  readonly states: number
  /** How many events one of them has, and the other one has not come to yet. */
  readonly underWay: number
  /** How many events one of them has, and the other one need not have, as filters leave them out; or of which nobody here can know whether it has. */
  readonly leftOut: number
  /** How many events one of them has, and the other one has had and pruned. */
  readonly pruned: number
  /** The first ones, up to the limit. */
  readonly differences: ReadonlyArray<Difference>
  /** How many there are altogether. */
  readonly found: number
  /** How many events that were missing here a repair has stored. */
  readonly repaired: number
  /** Of each entity and origin the first event that a repair was to store and could not, up to the limit. Later ones of these are missing as well. */
  readonly notRepaired: ReadonlyArray<NotRepaired>
}

/**
 * Whether everything was compared, nothing is under way, and nothing differs.
 *
 * @category guards
 * @since 0.1.0
 */
export const isEqual = ({ found, problem, underWay }: Report): boolean =>
  problem === undefined && underWay === 0 && found === 0

/** So many entities are compared at a time, of each replica. */
const atATime = 8
const maxNumbers = 100
const first = SequenceNumber.make(1)
const last = SequenceNumber.make(Number.MAX_SAFE_INTEGER - 1)

/** The other one could not be asked, or said something that cannot be compared. */
class NotCompared {
  readonly _tag = "NotCompared"
  readonly problem: string
  constructor(problem: string) {
    this.problem = problem
  }
}

type Store = Replica.Replica | Journal | ProjectionManagement | HeartbeatStore | ConsumerFilter
/** Says why an event was not stored, if it was not. */
type Give = (id: string, envelope: EncodedEnvelope) => Effect.Effect<string | undefined>
type Entity<Event, State> = ReplicatedEventSourced<any, any, Event, State, any>

/**
 * Compares this replica with each of the others: of each entity the events, by origin and number, and a hash of the state that `evolve` leads to on both sides. One that cannot be reached is
 * named with a `problem`, and never equal.
 *
 * **Details**
 *
 * How far each has come is asked first. So an event that is under way counts as such, and not as a difference, also where the link is cut, or the event waits for its entity. What the filter of
 * either side leaves out is no difference either, and neither is what `select` hides: give it the options of `Replication.layer`. Events of a third replica, which both get from there, are judged by what each has read of that one; where it cannot be reached, they are under way until it can.
 * What one of them has pruned is no difference, as long as it has had as many events of the entity as the other one. Where both have pruned what one of them had lost, the numbers of events tell. Of an entity of which some events were deleted, and not pruned, they do not.
 *
 * It reads all events here and there, while entities are written, and keeps in memory the ids of a few slices and of a few entities the state and four numbers of each event.
 *
 * **Gotchas**
 *
 * What was deleted in one replica and not in the other is a difference: nobody knows whether that was meant. Where `select` is not a filter but goes by the caller, it is not known here what another replica was to get: that shows when it is verified there.
 * It is taken for that of all replicas.
 *
 * @category operations
 * @since 0.1.0
 */
export const verify = <Name extends string, Event, State>(
  entity: ReplicatedEventSourced<Name, any, Event, State, any>,
  options: Options
): Effect.Effect<ReadonlyArray<Report>, StorageError, Store> => comparing(entity, options, undefined)

/**
 * As {@link verify}, and gives the events that are missing here to their entities, as the streams do. What is missing there is repaired by a repair there.
 *
 * **Details**
 *
 * An entity stores the events of an origin in their order. So one can be repaired whose last events of an origin are missing; what is missing before others is not taken any more, and is reported each time. Neither is
 * anything taken by an entity whose events were deleted here. `notRepaired` says of which entities that is so, and why.
 *
 * @category operations
 * @since 0.1.0
 */
export const repair = <Name extends string, Event, State>(
  entity: ReplicatedEventSourced<Name, any, Event, State, any>,
  options: Options
): Effect.Effect<ReadonlyArray<Report>, StorageError, Store | Runs<Name>> =>
  Effect.flatMap(receive(entity), (receive) =>
    comparing(entity, options, (remote) => (id, envelope) => {
      const { metadata, payload, persistenceId: _, sequenceNumber, timestamp } = envelope
      const replication = envelope.replication ?? migrated(remote, sequenceNumber, timestamp)
      return Effect.suspend(() =>
        receive(id, {
          event: entity.entityType.codec.decodeUnsafe(payload!),
          payload,
          metadata,
          replication,
          isRelayed: replication.origin !== remote
        })
      ).pipe(
        Effect.match({ onFailure: messageOf, onSuccess: (outcome) => notStored[outcome] }),
        Effect.catchDefect((defect) => Effect.succeed(messageOf(defect)))
      )
    }))

const notStored: Readonly<Record<Outcome, string | undefined>> = {
  Stored: undefined,
  Duplicate:
    "The entity takes it for stored, as it has a later event of this origin, or had this one before its events were deleted here",
  Own: "It is an event of this replica itself, which its journal has lost: see what is said of restored backups"
}

const comparing = (
  entity: Entity<any, any>,
  options: Options,
  giveOf: ((remote: string) => Give) | undefined
): Effect.Effect<ReadonlyArray<Report>, StorageError, Store> =>
  Effect.gen(function*() {
    const { id: self } = yield* Replica.Replica
    const others = othersOf(entity, self, options)
    return yield* Effect.forEach(
      others,
      (other) => {
        const thirds = others.filter((third) => third !== other)
        return Effect.scoped(compareWith(entity, self, other, thirds, options, giveOf?.(other.id)))
      },
      { concurrency: "unbounded" }
    )
  })

/** What is said grows while entities are compared. */
interface Found {
  entities: number
  events: number
  states: number
  underWay: number
  leftOut: number
  pruned: number
  found: number
  repaired: number
  readonly notRepaired: Array<NotRepaired>
  readonly differences: Array<Difference>
}

const compareWith = (
  entity: Entity<any, any>,
  self: string,
  other: Other,
  thirds: ReadonlyArray<Other>,
  options: Options,
  give: Give | undefined
): Effect.Effect<Report, StorageError, Store | Scope.Scope> =>
  Effect.gen(function*() {
    const found: Found = {
      entities: 0,
      events: 0,
      states: 0,
      underWay: 0,
      leftOut: 0,
      pruned: 0,
      found: 0,
      repaired: 0,
      notRepaired: [],
      differences: []
    }
    const problem = yield* known(entity, self, other, thirds, options).pipe(
      Effect.flatMap((pair) => compareAll(entity, pair, found, options.limit ?? 1_000, give)),
      Effect.catchTag("NotCompared", ({ problem }) => Effect.succeed(problem))
    )
    return { replica: other.id, problem, ...found }
  })

/** What is known of two replicas before they are compared: what was read before is in what comes after. */
interface Pair {
  readonly self: string
  readonly remote: string
  readonly here: Reading
  readonly there: Reading
  readonly own: OwnProgress
  readonly theirs: ReplicaProgress
  /** Whether this one takes events of an origin from the other one. */
  readonly takes: (origin: string) => boolean
  /** Whether the other one takes events of an origin from this one. */
  readonly gives: (origin: string) => boolean
  /** What this one is to take of what it has gone past. */
  readonly isWanted: (event: EventFilter.Subject, position: number) => boolean
  readonly isWantedThere: (event: EventFilter.Subject, position: number) => boolean
  /** How this one gets what each third replica has written, and the other one gets it. */
  readonly waysHere: ReadonlyMap<string, Way>
  readonly waysThere: ReadonlyMap<string, Way>
}

/** How a replica gets the events of a third one from there. */
interface Way {
  readonly reading: Reading
  /** As it was before the entities were compared. */
  readonly progress: Pick<ReplicaProgress, "incomplete" | "offsets">
  readonly isWanted: Pair["isWanted"]
  /** Of which slices some is not shown, as far as that was looked at. */
  readonly hides: Map<Slice.Slice, boolean>
  /** Whether it could not be asked: then it is not asked for each entity. */
  isAway: boolean
}

/** One of the two journals. */
interface Reading {
  readonly replica: string
  readonly heads: Offsets
  readonly open: (slice: Slice.Slice) => Effect.Effect<Source.Feed<any>, any, any>
  readonly entity: (id: string) => Stream.Stream<EncodedEnvelope, any, any>
}

const away = (error: unknown) => new NotCompared(messageOf(error))
const silent = () => new NotCompared(`It has shown nothing of what it has for ${answerWithin / 1000} seconds`)

const known = (
  entity: Entity<any, any>,
  self: string,
  other: Other,
  thirds: ReadonlyArray<Other>,
  options: Options
): Effect.Effect<Pair, NotCompared | StorageError, Store | Scope.Scope> =>
  Effect.gen(function*() {
    const { replicas, select, topicPrefix } = options
    const order = orderOf(options.order)
    const journal = yield* Journal
    const remote = other.id
    const headsThere = yield* Effect.mapError(other.heads, away)
    if (!isPositioned(headsThere)) {
      return yield* Effect.fail(new NotCompared("It has no positions, as a replica on Akka"))
    }
    const headsHere = yield* journal.heads(entity.name, SliceRange.full)
    const own = yield* progressOf(entity.name, self, remote)
    const theirs = yield* Effect.mapError(other.progress, away)
    if (theirs === undefined) {
      return yield* Effect.fail(new NotCompared("It does not say what it has stored, as a replica on Akka"))
    }
    if (isOfOthers(theirs, { journal: journal.identity, log: "events", entityType: entity.name })) {
      return yield* Effect.fail(
        new NotCompared("It has read another journal, which the one of this replica has taken the place of")
      )
    }
    const others = new Set(Object.keys(replicas).filter((id) => id !== self && id !== remote))
    const isShown = select === undefined
      ? () => true
      : isFilter(select)
      ? EventFilter.compile(select, { topicPrefix })
      : () => false
    const takenThere = (progress: ReplicaProgress): Pair["isWanted"] =>
      wanted(progress, (event) => isShown(event), progress.filter, topicPrefix)
    const takenHere = (progress: OwnProgress, provider: Source.Provider<any, any, any>) =>
      Effect.map(filterOf(progress.sources), (filter) =>
        wanted(progress, () => true, filter, provider.topicPrefix?.() ?? topicPrefix))
    const provider = providerOf(entity, self, remote, options)
    yield* provider.hold ?? Effect.void
    const local = Source.journal(entity.entityType).provider
    const [waysHere, waysThere] = [new Map<string, Way>(), new Map<string, Way>()]
    for (const third of order === "causal" ? [] : thirds) {
      const provider = providerOf(entity, self, third.id, options)
      const progress = yield* progressOf(entity.name, self, third.id)
      const heads = yield* Effect.orElseSucceed(third.heads, () =>
        undefined)
      const reading = inTimeOf(readingOf(entity, provider, third.id, heads ?? Offset.none, progress.journal))
      const way = (progress: Way["progress"], isWanted: Way["isWanted"]): Way => ({
        reading,
        progress,
        isWanted,
        hides: new Map(),
        isAway: heads === undefined || !isPositioned(heads)
      })
      waysHere.set(third.id, way(progress, yield* takenHere(progress, provider)))
      const there = yield* Effect.orElseSucceed(other.progressOf(third.id), () => undefined)
      // what was read of another journal says nothing of this one
      if (there?.journal === undefined || there.journal !== progress.journal) continue
      waysThere.set(third.id, way(there, takenThere(there)))
    }
    return {
      self,
      remote,
      own,
      theirs,
      here: readingOf(entity, local, self, headsHere, undefined),
      there: inTimeOf(readingOf(entity, provider, remote, headsThere, own.journal)),
      takes: (origin) => order === "causal" || !others.has(origin),
      gives: (origin) => origin === self || order === "causal" || !theirs.others.includes(origin),
      isWanted: yield* takenHere(own, provider),
      isWantedThere: takenThere(theirs),
      waysHere,
      waysThere
    }
  })

/** Another one's journal, with the events of all replicas. */
const providerOf = (
  entity: Entity<any, any>,
  self: string,
  remote: string,
  { replicas }: Options
): Source.Provider<any, any, any> => {
  const { headers = {}, ...at } = replicas[remote]!
  return EventConsumer.source(Replication.stream(entity), {
    ...at,
    replica: { id: self, others: Object.keys(replicas).filter((id) => id !== self) },
    producerReplica: remote,
    headers: Effect.isEffect(headers)
      ? Effect.map(headers, (headers) => ({ ...headers, [allHeader]: "true" }))
      : { ...headers, [allHeader]: "true" }
  }).provider
}

const readingOf = (
  { name }: Entity<any, any>,
  { entity, open }: Pick<Source.Provider<any, any, any>, "entity" | "open">,
  replica: string,
  heads: Offsets,
  journal: string | undefined
): Reading => ({
  replica,
  heads,
  open: (slice) =>
    open(SliceRange.make(slice, slice), { journal, offsets: Offset.none, pastDeleted: true, placesOnly: true }),
  entity: (id) => entity(PersistenceId.make(name, `${id}|${replica}`), first, last)
})

/** What is wanted of what was gone past. */
const wanted = (
  progress: Way["progress"],
  isShown: (event: EventFilter.Subject) => boolean,
  filter: EventFilter.EventFilter | undefined,
  topicPrefix: string | undefined
): Pair["isWanted"] => {
  const passes = filter === undefined ? () => true : EventFilter.compile(filter, { topicPrefix })
  return (event, position) =>
    hasPassed(progress, Slice.ofPersistenceId(event.persistenceId), position) && isShown(event) && passes(event)
}

const isFilter = Schema.is(EventFilter.EventFilter)

const inTimeOf = (reading: Reading): Reading => ({
  ...reading,
  open: (slice) => inTime(reading.open(slice)),
  entity: (id) => inTimeEach(reading.entity(id))
})

const inTime = <A, E, R>(asked: Effect.Effect<A, E, R>): Effect.Effect<A, NotCompared, R> =>
  asked.pipe(
    Effect.mapError(away),
    Effect.timeoutOrElse({ duration: answerWithin, orElse: () => Effect.fail(silent()) })
  )

const inTimeEach = <A, E, R>(stream: Stream.Stream<A, E, R>): Stream.Stream<A, NotCompared, R> =>
  stream.pipe(
    Stream.mapError(away),
    Stream.timeoutOrElse({ duration: answerWithin, orElse: () => Stream.fail(silent()) })
  )

/** The ids of the entities of a slice, and whether some of what is there is not shown. */
const idsIn = (
  { heads, open, replica }: Reading,
  entityType: string,
  slice: Slice.Slice,
  isRemote: boolean
): Effect.Effect<{ readonly ids: ReadonlySet<string>; readonly hides: boolean }, any, any> =>
  Effect.gen(function*() {
    const ids = new Set<string>()
    const prefix = `${entityType}|`
    const suffix = `|${replica}`
    const end: number = heads.get(slice)?.position ?? 0
    let hides = false
    const { envelopes } = yield* open(slice)
    const chunks = Stream.chunks(isRemote ? inTimeEach(envelopes) : envelopes)
    yield* Stream.runForEachWhile(chunks, (elements) =>
      Effect.sync(() => {
        let position: number = 0
        for (const element of elements) {
          position = Math.max(position, element.position ?? 0)
          if (isSkipped(element)) hides ||= element.isDeferred
          else if (element.position !== undefined && element.position > end) continue
          else if (element.persistenceId.startsWith(prefix) && element.persistenceId.endsWith(suffix)) {
            ids.add(element.persistenceId.slice(prefix.length, -suffix.length))
          }
        }
        return position < end
      }))
    return { ids, hides }
  }).pipe(Effect.scoped)

const isIn = (heads: Offsets, { position, slice }: EncodedEnvelope): boolean =>
  (position ?? 0) <= (heads.get(slice)?.position ?? 0)

const compareAll = (
  entity: Entity<any, any>,
  pair: Pair,
  found: Found,
  limit: number,
  give: Give | undefined
): Effect.Effect<undefined, NotCompared | StorageError, Store> =>
  Effect.gen(function*(): Effect.fn.Return<undefined, any, any> {
    const { here, there } = pair
    const floors = yield* (yield* Journal).floors(entity.name, SliceRange.full)
    const isShown = ({ position, slice }: EncodedEnvelope) => (position ?? 0) > (floors.get(slice)?.position ?? 0)
    const hiding = new Set<Slice.Slice>()
    const compare = (id: string) => compareEntity(entity, pair, id, hiding, found, limit, give)
    // those that are here as well are compared with all of this one, once it is known which slices there hide something
    for (const slice of there.heads.keys()) {
      const { hides, ids } = yield* idsIn(there, entity.name, slice, true)
      if (hides) hiding.add(slice)
      yield* Effect.forEach(
        ids,
        (id) =>
          Effect.flatMap(
            // of what was pruned here, the newest event is left, and shown with its entity alone
            Stream.runHead(Stream.filter(here.entity(id), isShown)),
            (head) => head._tag === "Some" && isIn(here.heads, head.value) ? Effect.void : compare(id)
          ),
        { concurrency: atATime, discard: true }
      )
    }
    for (const slice of here.heads.keys()) {
      const { ids } = yield* idsIn(here, entity.name, slice, false)
      yield* Effect.forEach(ids, compare, { concurrency: atATime, discard: true })
    }
    return undefined
  }) as Effect.Effect<undefined, NotCompared | StorageError, Store>

const sliceOf = ({ name }: Entity<any, any>, id: string, replica: string): Slice.Slice =>
  Slice.ofPersistenceId(`${name}|${id}|${replica}`)

const sideOf = (entity: Entity<any, any>, id: string, reading: Reading, isWanted: Pair["isWanted"]) => {
  const side = new EntitySide(entity, id, reading.replica, isWanted)
  return Effect.as(
    Stream.runForEachArray(reading.entity(id), (events) => Effect.sync(() => side.take(events))),
    side
  )
}

const compareEntity = (
  entity: Entity<any, any>,
  pair: Pair,
  id: string,
  hiding: ReadonlySet<Slice.Slice>,
  found: Found,
  limit: number,
  give: Give | undefined
): Effect.Effect<void, any, any> =>
  Effect.gen(function*() {
    const { remote, self } = pair
    const [sliceHere, sliceThere] = [sliceOf(entity, id, self), sliceOf(entity, id, remote)]
    // in this order: what is there, and of here, was here before
    const there = yield* sideOf(entity, id, pair.there, pair.isWanted)
    const here = yield* sideOf(entity, id, pair.here, pair.isWantedThere)
    // a third one may be on Akka, which tells no times
    const { both, onlyHere, onlyThere, other } = compareSides(
      here,
      there,
      (origin) => origin === self || origin === remote
    )
    const byOriginHere = throughOrigin(entity, id, pair.waysHere)
    const byOriginThere = throughOrigin(entity, id, pair.waysThere)
    const judgeHere = (event: Unmatched): Effect.Effect<Judgement, any, any> => {
      const { index, origin, position } = event
      if (position > (pair.there.heads.get(sliceThere)?.position ?? 0)) return underWay
      if (origin === self) return isMissing
      return pair.takes(origin)
        ? judged(pair.own, sliceThere, position, index <= there.lastWanted)
        : byOriginHere(event)
    }
    const judgeThere = (event: Unmatched): Effect.Effect<Judgement, any, any> => {
      const { index, origin, position } = event
      if (position > (pair.here.heads.get(sliceHere)?.position ?? 0)) return underWay
      if (hiding.has(sliceThere)) return leftOut
      if (origin === remote) return isMissing
      return pair.gives(origin)
        ? judged(pair.theirs, sliceHere, position, index <= here.lastWanted)
        : byOriginThere(event)
    }
    const add = (difference: Difference) => {
      if (found.found++ < limit) found.differences.push(difference)
    }
    const missing = (events: ReadonlyArray<Unmatched>, judge: typeof judgeHere) =>
      Effect.filter(events, (event) =>
        Effect.map(judge(event), (judgement) => {
          if (judgement !== "missing") found[judgement]++
          return judgement === "missing"
        }))
    found.entities++
    found.events += both
    const [missingHere, missingThere] = [yield* missing(onlyThere, judgeHere), yield* missing(onlyHere, judgeThere)]
    const removed = removedOf(here, there, {
      all: { here: onlyThere.length, there: onlyHere.length },
      here: missingHere,
      there: missingThere,
      isWhole: !hiding.has(sliceThere)
    })
    const without = (missing: ReadonlyArray<Unmatched>, removed: ReadonlyArray<Unmatched>) => {
      found.pruned += removed.length
      const explained = new Set(removed)
      return missing.filter((event) => !explained.has(event))
    }
    const lacking = without(missingHere, removed.here)
    for (const events of byOrigin(id, lacking)) add({ _tag: "MissingHere", ...events })
    for (const events of byOrigin(id, without(missingThere, removed.there))) add({ _tag: "MissingThere", ...events })
    for (const events of byOrigin(id, other)) add({ _tag: "OtherEvents", ...events })
    const isExplained = onlyHere.length + onlyThere.length === removed.here.length + removed.there.length
    const isCounted = here.emptied + there.emptied + other.length === 0 && !hiding.has(sliceThere)
    if (isExplained && isCounted && here.total !== there.total) {
      add({ _tag: "OtherCount", id, here: here.total, there: there.total })
    }
    if (onlyHere.length + onlyThere.length + other.length === 0) {
      const [a, b] = [here.hash(), there.hash()]
      if (a !== undefined && b !== undefined) {
        found.states++
        if (a !== b) add({ _tag: "OtherState", id, here: a, there: b })
      }
    }
    if (give !== undefined && lacking.length > 0) {
      const wanted = new Set(lacking.map(({ number, origin }) => `${origin}#${number}`))
      const given = Stream.filter(
        pair.there.entity(id),
        ({ payload, replication, sequenceNumber }) =>
          payload !== undefined &&
          wanted.has(`${replication?.origin ?? remote}#${replication?.originSequenceNumber ?? sequenceNumber}`)
      )
      const refused = new Set<string>()
      yield* Stream.runForEach(given, (envelope) =>
        Effect.map(give(id, envelope), (problem) => {
          if (problem === undefined) return void found.repaired++
          const { replication, sequenceNumber } = envelope
          const { origin, originSequenceNumber: number } = replication ??
            { origin: remote, originSequenceNumber: sequenceNumber }
          if (refused.has(origin)) return
          refused.add(origin)
          if (found.notRepaired.length < limit) found.notRepaired.push({ id, origin, number, problem })
        }))
    }
  })

type Judgement = "missing" | "underWay" | "leftOut"

const underWay = Effect.succeed<Judgement>("underWay")
const leftOut = Effect.succeed<Judgement>("leftOut")
const isMissing = Effect.succeed<Judgement>("missing")

const judged = (
  progress: Way["progress"],
  slice: Slice.Slice,
  position: number,
  isWanted: boolean
): Effect.Effect<Judgement> => hasPassed(progress, slice, position) ? isWanted ? isMissing : leftOut : underWay

/**
 * Judges what a third replica has written, and a replica gets from there: by the place of the event in the journal there. What that has removed stands before what is left. What it
 * has lost comes from nowhere any more.
 */
const throughOrigin = (entity: Entity<any, any>, id: string, ways: ReadonlyMap<string, Way>) => {
  const sides = new Map<string, EntitySide<any, any>>()
  return ({ number, origin }: Unmatched): Effect.Effect<Judgement, any, any> =>
    Effect.gen(function*(): Effect.fn.Return<Judgement, any, any> {
      const way = ways.get(origin)
      if (way === undefined || way.isAway) return "underWay"
      const slice = sliceOf(entity, id, origin)
      const side = sides.get(origin) ?? (yield* sideOf(entity, id, way.reading, way.isWanted))
      sides.set(origin, side)
      const at = side.find(origin, number)
      const position = at?.position ?? (number <= side.removed ? side.firstPosition : undefined)
      if (position !== undefined) {
        return yield* judged(way.progress, slice, position, (at?.index ?? -1) <= side.lastWanted)
      }
      if (way.progress.incomplete.has(slice)) return "underWay"
      let hides = way.hides.get(slice)
      if (hides === undefined) {
        hides = (yield* idsIn(way.reading, entity.name, slice, true)).hides
        way.hides.set(slice, hides)
      }
      return hides ? "leftOut" : "missing"
    }).pipe(
      Effect.catchTag("NotCompared", () =>
        Effect.sync((): Judgement => {
          ways.get(origin)!.isAway = true
          return "underWay"
        }))
    )
}

const hasPassed = (
  { incomplete, offsets }: Pick<ReplicaProgress, "incomplete" | "offsets">,
  slice: Slice.Slice,
  position: number
): boolean => !incomplete.has(slice) && position <= (offsets.get(slice)?.position ?? 0)

const byOrigin = (id: string, events: ReadonlyArray<Unmatched>): ReadonlyArray<Events> =>
  Array.from(Map.groupBy(events, ({ origin }) => origin), ([origin, events]) => ({
    id,
    origin,
    count: events.length,
    numbers: events.slice(0, maxNumbers).map(({ number }) => number)
  }))
