import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Element, EncodedEnvelope } from "../../Envelope.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import { make as sequenceNumber, type SequenceNumber } from "../../SequenceNumber.ts"
import { EntityNotServed, type Feed, GapNotFilled } from "../../Source.ts"
import { compile } from "../pipeline/compile.ts"
import { loadEntities } from "./entities.ts"
import { fetch, inTime, orTimeout, patience } from "./fetch.ts"
import type { Handling } from "./handling.ts"
import { type Entity, type Held, type HeldBack, lastMissing } from "./HeldBack.ts"
import type { TimestampReading } from "./TimestampReading.ts"

/** How many entities wait for an answer at once, and how many calls are made at once. */
const concurrency = 100
const maxCalls = 8

/** How often in a row a repair may fail before the worker begins anew. */
const maxFailures = 5
const initialWait = 1_000

/** After how long, in milliseconds, all copies of a source have an event. */
const copied = 60_000

/** @internal What repairs need of a worker. */
export interface Options {
  readonly handling: Handling
  readonly reading: TimestampReading
  readonly replay: Feed<unknown>["replay"]
  /** Has elements judged, after those that were read before. */
  readonly offer: (chunk: ReadonlyArray<Element<any>>) => Effect.Effect<void>
  /** Ends the incarnation. */
  readonly fail: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
}

interface Repairing extends Options {
  readonly calls: Semaphore.Semaphore
}

/** @internal Gets what is missing before events that wait, while others are handled. */
export interface Repairs {
  readonly held: HeldBack
  /** Holds an event back until nothing is missing before it, and it is loaded. */
  readonly hold: (element: Held) => Effect.Effect<void, never, any>
}

/** @internal Repairs end with the scope. */
export const makeRepairs = (options: Options): Effect.Effect<Repairs, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope): Repairs => {
    const { held } = options.reading
    const semaphore = Semaphore.makeUnsafe(concurrency)
    const self = { ...options, calls: Semaphore.makeUnsafe(maxCalls) }
    const repairing = (entity: Entity) =>
      Semaphore.withPermit(semaphore, repair(self, entity)).pipe(
        Effect.catchCause((cause) => Cause.hasInterruptsOnly(cause) ? Effect.void : options.fail(cause))
      )
    return {
      held,
      hold: (element) =>
        Effect.suspend(() => {
          const entity = held.hold(element)
          return entity === undefined ? Effect.void : Effect.asVoid(Effect.forkIn(repairing(entity), scope))
        })
    }
  })

/** @internal Ends when fewer entities wait. */
export const room = (held: HeldBack): Effect.Effect<void> =>
  Effect.suspend(() => held.isFull ? Effect.andThen(change(held), room(held)) : Effect.void)

const change = (held: HeldBack): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const stop = held.listen(() => {
      stop()
      resume(Effect.void)
    })
    return Effect.sync(stop)
  })

/** Tries until no event of the entity waits any more, or it has failed too often in a row. */
const repair = Effect.fnUntraced(function*(
  self: Repairing,
  entity: Entity
): Effect.fn.Return<void, unknown, any> {
  const { handling: { memory, projection: { source } }, reading } = self
  const { persistenceId } = entity
  let failures = 0
  let begun = 0
  while (true) {
    const first = reading.held.first(persistenceId, entity)
    if (first === undefined) return
    yield* loadEntities(self.handling, reading, reading.unknown([first]))
    const from = reading.missingFrom(persistenceId)
    const to = lastMissing(first)
    if (from > begun) failures = 0
    begun = from
    const exit = yield* Effect.exit(from > to ? judgeAgain(self, first) : fill(self, first, from, to))
    if (exit._tag === "Success") continue
    if (++failures > maxFailures) {
      const cause = Cause.squash(exit.cause)
      const { provider: { key } } = source
      const missing = reading.missingFrom(persistenceId)
      return yield* memory.ofSource(
        Effect.fail(new GapNotFilled({ source: key, persistenceId, from: missing, to: sequenceNumber(to), cause }))
      )
    }
    const wait = initialWait * 2 ** (failures - 1)
    yield* Effect.logWarning(
      `Events ${from} to ${to} of '${persistenceId}' are missing, and have not come. Asks for them again in ${wait} ms`,
      exit.cause
    )
    yield* Effect.sleep(wait)
  }
})

/** Nothing is missing before the event: it is judged once more, and does not wait then. */
const judgeAgain = (self: Repairing, first: Held): Effect.Effect<void> => {
  const { held } = self.reading
  const untilTaken: Effect.Effect<void> = Effect.suspend(() =>
    held.first(first.persistenceId) === first ? Effect.andThen(change(held), untilTaken) : Effect.void
  )
  return Effect.andThen(self.offer([first]), untilTaken)
}

