import * as Cause from "effect/Cause"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import {
  type Beat,
  Heartbeat,
  HeartbeatStore,
  missedIntervals,
  type NewReport,
  type Owner,
  type WorkerId
} from "../../HeartbeatStore.ts"
import type { Offsets } from "../../Offset.ts"
import type { RegisteredWorker } from "../../ProjectionRegistry.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"
import { type Building, buildingKey, buildingRange, buildingReport, mergedBuilding } from "./Building.ts"
import { monotonicMillis } from "./monotonicMillis.ts"
import { Pace } from "./Pace.ts"
import { reportedFailure } from "./reportedFailure.ts"
import { Standstill, type Stuck } from "./Standstill.ts"
import { knowsPlace, type Lag, lagBehind, unknownLag } from "./WorkerLag.ts"

/** So many sources are asked for their heads in an interval, one after the other where there are more. */
const asksPerInterval = 16

/** After so many beats everything is stored again, in case somebody has removed it. */
const fullAfter = 30

/**
 * How long a sign of life may take. One that was given up sooner would queue up again behind others where the storage is busy, as when many projections
 * start, and never get through.
 */
const beatPatience = "1 minute"

/** For so many milliseconds a worker must not get on before that is stored. */
const stuckAfter = 10_000

/** How long the end of the last worker waits for the storage, in milliseconds. */
const leaveBudget = 1_000

/** What is known of a worker beside what it says itself. */
interface Reported {
  readonly worker: RegisteredWorker
  readonly source: AskedSource
  readonly pace: Pace
  readonly standstill: Standstill
  lag: Lag
  /** The heads and the offsets by which the lag is known. */
  heads: Offsets | undefined
  moves: number
}

/** A source that several workers may read. */
interface AskedSource {
  readonly of: object
  readonly key: string
  readonly workers: Set<Reported>
  heads: Offsets | undefined
  isAsked: boolean
}

/** A report, as it is compared with the one that is stored. */
type Draft = Omit<NewReport, "failure" | "stuck"> & {
  readonly failure: Omit<NonNullable<NewReport["failure"]>, "age"> & { readonly at: number } | undefined
  readonly stuck: Stuck | undefined
}

interface Refused {
  readonly report: NewReport
  readonly cause: StorageError
}

const idOf = ({ key, range }: Pick<RegisteredWorker, "key" | "range">): string =>
  JSON.stringify([key.projection, key.source, range.min])

/** What one process says about its workers in one storage, while it has any. */
class Heartbeats {
  readonly #store: HeartbeatStore["Service"]
  readonly #workers = new Map<RegisteredWorker, Reported>()
  readonly #sources: Array<AskedSource> = []
  /** The versions that it builds, and what there is to say of each, for each that says so. */
  readonly #builders = new Map<() => Building, string>()
  /** What is stored, by worker: without a text if that is not known. */
  #stored = new Map<string, { readonly id: WorkerId; readonly text: string | undefined }>()
  #beats = 0
  #isFailing = false
  #isRefused = false
  #running: { readonly owner: Owner; readonly fiber: Fiber.Fiber<never> } | undefined

  constructor(store: HeartbeatStore["Service"]) {
    this.#store = store
  }

  /** Reports on workers no more, and on others from now on. */
  replace(
    workers: ReadonlyArray<RegisteredWorker>,
    others: ReadonlyArray<RegisteredWorker>
  ): Effect.Effect<void> {
    return Effect.suspend(() => {
      for (const worker of workers) this.#remove(worker)
      for (const worker of others) this.#add(worker)
      return this.#startOrStop
    })
  }

  /** Reports on a version that is built, for as long as the scope. */
  reportBuilding(projection: string, building: () => Building): Effect.Effect<void, never, Scope.Scope> {
    return Effect.asVoid(Effect.acquireRelease(
      Effect.suspend(() => {
        this.#builders.set(building, projection)
        return this.#startOrStop
      }),
      () =>
        Effect.suspend(() => {
          this.#builders.delete(building)
          return this.#startOrStop
        })
    ))
  }

