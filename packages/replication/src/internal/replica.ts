import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Schema from "effect/Schema"
import * as VersionVector from "../VersionVector.ts"
import { EntityVector } from "./vectors.ts"

/** @internal The last event of an origin that is stored here: its number in the journal there, and its time. */
export interface Last {
  readonly number: SequenceNumber.SequenceNumber
  readonly time: Timestamp.Timestamp
}

/**
 * @internal
 * What a replica knows of the events of an entity: which of each origin it has stored, which those had seen, and the latest time of any. Pure, as all of this file is.
 *
 * The two vectors differ. An event of `us` may have seen an event of `ap` that is still on its way here: then the version has it, and `seen` has not, so that it
 * is stored when it comes.
 */
export interface Known {
  readonly version: VersionVector.VersionVector
  /** The last event of each other replica. */
  readonly seen: ReadonlyMap<string, Last>
  readonly time: Timestamp.Timestamp
}

/** @internal */
export const nothing: Known = { version: VersionVector.empty, seen: new Map(), time: Timestamp.make(0) }

/**
 * @internal
 * What becomes of an event that arrives.
 *
 * - `Own`: it was written here.
 * - `Duplicate`: it, or a later one of its origin, is stored already. Each way brings the events of an origin in their order, without leaving one out; those
 *   of one origin need not be numbered without gaps, as the numbers are those of its journal, where those of others stand in between.
 * - `HistoryForked`: its number and its time do not go with those of the last one of its origin that is stored, as both rise together. The origin has given numbers
 *   again, as after a restored backup: the event is another one than that which has this number here.
 * - `UnknownReplica`: its origin was never configured.
 * - `EventsLost`: it has seen a later event of this replica than the last one that was written here: the journal is older than it was, as after a restored backup. How many events there are
 *   tells nothing of that, as those of others come again and take the numbers of the lost ones.
 * - `Invalid`: it says of itself what no replica writes, and what the entity could not go on from.
 * - `ArrivalsLost`: the event of its origin that came before it was stored here, and is not any more.
 * - `Stored`: it is to be stored, see {@link received}.
 */
export type Arrival =
  | { readonly _tag: "Own" }
  | { readonly _tag: "Duplicate" }
  | { readonly _tag: "UnknownReplica" }
  | { readonly _tag: "EventsLost"; readonly seen: number; readonly last: number }
  | { readonly _tag: "HistoryForked"; readonly last: Last }
  | { readonly _tag: "Invalid"; readonly problem: string }
  | { readonly _tag: "ArrivalsLost"; readonly last: number }
  | { readonly _tag: "Stored" }

/** In the year 2112. A time near the end of all numbers would leave none for the events that follow. */
const latest = 2 ** 52

/** How many replicas the events of an entity may have seen, those counted that are no more: all that are written later name them again. */
const mostReplicas = 1_000

const problemOf = (
  known: VersionVector.VersionVector,
  version: VersionVector.VersionVector,
  time: Timestamp.Timestamp | undefined
): string | undefined => {
  if (time !== undefined && time > latest) return `its time is ${time}, which is after the year 2100`
  let replicas = known.size
  for (const replica of version.keys()) if (!known.has(replica)) replicas++
  return replicas > mostReplicas ? `it would be the first to have seen more than ${mostReplicas} replicas` : undefined
}

/**
 * @internal
 * What becomes of an event that arrives. As none is taken that has seen more of this replica than was written here, its own number in the version is that of the last event that was.
 *
 * The times of a relayed event are not compared. Where the origin says none, as Akka does not, it has the time when it came to the replica that relays it, and another one on
 * another way. Nothing is missed by that: what is stored here had come directly from its origin to some replica, which compares.
 */
