import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Element, Envelope, Place, Poison, Skipped } from "../../Envelope.ts"
import { encoded } from "../../Envelope.ts"
import { isGrouped } from "../../Handler.ts"
import type { Offsets } from "../../Offset.ts"
import type { Basis, Move, OffsetKey, OffsetStore } from "../../OffsetStore.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { SourceProjection } from "../../ProjectionDefinition.ts"
import { deletedError, type ProjectionManagement } from "../../ProjectionManagement.ts"
import { DeadLetterQueueFull } from "../../RecoveryStrategy.ts"
import type { SliceRange } from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"
import { traced } from "../../Tracing.ts"
import { errorOf, isFaultOfEvent, isFenced, StoppedAtEvent } from "./failures.ts"
import { fetch, isHiddenAlone } from "./fetch.ts"
import { fingerprint } from "./fingerprint.ts"
import type { NextEvent } from "./NextEvent.ts"
import type { OffsetTracker } from "./OffsetTracker.ts"
import type { ParkedEntities } from "./ParkedEntities.ts"
import type { Skips } from "./Skips.ts"
import type { Handle } from "./startHandler.ts"
import { unlessSilent } from "./unlessSilent.ts"
import type { WorkerMemory } from "./WorkerMemory.ts"
import type { WorkerMonitor } from "./WorkerMonitor.ts"

/** @internal What handling needs: the projection, its stores, and how far it is. */
export interface Handling {
  readonly projection: SourceProjection<any, any>
  /** The projection's handler, which has started. */
  readonly handle: Handle
  readonly key: OffsetKey
  readonly store: OffsetStore["Service"]
  readonly management: ProjectionManagement["Service"]
  /** The revision that the incarnation has begun from, and the identity of the journal that it reads. */
  readonly basis: Basis
  readonly tracker: OffsetTracker
  /** What comes next, where each event is handled in a transaction. */
  readonly nextEvent?: NextEvent | undefined
  /** The entities of which an event was put aside, and whose later events wait behind it. */
  readonly parked: ParkedEntities
  /** What it was told to go past. */
  readonly skips: Skips
  readonly monitor: WorkerMonitor
  readonly memory: WorkerMemory
  readonly clock: Clock.Clock
  /** Fails when there is another command, before events are handed to a handler that is in no transaction. */
  readonly admit: Effect.Effect<void, unknown> | undefined
  /** Whether an event whose offset was stored may be handed over: its filter is still the newest. Undefined if there is nothing to ask. */
  readonly mayHandOver: Effect.Effect<boolean> | undefined
  /** Sleeps before another try, and fails when there is another command meanwhile. */
  readonly sleep: (delay: SourceProjection<any, any>["recovery"]["delay"]) => Effect.Effect<void, unknown>
}

type Handled = Effect.Effect<void, unknown, any>
type Elements = ReadonlyArray<Element<any>>
type Envelopes = ReadonlyArray<Envelope<any>>

/**
 * @internal
 * Handles a group of elements, whose events are the envelopes. If that fails, does what the projection's recovery
 * strategy says.
 */
export const handleGroup = (self: Handling, elements: Elements, envelopes: Envelopes): Handled => {
  if (envelopes.length === 0) return pass(self, elements)
  if (self.skips.hasAny(envelopes)) return handleAround(self, elements)
  return self.projection.delivery._tag === "AtMostOnce"
    ? handOver(self, elements, envelopes)
    : Effect.catchCause(attempt(self, elements, envelopes), (cause) => recover(self, elements, envelopes, cause))
}

/** Handles what comes before and after an event that is to be skipped, each as a group. */
const handleAround = (self: Handling, elements: Elements): Handled => {
  const at = elements.findIndex((element) => element._tag === "Envelope" && self.skips.has(element))
  const handleSome = (some: Elements): Handled =>
    Effect.suspend(() => some.length === 0 ? Effect.void : handleGroup(self, some, some.filter(isEnvelope)))
  return handleSome(elements.slice(0, at)).pipe(
    Effect.andThen(Effect.suspend(() => skipAsTold(self, elements[at] as Envelope<any>))),
    // where it is not to be skipped any more, it comes before the others
    Effect.flatMap((isSkipped) => handleSome(elements.slice(isSkipped ? at + 1 : at)))
  )
}