  get #isEmpty(): boolean {
    return this.#workers.size === 0 && this.#builders.size === 0
  }

  readonly #startOrStop: Effect.Effect<void> = Effect.suspend(() =>
    this.#isEmpty ? this.#stop : this.#running === undefined ? this.#start : Effect.void
  )

  /** How far a worker is behind, as it says; undefined of one that it does not report on. */
  lagOf(worker: RegisteredWorker): Lag | undefined {
    return this.#running === undefined ? undefined : this.#workers.get(worker)?.lag
  }

  #add(worker: RegisteredWorker): void {
    const { headsOf, key } = worker
    let source = this.#sources.find((source) => source.of === headsOf && source.key === key.source)
    if (source === undefined) {
      source = { of: headsOf, key: key.source, workers: new Set(), heads: undefined, isAsked: false }
      this.#sources.push(source)
    }
    const reported: Reported = {
      worker,
      source,
      pace: new Pace(),
      standstill: new Standstill(),
      lag: unknownLag,
      heads: undefined,
      moves: 0
    }
    source.workers.add(reported)
    this.#workers.set(worker, reported)
  }

  #remove(worker: RegisteredWorker): void {
    const reported = this.#workers.get(worker)!
    this.#workers.delete(worker)
    const { source } = reported
    source.workers.delete(reported)
    if (source.workers.size === 0) this.#sources.splice(this.#sources.indexOf(source), 1)
  }

  readonly #start = Effect.gen({ self: this }, function*() {
    const { interval: every, name } = yield* Heartbeat
    if (!Duration.isFinite(every)) return
    const owner = { name, incarnation: (yield* WebCrypto).randomUUID() }
    const context = yield* Effect.context()
    // others may have started it meanwhile, or have ended
    if (this.#running !== undefined || this.#isEmpty) return
    this.#stored = new Map()
    this.#beats = 0
    const beats = Effect.forever(Effect.andThen(this.#interval(owner, every), Effect.sleep(every)))
    this.#running = { owner, fiber: Effect.runForkWith(context)(beats) }
  })

  readonly #stop = Effect.suspend(() => {
    const running = this.#running
    this.#running = undefined
    if (running === undefined) return Effect.void
    const { fiber, owner } = running
    return Effect.gen({ self: this }, function*() {
      const leaving = yield* Effect.forkDetach(
        Effect.interruptible(Effect.andThen(Fiber.interrupt(fiber), this.#store.leave(owner))),
        { startImmediately: true }
      )
      yield* Effect.timeoutOption(Fiber.await(leaving), leaveBudget)
    })
  })

  #interval(owner: Owner, every: Duration.Duration): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      // workers that begin ask by themselves
      if (this.#beats > 0) yield* this.#askNext(every)
      const exit = yield* Effect.exit(Effect.timeout(this.#beat(owner, every), beatPatience))
      if (Exit.isSuccess(exit)) this.#isFailing = false
      else if (!this.#isFailing && !Cause.hasInterruptsOnly(exit.cause)) {
        this.#isFailing = true
        yield* Effect.logWarning(
          `Cannot store how its projections are doing, and others see their workers as unknown. Tries again every ${
            Duration.format(every)
          }`,
          exit.cause
        )
      }
    })
  }

  /** Asks the next sources in turn. One that does not answer at once must not hold up the sign of life. */
  #askNext(every: Duration.Duration): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      const next = this.#sources.splice(0, asksPerInterval)
      this.#sources.push(...next)
      const asking = yield* Effect.forkChild(
        Effect.forEach(next.filter(({ isAsked }) => !isAsked), (source) => this.#ask(source, every), {
          concurrency: "unbounded",
          discard: true
        })
      )
      yield* Effect.timeoutOption(Fiber.await(asking), Duration.divideUnsafe(every, 4))
    })
  }

  #ask(source: AskedSource, every: Duration.Duration): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      source.isAsked = true
      const workers = [...source.workers]
      const [{ worker }] = workers as [Reported]
      const min = Math.min(...workers.map(({ worker: { range } }) => range.min))
      const max = Math.max(...workers.map(({ worker: { range } }) => range.max))
      const exit = yield* Effect.exit(
        Effect.timeout(worker.headsIn(SliceRange.make(min, max)), Duration.times(every, missedIntervals))
      )
      const heads = Exit.isSuccess(exit) ? exit.value : undefined
      const at = (yield* monotonicMillis) / 1000
      if (heads === undefined || source.heads === undefined || !isSame(heads, source.heads)) source.heads = heads
      for (const reported of workers) judge(reported, source.heads, at)
    }).pipe(Effect.ensuring(Effect.sync(() => void (source.isAsked = false))))
  }

  /** What the storage refuses keeps nothing else from it. Returns one of the reports that it has refused, which it has none of then. */
  #say(beat: Beat): Effect.Effect<Refused | undefined, StorageError> {
    return Effect.catch(Effect.as(this.#store.beat(beat), undefined), (cause) => {
      const { changed, gone } = beat
      const [report] = changed
      if (report === undefined || cause.isOfStorage) return Effect.fail(cause)
      if (changed.length === 1) {
        const without = { ...beat, changed: [], gone: [...gone, { key: report.key, min: report.range.min }] }
        return Effect.as(this.#store.beat(without), { report, cause })
      }
      const half = changed.length >> 1
      return Effect.zipWith(
        this.#say({ ...beat, changed: changed.slice(0, half) }),
        this.#say({ ...beat, changed: changed.slice(half) }),
        (first, second) => first ?? second
      )
    })
  }

  #beat(owner: Owner, every: Duration.Duration) {
    return Effect.gen({ self: this }, function*() {
      const now = yield* monotonicMillis
      const all = this.#beats % fullAfter === 0
      const current = new Map<string, { readonly id: WorkerId; readonly text: string }>()
      const changed: Array<NewReport> = []
      const drafts = [
        ...Array.from(this.#workers.values(), (reported) => draftOf(reported, now)),
        ...Array.from(
          Map.groupBy(this.#builders, ([, projection]) => projection),
          ([projection, builders]) =>
            buildingDraft(projection, mergedBuilding(builders.map(([building]) => building())))
        )
      ]
      for (const draft of drafts) {
        const { key, range } = draft
        const id = idOf(draft)
        const text = JSON.stringify(draft)
        current.set(id, { id: { key, min: range.min }, text })
        if (all || this.#stored.get(id)?.text !== text) changed.push(toReport(draft, now))
      }
      const gone = Array.from(this.#stored).flatMap(([key, { id }]) => current.has(key) ? [] : [id])
      // if that fails it may be stored all the same
      for (const [key, { id, text }] of current) {
        if (this.#stored.get(key)?.text !== text) this.#stored.set(key, { id, text: undefined })
      }
      const refused = yield* this.#say({ owner, interval: Duration.toMillis(every), changed, gone })
      this.#stored = current
      if (refused !== undefined && !this.#isRefused) {
        const { cause, report: { key, range } } = refused
        const worker = `of projection '${key.projection}' in slices ${SliceRange.format(range)}`
        yield* Effect.logWarning(
          `The storage refuses how a worker is doing, ${worker}, and others do not see that worker`,
          cause
        )
      }
      if (all || refused !== undefined) this.#isRefused = refused !== undefined
      if (all) yield* this.#store.forget
      this.#beats++
    })
  }
}

/** Unless nothing has moved, as when it is idle. */
const judge = (reported: Reported, heads: Offsets | undefined, at: number): void => {
  const { pace, worker } = reported
  const { reading } = worker
  const { moves, status } = reading
  if (heads === undefined) reported.lag = unknownLag
  else if (heads !== reported.heads || moves !== reported.moves || reported.lag === unknownLag) {
    reported.lag = lagBehind(heads, worker.range, status)
  }
  reported.heads = heads
  reported.moves = moves
  pace.lags(reported.lag.events, at)
  reported.standstill.look(reading, heads, at * 1000)
}

const draftOf = ({ lag, pace, standstill, worker: { key, range, reading } }: Reported, now: number): Draft => {
  const { lastFailure, status } = reading
  const { filterVersion, handled, pastLag, restarts, revision, state } = status
  pace.handles(handled, now / 1000)
  // its source is not asked each time where there are many
  standstill.look(reading, undefined, now)
  const { stuck } = standstill
  const isKnown = knowsPlace(status)
  return {
    key,
    range,
    state,
    revision,
    lag: isKnown ? lag.events : undefined,
    timeLag: isKnown ? lag.millis : undefined,
    rate: pace.rate,
    eta: isKnown ? pace.eta : undefined,
    restarts,
    filterVersion,
    pastLag: isKnown ? pastLag : undefined,
    failure: lastFailure && { ...reportedFailure(lastFailure.failure), at: lastFailure.at },
    // what is only behind for a moment is nothing to store
    stuck: stuck !== undefined && now - stuck.since >= stuckAfter ? stuck : undefined
  }
}

const buildingDraft = (projection: string, { failing, waits }: Building): Draft => ({
  key: buildingKey(projection),
  range: buildingRange,
  ...buildingReport(waits, failing?.tries ?? 0),
  failure: failing && { ...reportedFailure(failing.failure), at: failing.at },
  stuck: failing && { slice: undefined, since: failing.since }
})

const toReport = ({ failure, stuck, ...draft }: Draft, now: number): NewReport => ({
  ...draft,
  failure: failure && toAge(failure, now),
  stuck: stuck && { slice: stuck.slice, age: Math.max(0, now - stuck.since) }
})

const toAge = ({ at, ...failure }: NonNullable<Draft["failure"]>, now: number) => ({
  ...failure,
  age: Math.max(0, now - at)
})

const isSame = (a: Offsets, b: Offsets): boolean => {
  if (a.size !== b.size) return false
  for (const [slice, { position, timestamp }] of a) {
    const other = b.get(slice)
    if (other?.position !== position || other.timestamp !== timestamp) return false
  }
  return true
}

const ofStores = new WeakMap<HeartbeatStore["Service"], Heartbeats>()

const heartbeatsOf = (store: HeartbeatStore["Service"]): Heartbeats => {
  let found = ofStores.get(store)
  if (found === undefined) ofStores.set(store, found = new Heartbeats(store))
  return found
}

/** @internal Has other processes know how workers are doing, and nothing more of those before. */
export const reportOn = (
  workers: ReadonlyArray<RegisteredWorker>,
  before: ReadonlyArray<RegisteredWorker> = []
): Effect.Effect<void, never, HeartbeatStore> =>
  HeartbeatStore.use((store) => heartbeatsOf(store).replace(before, workers))

/** @internal Has other processes know how the building of a version goes, for as long as the scope. */
export const reportOnBuilding = (
  projection: string,
  building: () => Building
): Effect.Effect<void, never, HeartbeatStore | Scope.Scope> =>
  HeartbeatStore.use((store) => heartbeatsOf(store).reportBuilding(projection, building))

/** @internal How far a worker of this process is behind, as others are told, without asking anyone; undefined if they are not. */
export const reportedLag = (store: HeartbeatStore["Service"], worker: RegisteredWorker): Lag | undefined =>
  ofStores.get(store)?.lagOf(worker)
