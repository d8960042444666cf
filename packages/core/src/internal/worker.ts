import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { Element, Envelope, Place, Poison } from "../Envelope.ts"
import { Fenced, OffsetStore } from "../OffsetStore.ts"
import type { Projection } from "../Projection.ts"
import type { Worker, WorkerFailure, WorkerStatus } from "../ProjectionStatus.ts"
import * as SliceRange from "../SliceRange.ts"
import * as Source from "../Source.ts"
import { OffsetTracker } from "./OffsetTracker.ts"

const initialBackoff = 200
const maximalBackoff = 30_000
/** Chunks that are decoded while the handler is busy. */
const chunksAhead = 2

/**
 * @internal
 * One worker of a projection: what others may know of it, and the effect that it is. It fails when it stops.
 *
 * One incarnation of it loads the offsets, opens the source, and hands groups of elements to the handler until something fails;
 * then the next begins, with backoff, from what was stored.
 */
export const makeWorker = <E, R>(
  projection: Projection<E, R>,
  range: SliceRange.SliceRange
): Effect.Effect<readonly [Worker, Effect.Effect<never, E, R>], never, R> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<any>()
    const store = yield* OffsetStore
    const key = { projection: projection.name, source: projection.source.origin.key }
    const { delivery, handler, recovery } = projection
    const size = typeof handler === "function" ? 1 : handler.size
    const within = typeof handler === "function" ? 0 : Duration.toMillis(handler.within)
    // suspended, as what a handler throws is a failure of its event as well
    const handle = (envelopes: ReadonlyArray<Envelope<any>>): Effect.Effect<void, unknown, any> =>
      Effect.suspend(() => typeof handler === "function" ? handler(envelopes[0]!) : handler.handle(envelopes))

    let status: WorkerStatus = {
      projection: projection.name,
      range,
      state: "Starting",
      failure: undefined,
      handled: 0,
      skipped: 0,
      restarts: 0,
      offsets: new Map()
    }
    const listeners = new Set<() => void>()
    const update = (change: Partial<WorkerStatus>) => {
      status = { ...status, ...change }
      for (const listener of listeners) listener()
    }
    let stop: WorkerFailure | undefined
    let progressed = false
    // how often a stage has failed on the same event, over the incarnations
    let stumble = { at: "", times: 0 }

    const health: Source.Health = {
      disrupted: (cause) => update({ state: "Restarting", failure: { cause, event: undefined } }),
      restored: () => update({ state: "Running", failure: undefined })
    }

    const incarnation = Effect.gen(function*() {
      const { journal: known, offsets } = yield* store.load(key, range)
      const tracker = new OffsetTracker(offsets)
      update({ offsets })
      const { elements, journal } = yield* Source.open(projection.source, { range, start: { journal: known, offsets } })
        .pipe(Effect.provideService(Source.Health, health))
      const chunks = yield* Queue.bounded<ReadonlyArray<Element<any>>, unknown>(chunksAhead)
      yield* elements.pipe(
        Stream.runForEachArray((chunk) => Queue.offer(chunks, chunk)),
        Queue.into(chunks),
        Effect.provideService(Source.Health, health),
        Effect.forkScoped
      )
      update({ state: "Running", failure: undefined })

      let group: Array<Element<any>> = []
      let envelopes: Array<Envelope<any>> = []
      let unsaved = 0
      let groupDue = Infinity
      let saveDue = Infinity

      /** What else changes in the status does so at the same time, or others would see half of it. */
      const transact = (effect: Effect.Effect<void, unknown, any>, change?: () => Partial<WorkerStatus>) =>
        Effect.suspend(() => store.transact(key, journal, tracker.moves, effect)).pipe(
          Effect.onExit((exit) =>
            Effect.sync(() => {
              if (Exit.isFailure(exit)) return
              tracker.stored()
              progressed = true
              update({ offsets: tracker.offsets, ...change?.() })
            })
          )
        )

      const save = Effect.suspend(() => {
        unsaved = 0
        saveDue = Infinity
        return tracker.isAhead ? transact(Effect.void) : Effect.void
      })

      /** Goes past elements that need no handling. */
      const pass = (elements: ReadonlyArray<Place>, change: () => Partial<WorkerStatus> = () => ({})) =>
        Effect.suspend(() => {
          tracker.advance(elements)
          return delivery._tag === "ExactlyOnce"
            ? transact(Effect.void, change)
            : Effect.sync(() => update(change()))
        })

      const poisoned = (place: Place, cause: Cause.Cause<unknown>): Effect.Effect<void, unknown, any> =>
        Effect.suspend(() => {
          const { persistenceId, sequenceNumber } = place
          if (recovery.poison === "stop") {
            stop = { cause, event: { persistenceId, sequenceNumber } }
            return Effect.failCause(cause)
          }
          return Effect.andThen(
            Effect.logWarning(`Skips event ${sequenceNumber} of '${persistenceId}', which cannot be processed`, cause),
            pass([place], () => ({ skipped: status.skipped + 1 }))
          )
        })

      const attempt = (elements: ReadonlyArray<Element<any>>, events: ReadonlyArray<Envelope<any>>) =>
        Effect.suspend(() => {
          const handled = () => ({ handled: status.handled + events.length })
          if (delivery._tag === "ExactlyOnce") {
            tracker.advance(elements)
            return Effect.tapCause(transact(handle(events), handled), () => Effect.sync(() => tracker.revert()))
          }
          return Effect.tap(handle(events), () =>
            Effect.sync(() => {
              tracker.advance(elements)
              update(handled())
            }))
        })

      const handleGroup: (
        elements: ReadonlyArray<Element<any>>,
        events: ReadonlyArray<Envelope<any>>
      ) => Effect.Effect<void, unknown, any> = Effect.fnUntraced(function*(elements, events) {
        if (events.length === 0) return yield* pass(elements)
        for (let tries = 0;; tries++) {
          const exit = yield* Effect.exit(attempt(elements, events))
          if (Exit.isSuccess(exit)) return
          if (!isFaultOfEvent(exit.cause)) return yield* Effect.failCause(exit.cause)
          if (tries < recovery.retries) {
            yield* Effect.logWarning(`Fails to handle ${describe(events)}; tries again`, exit.cause)
            yield* Effect.sleep(recovery.delay)
            continue
          }
          if (events.length === 1) {
            const at = elements.indexOf(events[0]!)
            if (at > 0) yield* pass(elements.slice(0, at))
            yield* poisoned(events[0]!, exit.cause)
            if (at + 1 < elements.length) yield* pass(elements.slice(at + 1))
            return
          }
          // one of the group is poison: one by one they show which
          for (const element of elements) yield* handleGroup([element], element._tag === "Envelope" ? [element] : [])
          return
        }
      })

      const flush = Effect.suspend(() => {
        if (group.length === 0) return Effect.void
        const elements = group
        const events = envelopes
        group = []
        envelopes = []
        groupDue = Infinity
        if (delivery._tag === "ExactlyOnce") return handleGroup(elements, events)
        return Effect.flatMap(Effect.andThen(handleGroup(elements, events), Clock.currentTimeMillis), (now) => {
          unsaved += elements.length
          if (saveDue === Infinity) saveDue = now + Duration.toMillis(delivery.saveWithin)
          return unsaved >= delivery.saveAfter || now >= saveDue ? save : Effect.void
        })
      })

      const meetPoison = (poison: Poison): Effect.Effect<void, unknown, any> =>
        Effect.suspend(() => {
          if (poison.permanent) return poisoned(poison, poison.cause)
          const at = `${poison.persistenceId} ${poison.sequenceNumber}`
          stumble = { at, times: stumble.at === at ? stumble.times + 1 : 1 }
          const again = stumble.times <= recovery.retries || !isFaultOfEvent(poison.cause)
          // either way the source is opened again, as it has stopped behind the event
          return Effect.andThen(again ? Effect.void : poisoned(poison, poison.cause), Effect.failCause(poison.cause))
        })

      const loop = Effect.gen(function*() {
        while (true) {
          const due = Math.min(groupDue, saveDue)
          if (due !== Infinity) {
            const wait = due - (yield* Clock.currentTimeMillis)
            // peeks, as an interrupted take could lose what it took
            const some = wait > 0 ? yield* Effect.timeoutOption(Queue.peek(chunks), wait) : yield* Effect.succeedNone
            if (some._tag === "None") {
              if (groupDue === due) yield* flush
              if (saveDue === due) yield* save
              continue
            }
          }
          const chunk = yield* Queue.take(chunks)
          for (const element of chunk) {
            if (element._tag === "Poison") {
              yield* flush
              yield* meetPoison(element)
              continue
            }
            group.push(element)
            if (element._tag === "Envelope" && envelopes.push(element) === size) yield* flush
          }
          // placeholders wait for nothing
          if (envelopes.length === 0) yield* flush
          const now = yield* Clock.currentTimeMillis
          if (group.length > 0 && groupDue === Infinity) groupDue = now + within
          if (delivery._tag === "AtLeastOnce" && tracker.isAhead && saveDue === Infinity) {
            saveDue = now + Duration.toMillis(delivery.saveWithin)
          }
        }
      })

      return yield* Effect.onExit(loop, (exit) => {
        // what was handled need not be handled again, unless somebody else has already
        const fenced = Exit.isFailure(exit) && isFenced(exit.cause)
        return delivery._tag === "AtLeastOnce" && !fenced ? Effect.ignore(save) : Effect.void
      })
    }).pipe(Effect.scoped)

    const run = Effect.gen(function*() {
      for (let failures = 0;; failures++) {
        progressed = false
        const exit: Exit.Exit<never, unknown> = yield* Effect.exit(incarnation)
        const cause = Exit.isFailure(exit) ? exit.cause : Cause.empty
        if (stop === undefined && isForAPerson(cause)) stop = { cause, event: undefined }
        if (stop !== undefined) {
          update({ state: "Stopped", failure: stop })
          const { event } = stop
          yield* Effect.logError(
            event === undefined
              ? "Stops, and waits for a person"
              : `Stops at event ${event.sequenceNumber} of '${event.persistenceId}', which cannot be processed`,
            stop.cause
          )
          return yield* Effect.failCause(stop.cause)
        }
        if (progressed) failures = 0
        update({ state: "Restarting", failure: { cause, event: undefined }, restarts: status.restarts + 1 })
        const backoff = Math.min(initialBackoff * 2 ** failures, maximalBackoff) * (yield* Random.nextBetween(0.8, 1.2))
        yield* Effect.logWarning(`Restarts in ${Math.round(backoff)} ms`, cause)
        yield* Effect.sleep(backoff)
      }
    }).pipe(
      Effect.annotateLogs({ projection: projection.name, slices: SliceRange.format(range) })
    ) as Effect.Effect<never, E, any>

    const worker: Worker = {
      get status() {
        return status
      },
      until: (predicate) =>
        Effect.callback((resume) => {
          const listener = () => {
            if (!predicate(status)) return
            listeners.delete(listener)
            resume(Effect.succeed(status))
          }
          listeners.add(listener)
          listener()
          return Effect.sync(() => listeners.delete(listener))
        }),
      heads: Effect.provideContext(projection.source.origin.heads(range), context)
    }
    return [worker, run]
  }) as any

const errorOf = (cause: Cause.Cause<unknown>): unknown => {
  const reason = cause.reasons.find(Cause.isFailReason)
  return reason?.error
}

const isFenced = (cause: Cause.Cause<unknown>): boolean => errorOf(cause) instanceof Fenced

const tagOf = (error: unknown): unknown => (error as { readonly _tag?: unknown } | undefined)?._tag

/** Such as a journal that is not the one that was read. */
const isForAPerson = (cause: Cause.Cause<unknown>): boolean =>
  (errorOf(cause) as { readonly isFinal?: unknown } | undefined)?.isFinal === true

/** What storage or a lost race did is no fault of the event. */
const isFaultOfEvent = (cause: Cause.Cause<unknown>): boolean => {
  const error = errorOf(cause) as { readonly isRetryable?: unknown; readonly reason?: unknown } | undefined
  if (error instanceof Fenced || error?.isRetryable === true) return false
  return !(tagOf(error) === "StorageError" && ["Full", "ReadOnly", "Damaged"].includes(error!.reason as string))
}

const describe = (events: ReadonlyArray<Envelope<any>>): string =>
  events.length === 1
    ? `event ${events[0]!.sequenceNumber} of '${events[0]!.persistenceId}'`
    : `a group of ${events.length} events`