const isEnvelope = (element: Element<any>): element is Envelope<any> => element._tag === "Envelope"

/**
 * @internal
 * Advances past an event in the transaction in which it ceases to be skipped, whatever the delivery guarantee. Returns whether it did: nobody may have taken
 * the command back.
 */
export const skipAsTold = (self: Handling, place: Place): Effect.Effect<boolean, unknown, any> =>
  Effect.suspend(() => {
    const { key, management, monitor, skips } = self
    const { by, reason } = skips.get(place)!
    const ending = Effect.flatMap(
      management.endSkip(key, place),
      (isThere) => isThere ? Effect.void : Effect.fail(new NotToSkip())
    )
    return save(self).pipe(
      Effect.andThen(advance(self, [place], ending, () => monitor.skipped())),
      Effect.andThen(Effect.logWarning(
        `Skips event ${place.sequenceNumber} of '${place.persistenceId}', as ${by} has said${
          reason === "" ? "" : `: ${reason}`
        }`
      )),
      Effect.as(true),
      Effect.catchCause((cause) =>
        errorOf(cause) instanceof NotToSkip ? Effect.succeed(false) : Effect.failCause(cause)
      ),
      Effect.tap(() => Effect.sync(() => skips.ended(place)))
    )
  })

/** The command to skip an event is taken back. */
class NotToSkip {
  readonly _tag = "NotToSkip"
  /** No event is at fault. */
  readonly isRetryable = true
}

/** @internal Does what the recovery strategy says about an event that has failed before it came to the handler. */
export const meetPoison = (self: Handling, poison: Poison): Handled =>
  Effect.suspend(() => {
    const { basis, memory, projection: { recovery } } = self
    if (self.skips.has(poison)) {
      return Effect.flatMap(skipAsTold(self, poison), (isSkipped) => {
        if (!isSkipped) return meetPoison(self, poison)
        return poison.permanent ? Effect.void : Effect.failCause(poison.cause)
      })
    }
    if (poison.permanent) return passPoison(self, poison, poison.cause)
    // after a rewind it is tried as often as before
    const times = memory.stumbleAt(`${basis.revision} ${poison.persistenceId} ${poison.sequenceNumber}`)
    const again = times <= recovery.retries || !isFaultOfEvent(poison.cause)
    // either way the source is opened again, as it has stopped behind the event
    return Effect.andThen(again ? Effect.void : passPoison(self, poison, poison.cause), Effect.failCause(poison.cause))
  })

/** @internal Stores the offsets of what was handled. */
export const save = (self: Handling): Handled =>
  Effect.suspend(() => self.tracker.isAhead ? transact(self, confirmOf(self)) : Effect.void)

const confirmOf = ({ projection: { delivery } }: Handling): Effect.Effect<void, any, any> =>
  delivery._tag === "AtLeastOnce" && delivery.confirm !== undefined ? delivery.confirm : Effect.void

/**
 * Hands the events to the handler. Suspended, so that an exception of the handler is a failure of its event as well.
 */
const call = ({ handle, monitor, projection: { name } }: Handling, envelopes: Envelopes): Handled =>
  traced(
    { name: "sluice.projection", attributes: { projection: name, events: envelopes.length }, envelopes },
    Effect.suspend(() => {
      monitor.given(envelopes)
      return handle(envelopes)
    })
  )

/**
 * As `call`, for projections with dead letters. An element without a position comes again whenever the source is
 * opened, so its dead letter is discarded. Any other is behind its offset once it is put aside.
 */
