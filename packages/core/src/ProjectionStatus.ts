/**
 * How projections are doing: exactly those of this process, and those of others as they say; and whether any has come as far as a receipt.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { HeartbeatStore, type Owner, type ReportedFailure, type StoredReport } from "./HeartbeatStore.ts"
import { isOfBuilding, judgeBuilding } from "./internal/projection/Building.ts"
import * as inTime from "./internal/projection/inTime.ts"
import { judgeReports } from "./internal/projection/judgeReports.ts"
import { type Waiter, watchOf } from "./internal/projection/ReceiptWatch.ts"
import { stoppedAs } from "./internal/projection/stoppedAs.ts"
import { projectionLag, projectionTimeLag } from "./Metrics.ts"
import * as Offset from "./Offset.ts"
import { type OffsetsDeleted, OffsetStore } from "./OffsetStore.ts"
import { OtherLag, ProjectionNotRunning, type SourceFailed, type WorkerStopped } from "./ProjectionError.ts"
import {
  type AmbiguousProjection,
  checkKnown,
  type DeadLetterId,
  ProjectionManagement,
  UnknownProjection
} from "./ProjectionManagement.ts"
import { nameOf, type ProjectionRef, sourceOf } from "./ProjectionRef.ts"
import { ProjectionRegistry, type RegisteredWorker } from "./ProjectionRegistry.ts"
import { isAtWork, type StoredVersion } from "./ProjectionVersion.ts"
import type { Receipt } from "./Receipt.ts"
import { NotReached, type ProjectionPaused, type ReceiptNotRead, type ReceiptOfOtherJournal } from "./ReceiptError.ts"
import type { ReportedWorker } from "./ReportedWorker.ts"
import * as SliceRange from "./SliceRange.ts"
import type { StorageError } from "./StorageError.ts"
import type { Timestamp } from "./Timestamp.ts"
import type { WorkerStatus } from "./WorkerStatus.ts"

export {
  OtherLag,
  ProjectionAlreadyRuns,
  ProjectionNotRunning,
  SourceFailed,
  WorkerStopped
} from "./ProjectionError.ts"
export { NotReached, ProjectionPaused, ReceiptNotRead, ReceiptOfOtherJournal } from "./ReceiptError.ts"
export type { ReportedWorker } from "./ReportedWorker.ts"
export type { WorkerFailure, WorkerState, WorkerStatus } from "./WorkerStatus.ts"

/**
 * The workers of a projection in this process, in the order of its sources and their slices; none if it does not run here, or if nobody has this
 * name: the storage is not asked. The projection is given by its name, as itself, or as a row of `ProjectionManagement.list`, here as everywhere. A
 * row means the workers of its source.
 *
 * @category getters
 * @since 0.1.0
 */
export const status = (projection: ProjectionRef): Effect.Effect<ReadonlyArray<WorkerStatus>> =>
  Effect.map(ProjectionRegistry, (registry) => workersOf(registry, projection).map((worker) => worker.status))

const workersOf = (registry: ProjectionRegistry, ref: ProjectionRef): ReadonlyArray<RegisteredWorker> =>
  registry.workers(nameOf(ref), sourceOf(ref))

