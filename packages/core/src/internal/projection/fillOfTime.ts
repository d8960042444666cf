import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import type { PersistenceId } from "../../PersistenceId.ts"
import { make as sequenceNumber, type SequenceNumber } from "../../SequenceNumber.ts"
import { EntityNotServed, type Feed } from "../../Source.ts"
import type { Timestamp } from "../../Timestamp.ts"
import { deliver } from "./deliver.ts"
import { firstOf, inTime, orTimeout, patience } from "./fetch.ts"
import type { Held } from "./HeldBack.ts"
import { type Repairing, untilRead } from "./repairs.ts"
import type { TimestampReading } from "./TimestampReading.ts"

/** After how long, in milliseconds, all copies of a source have an event, and how long to wait for that at first. */
const copied = 60_000
const initialWait = 1_000

/** What is asked of a source without positions. */
interface Asking extends Repairing {
  readonly reading: TimestampReading
  readonly replay: Feed<unknown>["replay"]
}

/**
 * @internal
 * Gets the events that are missing before one of a source without positions, from one number to another: in one request, or with the stream, or one by
 * one. What it does not show is gone only if it says so.
 */
export const fillOfTime =
  (reading: TimestampReading, replay: Feed<unknown>["replay"]) =>
  (repairing: Repairing, first: Held, from: number, to: number): Effect.Effect<void, unknown, any> =>
    fill({ ...repairing, reading, replay }, first, from, to)

const fill = (self: Asking, first: Held, from: number, to: number): Effect.Effect<void, unknown, any> => {
  const { persistenceId, sequenceNumber: number, slice } = first
  const together = get(self, persistenceId, from, to).pipe(
    Effect.catchIf((error) => error instanceof EntityNotServed, () => getOtherwise(self, persistenceId, from, to))
  )
  if (from > 1 || number === 1) return together
  return Effect.flatMap(
    writtenBefore(self, first),
    (timestamp) => {
      const predecessor = timestamp === undefined ? undefined : { position: undefined, timestamp }
      if (!self.reading.proves(slice, predecessor)) return together
      const complete = Effect.sync(() => self.reading.complete(first))
      return timestamp === undefined ? Effect.andThen(logLost(persistenceId, 1, number), complete) : complete
    }
  )
}

/** When the event before one was written. If there is none before one that is new, that may not have come to all copies of the source yet. */
const writtenBefore = (self: Asking, { persistenceId, sequenceNumber, timestamp }: Held) => {
  const ask = written(self, persistenceId, sequenceNumber - 1)
  return Effect.flatMap(
    Effect.all([ask, Clock.currentTimeMillis]),
    ([found, now]) =>
      found !== undefined || Math.abs(now - timestamp / 1_000) > copied
        ? Effect.succeed(found)
        : Effect.delay(ask, initialWait)
  )
}

const logLost = (persistenceId: PersistenceId, from: number, next: number): Effect.Effect<void> =>
  Effect.logWarning(
    `The source says that it does not have events ${from} to ${next - 1} of '${persistenceId}', which have not come. ` +
      `They are not handled. Goes on with event ${next}`
  )

/** When an event was written; undefined if there is none. */
const written = (
  { handling: { projection: { source: { provider } } } }: Asking,
  persistenceId: PersistenceId,
  number: number
): Effect.Effect<Timestamp | undefined, unknown, any> => {
  return provider.written === undefined
    ? Effect.map(firstOf(provider, persistenceId, number), (found) => found?.timestamp)
    : orTimeout(provider, provider.written(persistenceId, sequenceNumber(number)))
}

/** Gets events of an entity in one request. */
const get = (
  self: Asking,
  persistenceId: PersistenceId,
  from: number,
  to: number
): Effect.Effect<void, unknown, any> => {
  const { provider } = self.handling.projection.source
  const events = inTime(provider, provider.entity(persistenceId, sequenceNumber(from), sequenceNumber(to)))
  return deliver(self, persistenceId, from, to, events, (from, to) => goPast(self, persistenceId, from, to)).pipe(
    Semaphore.withPermit(self.calls),
    Effect.andThen(untilRead(self, persistenceId, to))
  )
}

/** The source does not serve the events of an entity together. It has them come with the stream, or one by one. */
const getOtherwise = (
  self: Asking,
  persistenceId: PersistenceId,
  from: number,
  to: number
): Effect.Effect<void, unknown, any> => {
  const byOne = Effect.suspend(() => getByOne(self, persistenceId, self.reading.missingFrom(persistenceId), to))
  if (self.replay === undefined) return byOne
  self.reading.runsAhead(persistenceId)
  return Effect.flatMap(
    self.replay({ persistenceId, from: sequenceNumber(from) }),
    (isAsked) => isAsked ? Effect.andThen(whileProgress(self, persistenceId, to), byOne) : byOne
  )
}

const getByOne = Effect.fnUntraced(function*(
  self: Asking,
  persistenceId: PersistenceId,
  from: SequenceNumber,
  to: number
): Effect.fn.Return<void, unknown, any> {
  for (let n = from as number; n <= to; n++) {
    // the stream may have brought it meanwhile
    if ((self.reading.last(persistenceId) ?? 0) < n) yield* get(self, persistenceId, n, n)
  }
})

/** Waits until the events up to a number were accepted, or none is for a while. */
const whileProgress = (self: Asking, persistenceId: PersistenceId, last: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { reading } = self
    const before = reading.last(persistenceId) ?? 0
    if (before >= last) return Effect.void
    return Effect.flatMap(
      Effect.timeoutOption(untilRead(self, persistenceId, before + 1), patience),
      (progress) => Option.isSome(progress) ? whileProgress(self, persistenceId, last) : Effect.void
    )
  })

/** Goes past events that the source does not have any more, up to another one. One that it still has must not be gone past. */
const goPast = Effect.fnUntraced(function*(
  self: Asking,
  persistenceId: PersistenceId,
  from: number,
  to: number
): Effect.fn.Return<void, unknown, any> {
  if ((yield* written(self, persistenceId, to - 1)) !== undefined) return yield* Effect.fail(new NotShown(from, to - 1))
  yield* untilRead(self, persistenceId, from - 1)
  yield* logLost(persistenceId, from, to)
  self.reading.complete({ persistenceId, sequenceNumber: sequenceNumber(to) })
})

/** The source has the last of the events, and has not shown it. */
class NotShown extends Error {
  readonly _tag = "NotShown"
  constructor(from: number, to: number) {
    super(`the source has event ${to}, and has not shown events ${from} to ${to}`)
  }
}