const callAndDiscard = (self: Handling, envelopes: Envelopes): Handled => {
  const { key, management, projection: { recovery } } = self
  if (recovery.poison !== "putAside") return call(self, envelopes)
  const unplaced = envelopes.filter(({ position }) => position === undefined)
  return unplaced.length === 0 ? call(self, envelopes) : Effect.andThen(
    call(self, envelopes),
    Effect.forEach(unplaced, (envelope) => management.discard(key, envelope), { discard: true })
  )
}

/**
 * Moves the offsets, and runs the effect, in one transaction. Counters and offsets change together, so that nobody sees
 * one without the other.
 */
const transact = (self: Handling, effect: Handled, count?: () => void): Handled =>
  Effect.suspend(() => {
    const { basis, clock, key, store, tracker } = self
    const begun = clock.monotonicTimeNanosUnsafe()
    return Effect.onExit(store.transact(key, basis, tracker.moves, effect, self.nextEvent), (exit) =>
      Effect.sync(() => {
        if (Exit.isSuccess(exit)) moved(self, clock.monotonicTimeNanosUnsafe() - begun, count)
      }))
  })

/** The offsets were moved, which took so long. */
const moved = ({ clock, monitor, tracker }: Handling, nanos: bigint, count?: () => void): void => {
  const hasCaughtUp = tracker.stored()
  count?.()
  monitor.meters.committed(nanos)
  monitor.meters.report(clock.currentTimeMillisUnsafe())
  monitor.stored(tracker.offsets, hasCaughtUp)
}

/** Advances past the elements in one transaction with the effect: both happen or neither. */
const advance = (
  self: Handling,
  elements: ReadonlyArray<Place | Skipped>,
  effect: Handled,
  count: () => void
): Handled =>
  Effect.suspend(() => {
    const { tracker } = self
    tracker.advance(elements)
    // also when it is interrupted, as what it is ahead of is stored at the end
    return Effect.onError(transact(self, effect, count), () => Effect.sync(() => tracker.revert()))
  })

/**
 * Moves the offsets, and then hands the events over: never again, whatever becomes of them. The status tells of the offsets when the handler
 * is done, so that whoever waits for the events waits for the handler.
 */
const handOver = (self: Handling, elements: Elements, envelopes: Envelopes): Handled =>
  Effect.suspend(() => {
    const { clock, monitor, projection: { handler }, tracker } = self
    if (isGrouped(handler)) monitor.meters.group(envelopes.length)
    tracker.advance(elements)
    const begun = clock.monotonicTimeNanosUnsafe()
    const { moves } = tracker
    return Effect.flatMap(
      moves.length === 0 ? Effect.succeed(envelopes) : moveFirst(self, moves, envelopes),
      (given) => {
        const nanos = clock.monotonicTimeNanosUnsafe() - begun
        const done = (count: () => void) => moves.length === 0 ? count() : moved(self, nanos, count)
        const queued = envelopes.length - given.length
        if (queued > 0) monitor.queued(queued)
        if (given.length === 0) return Effect.sync(() => done(() => {}))
        const skip = Effect.sync(() => done(() => monitor.skipped(given.length)))
        const called = Effect.matchCauseEffect(callAndDiscard(self, given), {
          onFailure: (cause) => lose(self, given, cause, skip),
          onSuccess: () => Effect.sync(() => done(() => monitor.handled(given)))
        })
        return self.mayHandOver === undefined ?
          called :
          Effect.flatMap(self.mayHandOver, (may) =>
            may ? called : Effect.andThen(
              Effect.logWarning(
                `Does not hand over ${describe(given)}, as the filter has changed since its offset was stored`
              ),
              skip
            ))
      }
    )
  })

/**
 * Moves the offsets past events that are handed over next, and returns those that are: others wait behind earlier ones of their entities. Remembers them
 * where it may have done so though it fails.
 */