/**
 * The workers of a projection in all processes that share the storage, as those have said last: every 2 seconds, or as `HeartbeatStore.Heartbeat`
 * sets it. The processes are not asked, and whoever asks need not run the projection. Fails with `UnknownProjection` if it was never started on
 * this storage.
 *
 * **Details**
 *
 * A process that gives no sign of life for three intervals, by the clock of the database, has workers that are `Unknown`, whatever they were
 * before. So none is shown as running 6 seconds after its process was killed or halted, or cut off from the storage. A worker that is `Unknown` is
 * shown until another process has its slices, or for an hour. A process that ends in order takes its workers with it.
 *
 * **Gotchas**
 *
 * A slice that no worker has is not shown. `ProjectionHealth` says so.
 *
 * **Example** (From a process that only has the storage)
 *
 * ```ts
 * import { EntityType, EventCodec, MemoryStorage, Projection, ProjectionStatus, Source } from "@sluice/core"
 * import { Effect, Layer, Schedule } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void), Projection.workers(2))
 *
 * const program = Effect.gen(function*() {
 *   yield* Layer.build(Projection.layer(Notes))
 *   const workers = yield* ProjectionStatus.everywhere("notes").pipe(
 *     Effect.repeat({ until: (workers) => workers.every(({ lag }) => lag === 0), schedule: Schedule.spaced("100 millis") })
 *   )
 *   return workers.map(({ state, lag }) => ({ state, lag }))
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer)))
 * // => [{ state: "Running", lag: 0 }, { state: "Running", lag: 0 }]
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const everywhere = (
  projection: ProjectionRef
): Effect.Effect<
  ReadonlyArray<ReportedWorker>,
  UnknownProjection | StorageError,
  HeartbeatStore | ProjectionManagement
> =>
  Effect.gen(function*() {
    const { reports } = yield* HeartbeatStore
    const name = nameOf(projection)
    const source = sourceOf(projection)
    const isMeant = (report: StoredReport) =>
      !isOfBuilding(report) && (source === undefined || report.key.source === source)
    const found = (yield* reports([name])).filter(isMeant)
    if (found.length === 0) yield* checkBegun(yield* ProjectionManagement, projection)
    return judgeReports(found)
  })

/**
 * Why a version is not live, though it has come far enough: it was tried to switch to it, and that has failed, again and again.
 *
 * @category models
 * @since 0.1.0
 */
export interface FailedSwitch {
  /** What it has failed with last. */
  readonly failure: ReportedFailure
  /** The process that has tried it last. */
  readonly owner: Owner
  /** When it has failed first, by the clock of the database. */
  readonly since: Timestamp
  /** How often it has failed since. */
  readonly tries: number
  /** When that process has given a sign of life last. */
  readonly at: Timestamp
}

/**
 * A version of a projection, and how far it has come.
 *
 * @category models
 * @since 0.1.0
 */
export interface VersionStatus extends StoredVersion {
  /** How many events its offsets have passed, those included that were left out; 0 once it is dropped. */
  readonly passed: number
  /** How many events it has yet to come to, as its workers have said last; undefined if that is not known of all slices, or if a source has no positions. */
  readonly left: number | undefined
  /** The part of its events that it has passed, from 0 to 1; undefined where `left` is. */
  readonly fraction: number | undefined
  /** In what time it will have caught up at its pace; undefined if that is not known. */
  readonly eta: Duration.Duration | undefined
  /** Whether it waits to be resumed, and does not become live until then. */
  readonly isPaused: boolean
  /** Whether it has dead letters, and does not become live until they are handled or discarded. */
  readonly hasDeadLetters: boolean
  /** How many events it has yet to look through once more, as its filter includes them now, or for a repair. It does not become live until then. */
  readonly pastLag: number
  /** Whether it was tried to switch to it, and that has failed last, as the processes that build it have said. */
  readonly failedSwitch: FailedSwitch | undefined
}

/**
 * The versions of a projection, by their numbers, from any process that has the storage: which one is live, and how far one that is building has come. The
 * projection is given by the name that its versions have in common, or that of one of them. Fails with `UnknownProjection` if there is none.
 *
 * **Details**
 *
 * A projection without versions is its own first version. What is left, and the time that it takes, are as the workers have said last, as
 * {@link everywhere} has it.
 *
 * @category getters
 * @since 0.1.0
 */
export const versions = (
  projection: ProjectionRef
): Effect.Effect<
  ReadonlyArray<VersionStatus>,
  UnknownProjection | StorageError,
  HeartbeatStore | ProjectionManagement
> =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    const name = nameOf(projection)
    const found = yield* management.versions(name)
    if (found.length === 0) return yield* new UnknownProjection({ projection: name, source: undefined })
    return yield* Effect.forEach(found, versionStatus)
  })