export const arrive = (
  { seen, version: known }: Known,
  replica: { readonly self: string; readonly replicas: ReadonlySet<string> },
  { origin, originSequenceNumber, time, version }: ReplicationMetadata,
  isRelayed: boolean,
  /** The number of the event of its origin that whoever gives it knows to be stored, as it came before. */
  previous = 0
): Arrival => {
  const { replicas, self } = replica
  const written = known.get(self) ?? 0
  const ofHere = origin === self ? originSequenceNumber : version.get(self) ?? 0
  if (ofHere > written) return { _tag: "EventsLost", seen: ofHere, last: written }
  if (origin === self) return { _tag: "Own" }
  if (!replicas.has(origin)) return { _tag: "UnknownReplica" }
  const problem = problemOf(known, version, time)
  if (problem !== undefined) return { _tag: "Invalid", problem }
  const last = seen.get(origin)
  if (previous > (last?.number ?? 0)) return { _tag: "ArrivalsLost", last: last?.number ?? 0 }
  if (last === undefined) return { _tag: "Stored" }
  const isNew = originSequenceNumber > last.number
  if (!isRelayed && time !== undefined) {
    const isOfHere = isNew
      ? time > last.time
      : originSequenceNumber === last.number
      ? time === last.time
      : time < last.time
    if (!isOfHere) return { _tag: "HistoryForked", last }
  }
  return { _tag: isNew ? "Stored" : "Duplicate" }
}

/**
 * @internal
 * What is stored with an event that has arrived. Its version stays that of its origin, so that whoever it is passed on to learns what it had seen, and not what is known here besides.
 */
export const received = (known: Known, event: ReplicationMetadata, now: Timestamp.Timestamp): ReplicationMetadata => ({
  origin: event.origin,
  originSequenceNumber: event.originSequenceNumber,
  version: event.version,
  concurrent: VersionVector.compare(event.version, known.version) === "concurrent",
  time: event.time ?? nextTime(known, now)
})

/** @internal A time by the clock that is later than that of every event that is known. */
export const nextTime = ({ time }: Known, now: Timestamp.Timestamp): Timestamp.Timestamp =>
  Timestamp.make(Math.max(now, time + 1))

/** @internal What is stored with an event that is decided here. */
export const written = (
  known: Known,
  self: string,
  sequenceNumber: SequenceNumber.SequenceNumber,
  now: Timestamp.Timestamp
): ReplicationMetadata => ({
  origin: self,
  originSequenceNumber: sequenceNumber,
  version: VersionVector.written(known.version, self, sequenceNumber),
  concurrent: false,
  time: nextTime(known, now)
})

/** @internal Where an event comes from that was stored before the entity was replicated: from here. */
export const migrated = (
  self: string,
  sequenceNumber: SequenceNumber.SequenceNumber,
  timestamp: Timestamp.Timestamp
): ReplicationMetadata => ({
  origin: self,
  originSequenceNumber: sequenceNumber,
  version: new Map([[self, sequenceNumber]]),
  concurrent: false,
  time: timestamp
})

/** @internal What is known once an event is stored here. */
export const after = (
  { seen, time, version }: Known,
  self: string,
  event: ReplicationMetadata
): Known => {
  const { origin, originSequenceNumber: number } = event
  const at = event.time ?? Timestamp.make(0)
  return {
    version: VersionVector.merge(version, event.version),
    seen: origin === self ? seen : new Map(seen).set(origin, { number, time: at }),
    time: Timestamp.make(Math.max(time, at))
  }
}

const Stored = Schema.fromJsonString(
  Schema.Struct({
    version: EntityVector,
    seen: Schema.Array(Schema.Tuple([Schema.String, SequenceNumber.SequenceNumber, Timestamp.Timestamp])),
    time: Timestamp.Timestamp
  })
)
const decodeStored = Schema.decodeUnknownSync(Stored)
const encodeStored = Schema.encodeSync(Stored)

/** @internal As a text, for the metadata of a snapshot. */
export const encode = ({ seen, time, version }: Known): string =>
  encodeStored({
    version,
    seen: Array.from(seen, ([origin, { number, time }]) => [origin, number, time]),
    time
  })

/** @internal Throws where it is none. */
export const decode = (text: string): Known => {
  const { seen, time, version } = decodeStored(text)
  return {
    version,
    seen: new Map(seen.map(([origin, number, time]) => [origin, { number, time }])),
    time
  }
}