const moveFirst = (
  self: Handling,
  moves: ReadonlyArray<Move>,
  envelopes: Envelopes
): Effect.Effect<Envelopes, unknown, any> => {
  const { admit, basis, key, memory, parked, store } = self
  const isQueueing = parked.hasAny(envelopes)
  const queueing = isQueueing ? queueParked(self, envelopes) : Effect.succeed(envelopes)
  const moving = Effect.onExit(store.transact(key, basis, moves, queueing), (exit) =>
    Effect.sync(() => {
      const given = isQueueing ? envelopes.filter((envelope) => !parked.has(envelope)) : envelopes
      const isSure = Exit.isSuccess(exit) || isFenced(exit.cause) || given.length === 0
      memory.unsure = isSure ? undefined : { envelopes: given, moves, basis }
    }))
  return admit === undefined ? moving : Effect.andThen(admit, moving)
}

/**
 * Goes past events that the handler has failed on. Where something else is at fault, such as a database, the worker fails, and waits before it
 * loses more.
 */
const lose = (
  { monitor }: Handling,
  envelopes: Envelopes,
  cause: Cause.Cause<unknown>,
  skip: Effect.Effect<void>
): Handled =>
  Effect.logWarning(
    `Loses ${describe(envelopes)}, which the handler has failed on, as nothing is handed over twice`,
    cause
  ).pipe(
    Effect.andThen(
      isFaultOfEvent(cause)
        ? skip
        : Effect.andThen(Effect.sync(() => monitor.skipped(envelopes.length)), Effect.failCause(cause))
    )
  )

/**
 * @internal
 * Tells of events that were not handed over, as nobody answered whether their offsets were stored, if these were: they do not come again.
 */
export const tellOfLost: (
  self: Pick<Handling, "memory" | "monitor" | "store" | "key">,
  offsets: Offsets
) => Handled = Effect.fnUntraced(function*({ key, memory, monitor, store }, offsets) {
  const { unsure } = memory
  if (unsure === undefined) return
  const { basis, envelopes, moves } = unsure
  const { persistenceId, position, sequenceNumber, slice } = envelopes.at(-1)!
  const isOfEntities = moves.some((move) => move.slice === slice && move.entities !== undefined)
  const known = isOfEntities ? (yield* store.sequenceNumbers(key, [persistenceId])).get(persistenceId) : undefined
  const isPassed = isOfEntities
    ? known !== undefined && known.sequenceNumber >= sequenceNumber && known.revision >= basis.revision
    : position !== undefined && position > 0 && (offsets.get(slice)?.position ?? 0) >= position
  // a transaction that is under way may still do so: the next one in the slice finds out
  if (!isPassed) return
  memory.unsure = undefined
  monitor.skipped(envelopes.length)
  yield* Effect.logWarning(
    `Loses ${
      describe(envelopes)
    }, unless another worker has handed it over: the offset was stored, and the answer to that was lost`
  )
})

/**
 * @internal
 * As {@link tellOfLost}, of a worker that ends, by what is stored now. Where that cannot be known either, it says so.
 */
export const tellOfLostAtEnd: (
  self: Pick<Handling, "memory" | "monitor" | "store" | "key">,
  range: SliceRange
) => Effect.Effect<void, never, any> = Effect.fnUntraced(function*(self, range) {
  const { key, memory, store } = self
  if (memory.unsure === undefined) return
  const told = Effect.flatMap(store.load(key, range), ({ offsets }) => tellOfLost(self, offsets))
  const isKnown = Exit.isSuccess(yield* Effect.exit(unlessSilent(store, told)))
  // what was not stored comes again
  if (isKnown || memory.unsure === undefined) return
  yield* Effect.logWarning(
    `May lose ${
      describe(memory.unsure.envelopes)
    }, unless another worker hands it over: nobody has answered whether the offset was stored`
  )
})