const versionStatus = Effect.fnUntraced(function*(
  version: StoredVersion
): Effect.fn.Return<VersionStatus, StorageError, HeartbeatStore | ProjectionManagement> {
  const { progress } = yield* ProjectionManagement
  const { reports } = yield* HeartbeatStore
  const { phase, projection } = version
  // before what has passed, so that what passes meanwhile does not count as both
  const found = isAtWork(phase) ? yield* reports([projection]) : []
  const workers = judgeReports(found)
  const sources = phase === "Dropped" ? [] : yield* progress(projection, SliceRange.slices(SliceRange.full))
  let [passed, past] = [0, 0]
  for (const { slices } of sources) {
    for (const { offset: { position }, pastLag } of slices.values()) {
      passed += position
      past += pastLag
    }
  }
  const isKnown = sources.length > 0 && sources.every(({ source }) => {
    const ranges = workers.flatMap((one) => one.source === source && one.lag !== undefined ? [one.range] : [])
    return SliceRange.slices(SliceRange.full).every((slice) =>
      ranges.some((range) => SliceRange.contains(range, slice))
    )
  })
  const left = isKnown ? sum(workers.map(({ lag }) => lag ?? 0)) : undefined
  const etas = workers.map(({ eta, lag }) => lag === 0 ? Duration.zero : eta)
  return {
    ...version,
    passed,
    left,
    fraction: left === undefined ? undefined : left === 0 ? 1 : passed / (passed + left),
    eta: left === undefined || etas.includes(undefined)
      ? undefined
      : Duration.millis(longest(etas.map((eta) => Duration.toMillis(eta!)))),
    isPaused: sources.some(({ isPaused }) => isPaused),
    hasDeadLetters: sources.some(({ hasDeadLetters }) => hasDeadLetters),
    pastLag: past,
    failedSwitch: phase === "Building" ? judgeBuilding(found).failing : undefined
  }
})

/** Fails if a projection is not known. One that has just begun in this process may have stored nothing yet. */
const checkBegun = (management: ProjectionManagement["Service"], projection: ProjectionRef) =>
  Effect.flatMap(
    ProjectionRegistry,
    (registry) => workersOf(registry, projection).length > 0 ? Effect.void : checkKnown(management, projection)
  )

/** Whether others may have workers that are missing here. */
const isPlaced = (registry: ProjectionRegistry, ref: ProjectionRef): boolean =>
  registry.placed(nameOf(ref), sourceOf(ref)).length > 0

const running = (ref: ProjectionRef): Effect.Effect<ReadonlyArray<RegisteredWorker>, ProjectionNotRunning> =>
  Effect.flatMap(ProjectionRegistry, (registry) => {
    const workers = workersOf(registry, ref)
    const isRetired = workers.length > 0 && workers.every(({ status }) => status.state === "Retired")
    return isRetired || workers.length === 0 && !isPlaced(registry, ref)
      ? Effect.fail(new ProjectionNotRunning({ projection: nameOf(ref) }))
      : Effect.succeed(workers)
  })

/**
 * What goes wrong when a lag is asked for.
 *
 * @category errors
 * @since 0.1.0
 */
export type LagError = ProjectionNotRunning | SourceFailed | OtherLag | OffsetsDeleted | StorageError

/**
 * How many events a projection is behind its source, exactly, in the slices that workers of this process have. It
 * counts the positions between the offsets that are stored now and the newest ones of the source, also right after a
 * rewind. Of a source without positions {@link timeLag} is known in its place. Of several sources it is the sum, and fails if one of them has no
 * positions, or does not answer; `{ projection, source }` asks for that of one. It is 0 while a placement gives this process none of the workers: the
 * sum over all processes is that of the projection. Fails with `ProjectionNotRunning` while it is not known
 * which workers are this process's.
 *
 * @category getters
 * @since 0.1.0
 */
export const lag = (
  projection: ProjectionRef
): Effect.Effect<number, LagError> =>
  Effect.map(
    lagOfSources(
      projection,
      (heads, { offsets }) =>
        inTime.timeOf(heads) === undefined
          ? Offset.lag(heads, offsets)
          : new OtherLag({ projection: nameOf(projection), known: "timeLag" }),
      { of: sum, gauge: projectionLag, unit: 1 }
    ),
    sum
  )

