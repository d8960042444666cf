import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { encoded } from "../../Envelope.ts"
import type { Element, Envelope, Place, Poison, Skipped } from "../../Envelope.ts"
import type { Basis, OffsetKey, OffsetStore } from "../../OffsetStore.ts"
import type { Projection } from "../../ProjectionDefinition.ts"
import { deletedError, type ProjectionManagement } from "../../ProjectionManagement.ts"
import { fetch } from "../reading/fetch.ts"
import { traced } from "../tracing.ts"
import { isFaultOfEvent, StoppedAtEvent } from "./failures.ts"
import type { OffsetTracker } from "./OffsetTracker.ts"
import type { WorkerMemory } from "./WorkerMemory.ts"
import type { WorkerMonitor } from "./WorkerMonitor.ts"

/** @internal What handling takes: the projection, its stores, and how far it is. */
export interface Handling {
  readonly projection: Projection<any, any>
  readonly key: OffsetKey
  readonly store: OffsetStore["Service"]
  readonly management: ProjectionManagement["Service"]
  /** The revision that the incarnation has begun from, and the identity of the journal that it reads. */
  readonly basis: Basis
  readonly tracker: OffsetTracker
  readonly monitor: WorkerMonitor
  readonly memory: WorkerMemory
  readonly clock: Clock.Clock
  /** Sleeps before another try, and fails when there is another command meanwhile. */
  readonly sleep: (delay: Projection<any, any>["recovery"]["delay"]) => Effect.Effect<void, unknown>
}

type Handled = Effect.Effect<void, unknown, any>

