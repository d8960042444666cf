import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Element, Envelope } from "../../Envelope.ts"
import * as Offset from "../../Offset.ts"
import { Fenced, type Move, type OffsetStore } from "../../OffsetStore.ts"
import { offsetKey, type Projection } from "../../ProjectionDefinition.ts"
import type { ProjectionManagement } from "../../ProjectionManagement.ts"
import type { SliceRange } from "../../SliceRange.ts"
import * as Source from "../../Source.ts"
import { Decoded } from "./DecodedBudget.ts"
import { InterruptedByCommand, isFenced } from "./failures.ts"
import { makeHandling } from "./handling.ts"
import { OffsetTracker } from "./OffsetTracker.ts"
import { resolveTimes } from "./resolveTimes.ts"
import type { WorkerMemory } from "./WorkerMemory.ts"
import type { WorkerMonitor } from "./WorkerMonitor.ts"

/** Chunks that are decoded while the handler is busy. */
const chunksAhead = 2

/** A group has no more than so many elements without an event. */
const maxPlaceholders = 10_000

/** @internal Whose incarnation, and when it ends. */
export interface Options {
  readonly projection: Projection<any, any>
  readonly range: SliceRange
  readonly store: OffsetStore["Service"]
  readonly management: ProjectionManagement["Service"]
  readonly monitor: WorkerMonitor
  readonly memory: WorkerMemory
  /** Ends when there is another command. */
  readonly interrupted: Effect.Effect<void>
}

/** Loads where to begin: registers the projection if it is new, and has positions where the offsets only say a time. */
const begin = Effect.fnUntraced(function*({ management, memory, projection, range, store }: Options) {
  const key = offsetKey(projection)
  let stored = yield* store.load(key, range)
  if (stored.revision === undefined) {
    yield* management.register(key)
    stored = yield* store.load(key, range)
  }
  const { journal, offsets, revision } = stored
  // it was cleared meanwhile
  if (revision === undefined) return yield* new Fenced({ ...key, slice: undefined, by: "command" })
  const resolved = yield* memory.ofSource(resolveTimes(projection.source.provider, range, offsets))
  if (resolved === offsets) return { journal, offsets, revision }
  const moves = Array.from(
    offsets,
    ([slice, from]): Move => ({ slice, from, to: resolved.get(slice) ?? Offset.beginning })
  )
    .filter(({ from, to }) => from!.position !== to.position || from!.timestamp !== to.timestamp)
    .toSorted((a, b) => a.slice - b.slice)
  if (moves.length > 0) yield* store.transact(key, { journal: journal ?? "", revision }, moves, Effect.void)
  return { journal, offsets: resolved, revision }
})

/**
 * @internal
 * One incarnation of a worker: it loads the offsets, opens the source, and hands groups of elements to the handler until something
 * fails, or the projection is told something else.
 */