const sum = (lags: ReadonlyArray<number>): number => lags.reduce((sum, lag) => sum + lag, 0)

/**
 * For how long a projection of a source without positions, such as a plain Akka producer, is behind it, in the slices that workers of this process
 * have: from the event up to which everything is stored to the newest one of the source, at most. Infinite while nothing is stored.
 *
 * **Gotchas**
 *
 * It is as exact as timestamps are: 0 says that all events before the newest one are handled, and one of those that have its very timestamp. What the
 * producer leaves out, by a filter of either side, moves no offset: then it is too long until something else comes. It fails with `OtherLag` for a
 * source that has positions, and with `SourceFailed` where the producer does not say when its newest event was written.
 *
 * @category getters
 * @since 0.1.0
 */
export const timeLag = (projection: ProjectionRef): Effect.Effect<Duration.Duration, LagError> =>
  Effect.map(
    lagOfSources(
      projection,
      (heads, { offsets }, { waitsFrom }) => {
        const time = inTime.timeOf(heads)
        if (time === undefined) {
          return heads.size === 0 ? 0 : new OtherLag({ projection: nameOf(projection), known: "lag" })
        }
        const upTo = inTime.readUpTo(offsets, waitsFrom)
        return upTo === 0 ? Infinity : Math.max(0, time - upTo)
      },
      { of: longest, gauge: projectionTimeLag, unit: 1_000_000 }
    ),
    (lags) => Duration.millis(longest(lags) / 1000)
  )

const longest = (lags: ReadonlyArray<number>): number => Math.max(0, ...lags)

/** The lag of each source. Those that are known are in the gauge, also where another source does not say its own. */
const lagOfSources = (
  projection: ProjectionRef,
  lagOf: (
    heads: Offset.Offsets,
    stored: Pick<WorkerStatus, "offsets">,
    status: WorkerStatus
  ) => number | OtherLag,
  { gauge, of, unit }: {
    readonly of: (lags: ReadonlyArray<number>) => number
    readonly gauge: Metric.Gauge<number>
    readonly unit: number
  }
): Effect.Effect<ReadonlyArray<number>, LagError> => {
  const lagIn = (source: string, workers: ReadonlyArray<RegisteredWorker>) =>
    Effect.forEach(workers, (worker) =>
      // the store is asked first, or events that come between the two answers would not be counted
      Effect.flatMap(worker.stored, (stored) =>
        Effect.flatMap(worker.heads, (heads) => {
          const lag = lagOf(heads, stored, worker.status)
          return typeof lag === "number" ? Effect.succeed(lag) : Effect.fail(lag)
        }))).pipe(
        Effect.map(of),
        Effect.tap((lag) =>
          Metric.update(Metric.withAttributes(gauge, { projection: nameOf(projection), source }), lag / unit)
        )
      )
  return Effect.gen(function*() {
    const workers = Map.groupBy(yield* running(projection), ({ key }) => key.source)
    const { placed } = yield* ProjectionRegistry
    const sources = new Set([...workers.keys(), ...placed(nameOf(projection), sourceOf(projection))])
    const lags = yield* Effect.forEach(
      sources,
      (source) => Effect.exit(lagIn(source, workers.get(source) ?? [])),
      { concurrency: "unbounded" }
    )
    return yield* Effect.all(lags)
  })
}

/**
 * Waits until a projection has processed and stored every event that its sources have now, in the slices that workers of
 * this process have. After a rewind these are the events from where it was rewound to. After a
 * change of its filter with the history `"now"` the earlier events of what it includes are among them. Fails when a worker stops
 * before. Fails with `ProjectionNotRunning` when a worker ends before, and no other has its slices, unless the projection goes on and a placement
 * has moved the worker to another process. It also waits for workers that are started meanwhile, and for a placement to say which workers are this
 * process's. Ends at once while a placement gives this process none of the workers.
 *
 * **When to use**
 *
 * In tests, instead of waiting for time to pass.
 *
 * @category running
 * @since 0.1.0
 */
