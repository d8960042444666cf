import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { EncodedEnvelope } from "../../Envelope.ts"
import type { Rewound } from "../../ReadingState.ts"
import { make as sequenceNumber } from "../../SequenceNumber.ts"
import { EventWithheld } from "../../Source.ts"
import { make as timestamp, type Timestamp } from "../../Timestamp.ts"
import { deliver } from "./deliver.ts"
import { firstOf, inTime } from "./fetch.ts"
import type { Held } from "./HeldBack.ts"
import { lastBefore } from "./lastBefore.ts"
import { type Repairing, untilRead } from "./repairs.ts"
import { tellOfGone } from "./tellOfGone.ts"

/**
 * @internal
 * Gets the events that are missing before one of a source that has logs, from one number to another. It is asked for that event as well: a source
 * that does not show it any more may show all of them later, and then they are not gone. One that shows it has no others than those that it shows.
 */
export const fillOfLog = (
  self: Repairing,
  first: Held,
  from: number,
  to: number
): Effect.Effect<void, unknown, any> =>
  Effect.suspend(() => {
    const { persistenceId, slice } = first
    const rewound = self.reading.last(persistenceId) === undefined
      ? self.reading.rewound(persistenceId, slice)
      : undefined
    // nothing is known to be missing before that
    if (rewound !== undefined) return Semaphore.withPermit(self.calls, findLast(self, first, rewound))
    if (self.givenUp !== undefined && from < first.sequenceNumber) {
      return Effect.flatMap(
        Semaphore.withPermit(self.calls, goPastGivenUp(self, first, from, self.givenUp)),
        (from) => from > to ? untilRead(self, persistenceId, to) : fill(self, first, from, to)
      )
    }
    return fill(self, first, from, to)
  })

const fill = (self: Repairing, first: Held, from: number, to: number): Effect.Effect<void, unknown, any> => {
  const { calls, reading } = self
  const { persistenceId } = first
  const missing = from > 1 || first.sequenceNumber === 1 ? Effect.succeed(from) : findMissing(self, first)
  return Effect.flatMap(missing, (missing) => {
    if (missing > from) reading.complete({ persistenceId, sequenceNumber: sequenceNumber(missing) })
    return missing > to ? Effect.void : get(self, first, missing, to)
  }).pipe(Semaphore.withPermit(calls), Effect.andThen(untilRead(self, persistenceId, to)))
}

/**
 * Goes past what a change of the filter has given up of an entity, before an event of it. Returns the first number that is missing then.
 */
const goPastGivenUp = Effect.fnUntraced(function*(
  self: Repairing,
  first: Held,
  from: number,
  givenUp: Timestamp
): Effect.fn.Return<number, unknown, any> {
  const { handling: { projection: { source: { provider } } }, reading } = self
  const { persistenceId, sequenceNumber: number } = first
  // in most cases all or nothing of it is as old
  const oldest = yield* firstOf(provider, persistenceId, from)
  if (oldest !== undefined && oldest.timestamp >= givenUp) return from
  const last = yield* lastBefore(provider, persistenceId, number - 1, ({ timestamp }) => timestamp < givenUp)
  if (last < from) return from
  reading.complete({ persistenceId, sequenceNumber: sequenceNumber(last + 1) })
  return last + 1
})

/** Finds out up to which number the events of an entity were handled that a rewind does not have come again. */
const findLast = (
  { handling: { projection: { source: { provider } } }, reading }: Repairing,
  { persistenceId, sequenceNumber: number }: Held,
  { last, since }: Rewound
): Effect.Effect<void, unknown, any> =>
  Effect.map(
    lastBefore(provider, persistenceId, Math.min(last, number - 1), ({ timestamp }) => timestamp < since),
    (found) => reading.complete({ persistenceId, sequenceNumber: sequenceNumber(found + 1) })
  )

/** So many events of an entity are rather read again than asked for which of them were not read yet. */
const few = 200

/**
 * From which number on the events before the first one that was read of an entity are missing: what was read in exact mode is not, and it may be a long past.
 * It is that event's own number where its predecessor shows that nothing is.
 */
const findMissing = Effect.fnUntraced(function*(
  self: Repairing,
  first: Held
): Effect.fn.Return<number, unknown, any> {
  const { handling: { projection: { source: { provider } } }, reading } = self
  const { persistenceId, sequenceNumber: number, slice } = first
  // where nothing was read before its slice left something out, no predecessor proves anything
  if (reading.completeUpTo(slice) === 0) return 1
  // one that is not there is gone, or is hidden
  const predecessor = (yield* firstOf(provider, persistenceId, number - 1)) ??
    (yield* Stream.runCollect(shown(self, first, number - 1)))[0]
  // whether those that are gone were read is told by when they were deleted
  if (predecessor === undefined) return 1
  if (reading.proves(slice, predecessor)) return number
  if (number <= few) return 1
  const oldest = yield* firstOf(provider, persistenceId, 1)
  const wasRead = (event: EncodedEnvelope) => reading.proves(slice, event)
  if (oldest !== undefined && !wasRead(oldest)) return 1
  return (yield* lastBefore(provider, persistenceId, number - 2, wasRead)) + 1
})

const get = (self: Repairing, first: Held, from: number, to: number): Effect.Effect<void, unknown, any> => {
  const { givenUp, handling: { projection: { source: { provider } } }, reading } = self
  const { persistenceId, slice } = first
  // it is forgotten once later events are stored
  const rewound = reading.rewound(persistenceId, slice)
  const settled = timestamp(Math.max(givenUp ?? 0, reading.completeBefore(slice)))
  let lastGivenUp = 0
  const goPast = Effect.fnUntraced(function*(from: number, to: number) {
    yield* untilRead(self, persistenceId, from - 1)
    yield* tellOfGone(provider, first, from, to, { lastGivenUp, rewound, settled })
    reading.complete({ persistenceId, sequenceNumber: sequenceNumber(to) })
  })
  const events = Stream.filter(shown(self, first, from), ({ sequenceNumber, timestamp }) => {
    const isGivenUp = givenUp !== undefined && timestamp < givenUp
    if (isGivenUp) lastGivenUp = sequenceNumber
    return sequenceNumber <= to && !isGivenUp
  })
  return deliver(self, persistenceId, from, to, events, goPast)
}

/** The events of an entity from a number on that the source still has, up to one that it has shown. Fails at the end if it does not show that any more. */
const shown = (
  { handling: { projection: { source: { provider } } } }: Repairing,
  { _tag, persistenceId, sequenceNumber: number }: Held,
  from: number
): Stream.Stream<EncodedEnvelope, unknown, any> => {
  let isShown = false
  return inTime(provider, provider.entity(persistenceId, sequenceNumber(from), number)).pipe(
    Stream.filter(({ payload, sequenceNumber }) => {
      // of an event that is hidden from now on, a source may show the place
      isShown ||= sequenceNumber === number && (payload !== undefined || _tag !== "Envelope")
      return sequenceNumber < number || _tag === "Reminder"
    }),
    Stream.concat(
      Stream.suspend(() =>
        isShown ? Stream.empty : Stream.fail(new EventWithheld({ source: provider.key, persistenceId, number }))
      )
    )
  )
}