/** @internal Advances past elements that need no handling. */
export const pass = (self: Handling, elements: ReadonlyArray<Place | Skipped>, count?: () => void): Handled =>
  Effect.suspend(() => {
    const { projection, tracker } = self
    tracker.advance(elements)
    // a skipped range without a timestamp moves no offset
    if (projection.delivery._tag !== "AtLeastOnce" && tracker.isAhead) return transact(self, Effect.void, count)
    count?.()
    return Effect.void
  })

const attempt = (self: Handling, elements: Elements, envelopes: Envelopes): Handled =>
  Effect.suspend(() => {
    const { monitor, parked, projection: { delivery, handler }, tracker } = self
    if (parked.hasAny(envelopes)) return attemptBehind(self, elements, envelopes)
    if (isGrouped(handler)) monitor.meters.group(envelopes.length)
    if (delivery._tag === "ExactlyOnce") {
      return advance(self, elements, callAndDiscard(self, envelopes), () => monitor.handled(envelopes))
    }
    return Effect.map(handOut(self, envelopes), () => {
      tracker.advance(elements)
      monitor.handled(envelopes)
    })
  })

/** As `attempt`, where some of the events are of entities that may be parked. */
const attemptBehind = (self: Handling, elements: Elements, envelopes: Envelopes): Handled => {
  const { monitor, parked, projection: { delivery, handler, recovery } } = self
  if (delivery._tag === "ExactlyOnce") {
    let given: Envelopes = []
    const effect = Effect.flatMap(queueParked(self, envelopes), (rest) => {
      given = rest
      if (rest.length === 0) return Effect.void
      if (isGrouped(handler)) monitor.meters.group(rest.length)
      return callAndDiscard(self, rest)
    })
    return advance(self, elements, effect, () => {
      if (given.length < envelopes.length) monitor.queued(envelopes.length - given.length)
      if (given.length > 0) monitor.handled(given)
    })
  }
  const waiting = envelopes.filter((envelope) => parked.has(envelope))
  if (recovery.queue.overflow === "discard" || elements.length === 1) {
    return handBeside(self, elements, envelopes, waiting)
  }
  return Effect.flatMap(roomFor(self, waiting.length), (room) => {
    const full = waiting[room]
    if (full === undefined) return handBeside(self, elements, envelopes, waiting)
    // what comes before is handled and stored, and nothing behind, which would come again with each resume
    const at = elements.indexOf(full)
    return Effect.forEach(
      [elements.slice(0, at), [full], elements.slice(at + 1)],
      (some) =>
        some.length === 0 ? Effect.void : handleGroup(self, some, some.filter((each) => each._tag === "Envelope")),
      { discard: true }
    )
  })
}

/** Hands the events over that are free, and queues those that wait. */
const handBeside = (self: Handling, elements: Elements, envelopes: Envelopes, waiting: Envelopes): Handled => {
  const { monitor, parked, projection: { handler }, tracker } = self
  const free = envelopes.filter((envelope) => !parked.has(envelope))
  if (free.length > 0 && isGrouped(handler)) monitor.meters.group(free.length)
  const handing = free.length === 0
    ? Effect.void
    : Effect.map(handOut(self, free), () => monitor.handled(free))
  const handled = new Set<Element<any>>(free)
  return Effect.andThen(
    handing,
    Effect.flatMap(
      queueBehind(self, elements, waiting),
      (isQueued) =>
        isQueued ? Effect.void : Effect.forEach(elements, (element) =>
          handled.has(element)
            ? Effect.sync(() => tracker.advance([element]))
            : handleGroup(self, [element], element._tag === "Envelope" ? [element] : []), { discard: true })
    )
  )
}

/**
 * @internal
 * Queues events of entities that may be parked, and advances past the elements, of which the others are handled. If one of the entities is parked no
 * more, it does neither, and returns false.
 */