export const caughtUp = Effect.fnUntraced(function*(
  ref: ProjectionRef
): Effect.fn.Return<void, ProjectionNotRunning | SourceFailed | WorkerStopped | OffsetsDeleted | StorageError> {
  const registry = yield* ProjectionRegistry
  const untilPlaced = registry.untilPlaced(nameOf(ref))
  const done = new Set<RegisteredWorker>()
  yield* untilPlaced
  let waiting = yield* running(ref)
  while (waiting.length > 0) {
    const outcomes = yield* Effect.forEach(waiting, workerCaughtUp, { concurrency: "unbounded" })
    waiting.forEach((worker, i) => outcomes[i] === "caught up" && done.add(worker))
    yield* untilPlaced
    const workers = workersOf(registry, ref)
    const isLost = ({ key, range }: RegisteredWorker) => {
      const others = workers.filter((worker) => worker.key.source === key.source)
      return SliceRange.slices(range).some((slice) =>
        !others.some((worker) => SliceRange.contains(worker.range, slice))
      )
    }
    if (waiting.some((worker, i) => outcomes[i] === "ended" && isLost(worker)) && !isPlaced(registry, ref)) {
      return yield* new ProjectionNotRunning({ projection: nameOf(ref) })
    }
    waiting = workers.filter((worker) => !done.has(worker))
  }
})

/** As a lag of 0, which is looked for after each commit: so it ends at the first log that is not read to its head. */
const hasReached = ({ offsets, waitsFrom }: WorkerStatus, heads: Offset.Offsets): boolean => {
  const time = inTime.timeOf(heads)
  if (time !== undefined) return inTime.hasReached(offsets, time, waitsFrom)
  for (const [slice, { position }] of heads) if (position > (offsets.get(slice)?.position ?? 0)) return false
  return true
}

const workerCaughtUp = Effect.fnUntraced(function*(
  worker: RegisteredWorker
): Effect.fn.Return<
  "caught up" | "ended",
  ProjectionNotRunning | SourceFailed | WorkerStopped | OffsetsDeleted | StorageError
> {
  const heads = yield* worker.heads
  while (true) {
    const { revision, state } = yield* unlessStopped(
      worker,
      (status) =>
        status.state === "Retired" ||
        status.revision !== undefined && status.state !== "Starting" && status.pastLag === 0 &&
          hasReached(status, heads)
    )
    if (state === "Ended") return "ended"
    if (state === "Retired") return yield* new ProjectionNotRunning({ projection: worker.key.projection })
    // it may have been rewound without knowing yet
    if ((yield* worker.stored).revision === revision) return "caught up"
    yield* unlessStopped(worker, (status) => status.revision !== revision)
  }
})

/**
 * The worker's status once the predicate holds, or once the worker has ended. Fails when the worker stops without a
 * command to resume.
 */
const unlessStopped = Effect.fnUntraced(function*(
  worker: RegisteredWorker,
  predicate: (status: WorkerStatus) => boolean
): Effect.fn.Return<WorkerStatus, WorkerStopped | StorageError> {
  while (true) {
    const status = yield* worker.until((status) => status.state === "Stopped" || predicate(status))
    if (status.state !== "Stopped") return status
    const goesOn = ({ failure, state }: WorkerStatus) => state !== "Stopped" || failure !== status.failure
    if (!(yield* worker.hasNewCommand) && !goesOn(worker.status)) return yield* stoppedAs(status)
    yield* worker.until(goesOn)
  }
})

/**
 * What has become of the events of receipts: a projection has passed all of them. If both lists are empty, it has handled them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reached {
  /** The receipts of events that a filter has left out for now, so that the handler has not seen them. */
  readonly leftOut: ReadonlyArray<Receipt>
  /** The events that were put aside, as the handler has failed on them or on an earlier event of their entity; up to 100 of a receipt. */
  readonly deadLetters: ReadonlyArray<DeadLetterId>
}

/**
 * What ends the wait for a receipt.
 *
 * @category errors
 * @since 0.1.0
 */