/** @internal Handles groups of elements, and does what the projection says about those that fail. */
export const makeHandling = (handling: Handling) => {
  const { basis, clock, key, management, memory, monitor, projection, sleep, store, tracker } = handling
  const { delivery, handler, recovery, source } = projection

  // suspended, as what a handler throws is a failure of its event as well
  const call = (envelopes: ReadonlyArray<Envelope<any>>): Handled =>
    traced(
      { name: "sluice.projection", attributes: { projection: projection.name, events: envelopes.length }, envelopes },
      Effect.suspend(() => typeof handler === "function" ? handler(envelopes[0]!) : handler.handle(envelopes))
    )

  /** What has no position comes again whenever the source is opened, also what was put aside; all else is put aside behind its offset. */
  const handle = (envelopes: ReadonlyArray<Envelope<any>>): Handled => {
    if (recovery.poison !== "putAside") return call(envelopes)
    const unplaced = envelopes.filter(({ position }) => position === undefined)
    return unplaced.length === 0 ? call(envelopes) : Effect.andThen(
      call(envelopes),
      Effect.forEach(unplaced, (envelope) => management.discard(key, envelope), { discard: true })
    )
  }

  /** What is counted is counted at the same time as the offsets move, or others would see half of it. */
  const transact = (effect: Handled, count?: () => void): Handled =>
    Effect.suspend(() => {
      const begun = clock.monotonicTimeNanosUnsafe()
      return Effect.onExit(store.transact(key, basis, tracker.moves, effect), (exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit)) return
          const hasCaughtUp = tracker.stored()
          count?.()
          monitor.meters.committed(clock.monotonicTimeNanosUnsafe() - begun)
          monitor.meters.report(clock.currentTimeMillisUnsafe())
          monitor.stored(tracker.offsets, hasCaughtUp)
        }))
    })

  const save: Handled = Effect.suspend(() => tracker.isAhead ? transact(Effect.void) : Effect.void)

  /** Goes past elements that need no handling. */
  const pass = (elements: ReadonlyArray<Place | Skipped>, count?: () => void): Handled =>
    Effect.suspend(() => {
      tracker.advance(elements)
      // what is left out without a time moves nothing
      if (delivery._tag === "ExactlyOnce" && tracker.isAhead) return transact(Effect.void, count)
      count?.()
      return Effect.void
    })

  /**
   * Goes past an event together with putting it aside, whatever the delivery: so no event that is put aside is ahead of its offset, and none
   * is handled that is.
   */
  const putAside = (place: Place, cause: Cause.Cause<unknown>): Handled =>
    // asked for before the transaction, which would hold up others while the source does not answer
    Effect.flatMap(Effect.all([memory.ofSource(fetch(source.provider, place)), save]), ([stored]) => {
      tracker.advance([place])
      // what it has failed with may quote it
      const isDeleted = Option.isSome(stored) && stored.value.payload === undefined
      const error = isDeleted ? deletedError : Cause.pretty(cause)
      return Effect.tapCause(
        transact(
          management.putAside({ key, envelope: Option.getOrElse(stored, () => encoded(place, undefined)), error }),
          () => monitor.skipped()
        ),
        () => Effect.sync(() => tracker.revert())
      )
    })

  const poisoned = (place: Place, cause: Cause.Cause<unknown>): Handled =>
    Effect.suspend(() => {
      const { persistenceId, sequenceNumber } = place
      if (recovery.poison === "stop") {
        return Effect.fail(new StoppedAtEvent({ cause, event: { persistenceId, sequenceNumber } }))
      }
      const verb = recovery.poison === "skip" ? "Skips" : "Puts aside"
      return Effect.andThen(
        Effect.logWarning(`${verb} event ${sequenceNumber} of '${persistenceId}', which cannot be processed`, cause),
        recovery.poison === "skip" ? pass([place], () => monitor.skipped()) : putAside(place, cause)
      )
    })

  const attempt = (elements: ReadonlyArray<Element<any>>, events: ReadonlyArray<Envelope<any>>): Handled =>
    Effect.suspend(() => {
      if (typeof handler !== "function") monitor.meters.group(events.length)
      if (delivery._tag === "ExactlyOnce") {
        tracker.advance(elements)
        return Effect.tapCause(
          transact(handle(events), () => monitor.handled(events)),
          () => Effect.sync(() => tracker.revert())
        )
      }
      return Effect.map(handle(events), () => {
        tracker.advance(elements)
        monitor.handled(events)
      })
    })

  const handleGroup = (elements: ReadonlyArray<Element<any>>, events: ReadonlyArray<Envelope<any>>): Handled =>
    events.length === 0
      ? pass(elements)
      : Effect.catchCause(attempt(elements, events), (cause) => recover(elements, events, cause))

  const recover: (
    elements: ReadonlyArray<Element<any>>,
    events: ReadonlyArray<Envelope<any>>,
    cause: Cause.Cause<unknown>
  ) => Handled = Effect.fnUntraced(function*(elements, events, failure) {
    let cause = failure
    for (let tries = 0;; tries++) {
      if (!isFaultOfEvent(cause)) return yield* Effect.failCause(cause)
      if (tries === recovery.retries) break
      yield* Effect.logWarning(`Fails to handle ${describe(events)}; tries again`, cause)
      yield* sleep(recovery.delay)
      const exit = yield* Effect.exit(attempt(elements, events))
      if (Exit.isSuccess(exit)) return
      cause = exit.cause
    }
    if (events.length === 1) {
      const at = elements.indexOf(events[0]!)
      if (at > 0) yield* pass(elements.slice(0, at))
      yield* poisoned(events[0]!, cause)
      if (at + 1 < elements.length) yield* pass(elements.slice(at + 1))
      return
    }
    // one of the group is poison: one by one they show which
    for (const element of elements) yield* handleGroup([element], element._tag === "Envelope" ? [element] : [])
  })

  const meetPoison = (poison: Poison): Handled =>
    Effect.suspend(() => {
      if (poison.permanent) return poisoned(poison, poison.cause)
      const times = memory.stumbleAt(`${poison.persistenceId} ${poison.sequenceNumber}`)
      const again = times <= recovery.retries || !isFaultOfEvent(poison.cause)
      // either way the source is opened again, as it has stopped behind the event
      return Effect.andThen(again ? Effect.void : poisoned(poison, poison.cause), Effect.failCause(poison.cause))
    })

  return { handleGroup, meetPoison, save }
}

const describe = (events: ReadonlyArray<Envelope<any>>): string =>
  events.length === 1
    ? `event ${events[0]!.sequenceNumber} of '${events[0]!.persistenceId}'`
    : `a group of ${events.length} events`
