import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Element, EncodedEnvelope } from "../../Envelope.ts"
import type { PastGivenUp } from "../../GivenUp.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { Reading } from "../../ReadingState.ts"
import { make as sequenceNumber } from "../../SequenceNumber.ts"
import type { Slice } from "../../Slice.ts"
import { EventWithheld, GapNotFilled } from "../../Source.ts"
import type { StorageError } from "../../StorageError.ts"
import type { Timestamp } from "../../Timestamp.ts"
import { loadEntities } from "./entities.ts"
import { errorOf, isFinal } from "./failures.ts"
import { firstOf, inTime } from "./fetch.ts"
import type { Handling } from "./handling.ts"
import { type Entity, type Held, type HeldBack, lastMissing } from "./HeldBack.ts"

/** How many entities wait for an answer at once, and how many calls are made at once. */
const concurrency = 100
const maxCalls = 8

/** How often in a row a repair may fail before the worker begins anew. */
const maxFailures = 5
const initialWait = 1_000

/** @internal What repairs need of a worker. */
export interface Options {
  readonly handling: Handling
  readonly reading: Reading
  readonly held: HeldBack
  readonly givenUp: PastGivenUp
  /** Of a slice whose past is looked through, up to which position, and which of its events come then, unless they have come, and all before them of their entity. */
  readonly toCome: (
    slice: Slice
  ) => { readonly upTo: number; readonly has: (event: EncodedEnvelope) => boolean } | undefined
  /** Gets the events that are missing before one, from one number to another, and has them judged. */
  readonly fill: (self: Repairing, first: Held, from: number, to: number) => Effect.Effect<void, unknown, any>
  /** Has elements judged, after those that were read before. */
  readonly offer: (chunk: ReadonlyArray<Element<any>>) => Effect.Effect<void>
  /** Ends the incarnation. */
  readonly fail: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
}

/** @internal What a repair is made with. */
export interface Repairing extends Omit<Options, "givenUp" | "toCome"> {
  readonly calls: Semaphore.Semaphore
  /** Events are decoded for one entity after the other, as the worker comes to them; for several at once where that is an effect of the user's. */
  readonly decoding: Semaphore.Semaphore
  /** The events of the entity that are older than this are given up, as the event says that waits first; undefined if none are. */
  readonly givenUp: Timestamp | undefined
}

/** @internal Gets what is missing before events that wait, while others are handled. */
export interface Repairs {
  /** Holds an event back until nothing is missing before it, and it is loaded. */
  readonly hold: (element: Held) => Effect.Effect<void, never, any>
}

/** @internal Repairs end with the scope. */
export const makeRepairs = (options: Options): Effect.Effect<Repairs, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope): Repairs => {
    const semaphore = Semaphore.makeUnsafe(concurrency)
    const { stages } = options.handling.projection.source
    // one of several entities is soon decoded; but where that is an effect of the user's, one that hangs is not to stop the others
    const decoders = stages.some(({ _tag }) => _tag === "Effect") ? maxCalls : 1
    const shared = { ...options, calls: Semaphore.makeUnsafe(maxCalls), decoding: Semaphore.makeUnsafe(decoders) }
    const repairing = (entity: Entity) =>
      Semaphore.withPermit(semaphore, repair(shared, entity)).pipe(
        Effect.catchCause((cause) => Cause.hasInterruptsOnly(cause) ? Effect.void : options.fail(cause))
      )
    return {
      hold: (element) =>
        Effect.suspend(() => {
          const entity = options.held.hold(element)
          return entity === undefined
            ? Effect.void
            : Effect.asVoid(Effect.forkIn(repairing(entity), scope))
        })
    }
  })

/** @internal Ends when fewer entities wait. */
export const room = (held: HeldBack): Effect.Effect<void> => until(held, undefined, () => !held.isFull)

/** @internal Ends when a condition holds, that only elements of an entity change, or of none, entities that wait no more. */
const until = (
  held: HeldBack,
  persistenceId: PersistenceId | undefined,
  holds: () => boolean
): Effect.Effect<void> =>
  Effect.suspend(() =>
    holds() ? Effect.void : Effect.callback<void>((resume) => {
      const stop = held.listen(persistenceId, () => {
        if (!holds()) return
        stop()
        resume(Effect.void)
      })
      return Effect.sync(stop)
    })
  )