/** Waits until the events up to a number were accepted, or none of the entity waits. */
const untilRead = (self: Repairing, persistenceId: PersistenceId, last: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { reading } = self
    return reading.held.has(persistenceId) && (reading.last(persistenceId) ?? Infinity) < last
      ? Effect.andThen(change(reading.held), untilRead(self, persistenceId, last))
      : Effect.void
  })

/** Gets the events that are missing before one, from one number to another. */
const fill = (self: Repairing, first: Held, from: number, to: number): Effect.Effect<void, unknown, any> => {
  const { persistenceId, sequenceNumber: number, slice } = first
  const together = get(self, persistenceId, from, to).pipe(
    Effect.catchIf((error) => error instanceof EntityNotServed, () => getOtherwise(self, persistenceId, from, to))
  )
  if (from > 1 || number === 1) return together
  return Effect.flatMap(
    writtenBefore(self, first),
    (timestamp) => {
      if (timestamp !== undefined && !self.reading.isBefore(slice, timestamp)) return together
      const complete = Effect.sync(() => self.reading.complete(first))
      return timestamp === undefined ? Effect.andThen(logLost(persistenceId, 1, number), complete) : complete
    }
  )
}

/** When the event before one was written. If there is none before one that is new, that may not have come to all copies of the source yet. */
const writtenBefore = (self: Repairing, { persistenceId, sequenceNumber, timestamp }: Held) => {
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
  { handling: { projection: { source: { provider } } } }: Repairing,
  persistenceId: PersistenceId,
  number: number
): Effect.Effect<number | undefined, unknown, any> => {
  const place = { persistenceId, sequenceNumber: sequenceNumber(number) }
  return provider.written === undefined
    ? Effect.map(fetch(provider, place), (found) => Option.getOrUndefined(found)?.timestamp)
    : orTimeout(provider, provider.written(place.persistenceId, place.sequenceNumber))
}

/** Gets events of an entity in one request. */
const get = (
  self: Repairing,
  persistenceId: PersistenceId,
  from: number,
  to: number
): Effect.Effect<void, unknown, any> => {
  const { provider } = self.handling.projection.source
  let next = from
  return inTime(provider, provider.entity(persistenceId, sequenceNumber(from), sequenceNumber(to))).pipe(
    Stream.runForEachArray((chunk) =>
      Effect.map(deliver(self, persistenceId, next, chunk), (after) => {
        next = after
      })
    ),
    Effect.andThen(Effect.suspend(() => next > to ? Effect.void : goPast(self, persistenceId, next, to + 1))),
    Semaphore.withPermit(self.calls),
    Effect.andThen(untilRead(self, persistenceId, to))
  )
}

/** The source does not serve the events of an entity together. It has them come with the stream, or one by one. */
const getOtherwise = (
  self: Repairing,
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
  self: Repairing,
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
const whileProgress = (self: Repairing, persistenceId: PersistenceId, last: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { reading } = self
    const before = reading.last(persistenceId) ?? 0
    if (before >= last) return Effect.void
    return Effect.flatMap(
      Effect.timeoutOption(untilRead(self, persistenceId, before + 1), patience),
      (progress) => Option.isSome(progress) ? whileProgress(self, persistenceId, last) : Effect.void
    )
  })

/** Has events judged, of which one is expected next, and returns what is expected then. */
const deliver = Effect.fnUntraced(function*(
  self: Repairing,
  persistenceId: PersistenceId,
  expected: number,
  chunk: Arr.NonEmptyReadonlyArray<EncodedEnvelope>
): Effect.fn.Return<number, unknown, any> {
  const { source } = self.handling.projection
  let next = expected
  let events: Array<EncodedEnvelope> = []
  const pass = Effect.suspend(() => {
    if (events.length === 0) return Effect.void
    const passed = events as unknown as Arr.NonEmptyArray<EncodedEnvelope>
    events = []
    return Effect.flatMap(compile<any, any>(source.provider.codec, source.stages)(passed), self.offer)
  })
  for (const event of chunk) {
    if (event.persistenceId !== persistenceId || event.sequenceNumber < next) continue
    if (event.sequenceNumber > next) {
      yield* pass
      yield* goPast(self, persistenceId, next, event.sequenceNumber)
    }
    events.push(event)
    next = event.sequenceNumber + 1
  }
  yield* pass
  return next
})

/** Goes past events that the source does not have any more, up to another one. One that it still has must not be gone past. */
const goPast = Effect.fnUntraced(function*(
  self: Repairing,
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