export const queueBehind = (
  self: Handling,
  elements: Elements,
  waiting: Envelopes
): Effect.Effect<boolean, unknown, any> =>
  // what is ahead is stored before, as a transaction that is undone would undo it
  save(self).pipe(
    Effect.andThen(
      advance(
        self,
        elements,
        Effect.flatMap(
          queueParked(self, waiting),
          (unparked) => unparked.length === 0 ? Effect.void : Effect.fail(new NotParked())
        ),
        () => self.monitor.queued(waiting.length)
      )
    ),
    Effect.as(true),
    Effect.catchCause((cause) => errorOf(cause) instanceof NotParked ? Effect.succeed(false) : Effect.failCause(cause))
  )

/** Somebody has handled or discarded the last dead letter of an entity, whose next event was to be queued in the same transaction. */
class NotParked {
  readonly _tag = "NotParked"
  /** No event is at fault. */
  readonly isRetryable = true
}

/**
 * Queues those of the events whose entities are parked, in the offset's transaction, and returns the others. The storage says which entities are:
 * their letters may have been handled since.
 */
const queueParked: (self: Handling, envelopes: Envelopes) => Effect.Effect<Envelopes, unknown> = Effect.fnUntraced(
  function*(self, envelopes) {
    const { key, management, monitor, parked, projection: { recovery } } = self
    const ids = new Set<PersistenceId>()
    for (const envelope of envelopes) if (parked.has(envelope)) ids.add(envelope.persistenceId)
    // in the order in which others lock them
    const held = yield* management.holdParked(key, [...ids].toSorted())
    for (const id of ids) if (!held.has(id)) parked.unpark(id)
    if (held.size < ids.size) monitor.parked(parked.size)
    const waiting = envelopes.filter((envelope) => parked.has(envelope))
    const excess = waiting.slice(yield* roomFor(self, waiting.length))
    if (excess.length > 0) {
      const { persistenceId, sequenceNumber } = excess[0]!
      const { capacity, overflow } = recovery.queue
      const full = new DeadLetterQueueFull({ ...key, persistenceId, capacity })
      if (overflow === "holdBack") return yield* Effect.fail(full)
      if (overflow === "stop") {
        const event = { persistenceId, sequenceNumber }
        return yield* Effect.fail(new StoppedAtEvent({ cause: Cause.fail(full), event }))
      }
      yield* Effect.logWarning(`Discards ${describe(excess)}. ${full.message}`)
    }
    const some = waiting.slice(0, parked.room)
    if (some.length > 0) yield* management.queue(key, some)
    parked.queued(some.length)
    return waiting.length === 0 ? envelopes : envelopes.filter((envelope) => !parked.has(envelope))
  }
)

/** How many events may be queued, of as many as are to be. */
const roomFor = ({ key, management, parked }: Handling, events: number): Effect.Effect<number, StorageError> =>
  events <= parked.room ? Effect.succeed(parked.room) : Effect.map(management.letterCounts(key), ({ queued }) => {
    parked.waiting(queued, events)
    return parked.room
  })

/** @internal Hands the events to a handler that is in no transaction, unless there is another command. */
export const handOut = (self: Handling, envelopes: Envelopes): Handled => {
  const called = callAndDiscard(self, envelopes)
  return self.admit === undefined ? called : Effect.andThen(self.admit, called)
}

/**
 * @internal
 * Tries again as the recovery strategy says, after a failure. Returns the last failure if the events are at fault, and nothing once a try has
 * succeeded. Fails if something else is at fault.
 */
export const retry: (
  self: Handling,
  envelopes: Envelopes,
  failure: Cause.Cause<unknown>,
  again: Handled
) => Effect.Effect<Cause.Cause<unknown> | undefined, unknown, any> = Effect.fnUntraced(
  function*(self, envelopes, failure, again) {
    const { projection: { recovery }, sleep } = self
    let cause = failure
    for (let tries = 0;; tries++) {
      if (!isFaultOfEvent(cause)) return yield* Effect.failCause(cause)
      if (tries === recovery.retries) return cause
      yield* Effect.logWarning(`Fails to handle ${describe(envelopes)}; tries again`, cause)
      yield* sleep(recovery.delay)
      const exit = yield* Effect.exit(again)
      if (Exit.isSuccess(exit)) return undefined
      cause = exit.cause
    }
  }
)