/** Tries until no event of the entity waits any more, or it has failed too often in a row. */
const repair = Effect.fnUntraced(function*(
  self: Omit<Repairing, "givenUp"> & Options,
  entity: Entity
): Effect.fn.Return<void, unknown, any> {
  const { fill, handling: { memory, projection: { source } }, held, reading } = self
  const { persistenceId } = entity
  let failures = 0
  let begun = 0
  while (true) {
    const first = held.first(persistenceId, entity)
    if (first === undefined) return
    yield* loadEntities(self.handling, reading, reading.unknown([first]))
    const from = reading.missingFrom(persistenceId)
    const to = lastMissing(first)
    if (from > begun) failures = 0
    begun = from
    const filling = Effect.flatMap(
      Semaphore.withPermit(self.calls, givenUpBefore(self, first, from)),
      (givenUp) => fill({ ...self, givenUp }, first, from, to)
    )
    const exit = yield* Effect.exit(from > to ? judgeAgain(self, first) : filling)
    if (exit._tag === "Success") continue
    if (isHopeless(exit.cause)) return yield* memory.ofSource(exit)
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

/**
 * Up to when the events are given up that are missing of an entity before an event, from a number on. None are where some of the entity has come since, or is
 * going to, by looking through the past: all of it comes then, whichever of the two is first, as a handler sees no entity with gaps.
 */
const givenUpBefore = Effect.fnUntraced(function*(
  { givenUp, handling, reading, toCome }: Pick<Options, "givenUp" | "handling" | "reading" | "toCome">,
  first: Held,
  from: number
): Effect.fn.Return<Timestamp | undefined, unknown, any> {
  if (givenUp.isEmpty) return undefined
  const { provider } = handling.projection.source
  const { persistenceId, sequenceNumber: number, slice } = first
  // a reminder has no tags
  const shown = first._tag === "Reminder" ? (yield* firstOf(provider, persistenceId, number)) ?? first : first
  const until = givenUp.until(shown)
  if (until === undefined || (yield* hasComeSince(handling, reading, persistenceId))) return undefined
  const past = toCome(slice)
  if (past === undefined) return until
  const missing = inTime(provider, provider.entity(persistenceId, sequenceNumber(from), sequenceNumber(number - 1)))
  const coming = yield* missing.pipe(
    Stream.takeWhile(({ position = Infinity }) => position <= past.upTo),
    Stream.filter(past.has),
    Stream.runHead
  )
  return Option.isNone(coming) ? until : undefined
})

/** @internal Whether an event of an entity was accepted since the filter was changed last, or its projection rewound. */
export const hasComeSince = (
  { basis, key, store }: Pick<Handling, "basis" | "key" | "store">,
  reading: Reading,
  persistenceId: PersistenceId
): Effect.Effect<boolean, StorageError> =>
  Effect.map(store.sequenceNumbers(key, [persistenceId]), (found) => {
    const stored = found.get(persistenceId)
    return stored?.revision === basis.revision || (reading.last(persistenceId) ?? 0) > (stored?.sequenceNumber ?? 0)
  })

/** Asking again does not help. A source that does not show an event any more is opened again, which says what has become of it. */
const isHopeless = (cause: Cause.Cause<unknown>): boolean => {
  const error = errorOf(cause)
  return error instanceof EventWithheld || isFinal(error)
}

/** Nothing is missing before the event: it is judged once more, and does not wait then. */
const judgeAgain = ({ held, offer }: Pick<Repairing, "held" | "offer">, first: Held): Effect.Effect<void> =>
  Effect.andThen(
    offer([first]),
    until(held, first.persistenceId, () => held.first(first.persistenceId) !== first)
  )

/** @internal Waits until the events up to a number were accepted, or none of the entity waits. */
export const untilRead = (
  { held, reading }: Repairing,
  persistenceId: PersistenceId,
  last: number
): Effect.Effect<void> =>
  until(
    held,
    persistenceId,
    () => !held.has(persistenceId) || (reading.last(persistenceId) ?? Infinity) >= last
  )