export const incarnation = (options: Options): Effect.Effect<never, unknown, any> =>
  Effect.gen(function*() {
    const { management, memory, monitor, projection, range, store } = options
    const { delivery, handler, source } = projection
    const { bytes: maxBytes, size } = typeof handler === "function" ? { bytes: Infinity, size: 1 } : handler
    const within = typeof handler === "function" ? 0 : Duration.toMillis(handler.within)
    const key = offsetKey(projection)
    const clock = yield* Effect.clockWith(Effect.succeed)
    /** In milliseconds, since some moment: the time of day may be set meanwhile. */
    const elapsed = () => Number(clock.monotonicTimeNanosUnsafe() / 1000n) / 1000

    const { journal: known, offsets, revision } = yield* begin(options)
    const tracker = new OffsetTracker(offsets)
    monitor.loaded(offsets, revision)
    const health: Source.Health = {
      disrupted: (cause) => void monitor.happened({ _tag: "Disrupted", cause }),
      restored: () => void monitor.happened({ _tag: "Restored" })
    }
    const pastDeleted = source.provider.onReplaced === "rewind"
    const start: Source.Start = { journal: known, offsets, pastDeleted }
    const { elements, journal } = yield* Source.open(source, { range, start }).pipe(
      memory.ofSource,
      Effect.provideService(Source.Health, health)
    )
    const decoded = yield* (yield* Decoded).share
    const chunks = yield* Queue.bounded<ReadonlyArray<Element<any>>, unknown>(chunksAhead)
    yield* elements.pipe(
      Stream.runForEachArray((chunk) => {
        decoded.took(bytesOf(chunk))
        return Effect.andThen(Queue.offer(chunks, chunk), decoded.room)
      }),
      // what a stage fails with comes as poison
      memory.ofSource,
      Queue.into(chunks),
      Effect.provideService(Source.Health, health),
      Effect.forkScoped
    )
    monitor.happened({ _tag: "Opened" })
    yield* watchHeads(options, tracker)

    let isInterrupted = false
    yield* options.interrupted.pipe(
      Effect.andThen(Effect.suspend(() => {
        isInterrupted = true
        return Queue.fail(chunks, new InterruptedByCommand())
      })),
      Effect.forkScoped
    )
    const unlessInterrupted = Effect.suspend(() =>
      isInterrupted ? Effect.fail(new InterruptedByCommand()) : Effect.void
    )

    const { handleGroup, meetPoison, save } = makeHandling({
      projection,
      key,
      store,
      management,
      basis: { journal, revision },
      tracker,
      monitor,
      memory,
      clock,
      sleep: (delay) => Effect.andThen(Effect.raceFirst(Effect.sleep(delay), options.interrupted), unlessInterrupted)
    })

    let group: Array<Element<any>> = []
    let envelopes: Array<Envelope<any>> = []
    let bytes = 0
    let unsaved = 0
    let groupDue = Infinity
    let saveDue = Infinity

    const saveNow = Effect.suspend(() => {
      unsaved = 0
      saveDue = Infinity
      return save
    })

    const flush = Effect.suspend(() => {
      if (group.length === 0) return Effect.void
      const elements = group
      const events = envelopes
      const handled = bytes
      group = []
      envelopes = []
      bytes = 0
      groupDue = Infinity
      const handling = Effect.tap(handleGroup(elements, events), () => Effect.sync(() => decoded.gave(handled)))
      if (delivery._tag === "ExactlyOnce") return handling
      return Effect.flatMap(handling, () => {
        const now = elapsed()
        unsaved += elements.length
        if (saveDue === Infinity) saveDue = now + Duration.toMillis(delivery.saveWithin)
        return unsaved >= delivery.saveAfter || now >= saveDue ? saveNow : Effect.void
      })
    })

    const loop = Effect.gen(function*() {
      while (true) {
        const due = Math.min(groupDue, saveDue)
        if (due !== Infinity) {
          const wait = due - elapsed()
          // peeks, as an interrupted take could lose what it took
          const some = wait > 0 ? yield* Effect.timeoutOption(Queue.peek(chunks), wait) : yield* Effect.succeedNone
          if (some._tag === "None") {
            if (groupDue === due) yield* flush
            if (saveDue === due) yield* saveNow
            continue
          }
        }
        const chunk = yield* Queue.take(chunks)
        for (const element of chunk) {
          if (isInterrupted) return yield* Effect.fail(new InterruptedByCommand())
          if (element._tag === "Poison") {
            yield* flush
            yield* meetPoison(element)
            continue
          }
          group.push(element)
          if (element._tag !== "Envelope") {
            // they have no content, and take memory all the same
            if (group.length - envelopes.length >= maxPlaceholders) yield* flush
            continue
          }
          envelopes.push(element)
          bytes += element.bytes
          if (envelopes.length === size || bytes >= maxBytes) yield* flush
        }
        // placeholders wait for nothing
        if (envelopes.length === 0) yield* flush
        const now = elapsed()
        monitor.meters.report(clock.currentTimeMillisUnsafe())
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

/** How often a source is asked for its heads that does not say them. */
const headsRetry = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("30 seconds")])

/** Says when everything is stored that the source has now. Until the source has said what that is, it is not known. */
const watchHeads = ({ monitor, projection, range }: Options, tracker: OffsetTracker) =>
  projection.source.provider.heads(range).pipe(
    Effect.retry(headsRetry),
    Effect.map((heads) => {
      if (tracker.follow(heads)) monitor.happened({ _tag: "CaughtUp" })
    }),
    Effect.forkScoped({ startImmediately: true })
  )

const bytesOf = (chunk: ReadonlyArray<Element<unknown>>): number => {
  let bytes = 0
  for (const element of chunk) if (element._tag === "Envelope") bytes += element.bytes
  return bytes
}
