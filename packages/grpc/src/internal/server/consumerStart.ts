import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import { parse } from "@sluice/core/PersistenceId"
import * as Slice from "@sluice/core/Slice"
import type { Start } from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import type { InitReq } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import type { Treatment } from "../wire/frames.ts"
import { integer } from "../wire/integer.ts"
import { fromSlicePositions, fromTimestampMessage, maxSeen } from "../wire/messages.ts"

/**
 * @internal
 * Where a stream begins for a consumer, and what becomes of each event from there on: it is sent, or skipped, as the consumer has
 * seen it, or repeated without its payload, in case the consumer has not.
 */
export interface ConsumerStart {
  readonly start: Start
  readonly treat: (envelope: EncodedEnvelope) => Treatment
}

/**
 * How far a stream for a consumer with one timestamp goes back, in microseconds. The timestamp is the latest that it has seen in any
 * slice; what was then on its way in another slice may be older, by as much as its writer's transaction was open, or the reader
 * of its slice was behind.
 */
const lookBack = 130_000_000

const sendAll = () => "send" as const

/**
 * A plain consumer keeps one timestamp for all slices, from which it goes on. It looks at what an event should have followed, and goes
 * on when that is deleted.
 */
const plain = (offsets: Offset.Offsets): Start => ({ journal: undefined, offsets, pastDeleted: true, byTime: true })

/** @internal Whether the beginning depends on what time it is. */
export const needsTime = ({ offset, sluice }: InitReq): boolean => sluice === undefined && offset.length > 0

/** Without what stands for the logs. Those of other ones stay what they are, and are refused as of another journal. */
const journalOf = (text: string, logs: string): string | undefined =>
  text === "" ? undefined : text.endsWith(logs) ? text.slice(0, text.length - logs.length) : text

/** @internal Throws at what is no offset. `logs` stands behind the identity of the journal where the consumer has offsets of these logs. */
export const consumerStartOf = (
  { offset, sluice }: InitReq,
  now: Timestamp.Timestamp,
  logs: string
): ConsumerStart => {
  if (sluice !== undefined) {
    if (sluice.positions.length > Slice.count) throw new RangeError(`${sluice.positions.length} positions`)
    // what a plain producer has sent, and is offered on, has one timestamp for all slices
    const [since] = sluice.positions.length === 0 ? offset : []
    if (since?.timestamp !== undefined) {
      const offsets = Offset.since(fromTimestampMessage(since.timestamp))
      return { start: { journal: undefined, offsets, pastDeleted: true }, treat: sendAll }
    }
    const offsets = fromSlicePositions(sluice.positions)
    const journal = journalOf(sluice.journal, logs)
    const { pastDeleted, placesOnly } = sluice
    return { start: { journal, offsets, pastDeleted, placesOnly }, treat: sendAll }
  }
  if (offset.length > Slice.count + 1) throw new RangeError(`${offset.length} offsets, more than there are slices`)
  // kept for as long as the stream is open
  const kept = offset.reduce((sum, { seen }) => sum + seen.length, 0)
  if (kept > maxSeen) throw new RangeError(`${kept} events that were seen, more than ${maxSeen}`)
  // of several for the same slice, or for all, the first counts
  const marks = new Map(
    offset.toReversed().map(({ seen, slice, timestamp }) => [slice === undefined ? undefined : Slice.make(slice), {
      timestamp: timestamp === undefined ? Timestamp.make(0) : fromTimestampMessage(timestamp),
      seen: new Map(seen.map(({ persistenceId, seqNr }) => [parse(persistenceId), integer(seqNr)]))
    }])
  )
  if (marks.size === 0) return { start: plain(Offset.none), treat: sendAll }
  const offsets = new Map<Slice.Slice, Offset.Offset>()
  for (const [slice, { timestamp }] of marks) if (slice !== undefined) offsets.set(slice, Offset.make(0, timestamp))
  if (offsets.size > 0) {
    return {
      // a slice without an offset is read from its beginning
      start: plain(offsets),
      treat: (envelope) => {
        const mark = marks.get(envelope.slice)
        if (mark === undefined || envelope.timestamp > mark.timestamp) return "send"
        return envelope.timestamp < mark.timestamp || isIn(mark.seen, envelope) ? "skip" : "send"
      }
    }
  }
  const { seen, timestamp } = marks.get(undefined)!
  return {
    start: plain(Offset.since(Timestamp.make(Math.max(0, Math.min(timestamp, now) - lookBack)))),
    treat: (envelope) => {
      if (envelope.timestamp > timestamp) return "send"
      if (envelope.timestamp < timestamp) return "repeat"
      return isIn(seen, envelope) ? "skip" : "send"
    }
  }
}

const isIn = (seen: ReadonlyMap<string, number>, { persistenceId, sequenceNumber }: EncodedEnvelope): boolean =>
  sequenceNumber <= (seen.get(persistenceId) ?? 0)