export type ReachedError =
  | NotReached
  | ReceiptOfOtherJournal
  | ReceiptNotRead
  | ProjectionPaused
  | UnknownProjection
  | AmbiguousProjection
  | WorkerStopped
  | StorageError

/**
 * Waits until a projection has handled what was appended, by the receipt that `Journal.append` returns: read your own writes. The projection
 * may run in this process, in others, or in another service that reads the journal as a stream; who waits needs the storage that has the projection's
 * offsets. Given several receipts it waits for all.
 *
 * **Details**
 *
 * The offsets in the storage decide. They are looked at when the wait begins, when this process stores offsets, and else after 5 to
 * 100 milliseconds, in one query for all who wait for the projection in this process. An at-least-once projection stores its
 * offset up to `saveWithin` after the handler, which then is part of the wait.
 *
 * Events that a stage drops count as handled, as do states that a later one supersedes. So do events that a filter leaves out: {@link Reached} says
 * so, because including their entity may bring them later. Events that were put aside are passed, and named.
 *
 * The wait ends at once, with an error, where nothing is to be waited for: the projection is paused, or its worker in this process has
 * stopped (`WorkerStopped`); it is unknown; it is a version that does not run any more, and has not come so far (`UnknownProjection`, whose `live` names the one that
 * does); it reads other entity types, or another journal. A projection that has stopped in another process
 * looks like one that is slow, and the wait ends with `NotReached` when the time is up.
 *
 * **Gotchas**
 *
 * Inside the transaction that appends, it waits in vain: nobody else sees what is not committed. Which entity type a stream offers is known to its
 * consumer once it has read an event: until then, a receipt of another type waits.
 *
 * **Example** (Read your own writes)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage, Projection, ProjectionStatus, Source } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const lengths: Array<number> = []
 * const Lengths = Source.journal(Note).pipe(
 *   Projection.exactlyOnce("lengths", ({ event }) => Effect.sync(() => lengths.push(event.length)))
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* Layer.build(Projection.layer(Lengths))
 *   const receipt = yield* Journal.append(Note, { id: "n-1", events: ["one", "three"] })
 *   yield* ProjectionStatus.reached("lengths", receipt, { timeout: "5 seconds" })
 *   return lengths
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer))) // => [3, 5]
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const reached = Effect.fnUntraced(function*(
  projection: ProjectionRef,
  receipts: Receipt | ReadonlyArray<Receipt>,
  options: { readonly timeout: Duration.Input }
): Effect.fn.Return<Reached, ReachedError, OffsetStore | ProjectionManagement> {
  const registry = yield* ProjectionRegistry
  const name = nameOf(projection)
  const source = sourceOf(projection)
  const management = yield* ProjectionManagement
  const watch = watchOf(name, management, yield* OffsetStore)
  const timeout = Duration.fromInputUnsafe(options.timeout)
  const waiters = (Array.isArray(receipts) ? receipts as ReadonlyArray<Receipt> : [receipts as Receipt])
    .map((receipt): Waiter => ({
      receipt,
      source,
      registry,
      passed: Deferred.makeUnsafe(),
      at: undefined
    }))
  if (waiters.length === 0) yield* checkBegun(management, projection)
  const passed = yield* Effect.forEach(waiters, (waiter) => watch.await(waiter), { concurrency: "unbounded" }).pipe(
    Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.fail(notReached(name, waiters, timeout)) })
  )
  return {
    leftOut: waiters.flatMap(({ receipt }, i) => passed[i]!.isLeftOut ? [receipt] : []),
    deadLetters: passed.flatMap(({ deadLetters }) => deadLetters)
  }
})

/** Where the projection stands to the first receipt that it has not reached. */
const notReached = (projection: string, waiters: ReadonlyArray<Waiter>, timeout: Duration.Duration): NotReached => {
  const { at, receipt } = waiters.find(({ passed }) => !Deferred.isDoneUnsafe(passed)) ?? waiters[0]!
  const { persistenceId, position, sequenceNumber, slice } = receipt
  return new NotReached({
    projection,
    persistenceId,
    sequenceNumber,
    slice,
    position,
    at,
    waited: Duration.toMillis(timeout)
  })
}