/**
 * Retries as the recovery strategy says. Then finds the poison event of the group, and goes past it as the strategy
 * says.
 */
const recover: (
  self: Handling,
  elements: Elements,
  envelopes: Envelopes,
  cause: Cause.Cause<unknown>
) => Handled = Effect.fnUntraced(function*(self, elements, envelopes, failure) {
  const cause = yield* retry(self, envelopes, failure, attempt(self, elements, envelopes))
  if (cause === undefined) return
  if (envelopes.length === 1) {
    const at = elements.indexOf(envelopes[0]!)
    if (at > 0) yield* pass(self, elements.slice(0, at))
    yield* passPoison(self, envelopes[0]!, cause)
    if (at + 1 < elements.length) yield* pass(self, elements.slice(at + 1))
    return
  }
  // handled one by one, they show which one is poison
  for (const element of elements) {
    yield* handleGroup(self, [element], element._tag === "Envelope" ? [element] : [])
  }
})

/** @internal Advances past an event that cannot be processed, unless the projection is to stop at it. */
export const passPoison = (self: Handling, place: Place, cause: Cause.Cause<unknown>): Handled =>
  Effect.suspend(() => {
    const { monitor, projection: { recovery } } = self
    const { persistenceId, sequenceNumber } = place
    if (recovery.poison === "stop") {
      return Effect.fail(new StoppedAtEvent({ cause, event: { persistenceId, sequenceNumber } }))
    }
    const verb = recovery.poison === "skip" ? "Skips" : "Puts aside"
    return Effect.andThen(
      Effect.logWarning(`${verb} event ${sequenceNumber} of '${persistenceId}', which cannot be processed`, cause),
      recovery.poison === "skip" ? pass(self, [place], () => monitor.skipped()) : putAside(self, place, cause)
    )
  })

/**
 * Advances past an event in the transaction that puts it aside, whatever the delivery guarantee. So an event is never
 * put aside and still to come.
 */
const putAside = (self: Handling, place: Place, cause: Cause.Cause<unknown>): Handled => {
  const { key, management, memory, monitor, parked, projection: { recovery, source } } = self
  const { capacity, overflow } = recovery.queue
  // a worker that begins again knows those no more whose letters were handled since
  if (overflow === "holdBack" && parked.size >= Math.max(capacity, 1)) {
    return Effect.fail(new DeadLetterQueueFull({ ...key, persistenceId: place.persistenceId, capacity }))
  }
  // asked for before the transaction, which would hold up others while the source does not answer
  const asked = Effect.flatMap(fetch(source.provider, place), (stored) =>
    Effect.map(
      // one that is hidden meanwhile may be shown again
      Option.isSome(stored) && stored.value.payload === undefined
        ? Effect.map(isHiddenAlone(source.provider, place), (isHidden) => !isHidden)
        : Effect.succeed(false),
      (isDeleted) => ({ stored, isDeleted })
    ))
  return Effect.flatMap(Effect.all([memory.ofSource(asked), save(self)]), ([{ isDeleted, stored }]) => {
    // the error may quote the event
    const error = isDeleted ? deletedError : Cause.pretty(cause)
    const envelope = Option.getOrElse(stored, () => encoded(place, undefined))
    const letter = { key, envelope, error, fingerprint: fingerprint(cause) }
    return advance(self, [place], management.putAside(letter), () => {
      monitor.skipped()
      parked.park(place)
      monitor.parked(parked.size)
    })
  })
}

const describe = (envelopes: Envelopes): string =>
  envelopes.length === 1
    ? `event ${envelopes[0]!.sequenceNumber} of '${envelopes[0]!.persistenceId}'`
    : `a group of ${envelopes.length} events`
