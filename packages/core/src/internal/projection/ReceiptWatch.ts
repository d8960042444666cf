import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Scheduler from "effect/Scheduler"
import { sourceKey as stateKey } from "../../DurableStateStore.ts"
import { sourceKey as journalKey } from "../../Journal.ts"
import * as LogsIdentity from "../../LogsIdentity.ts"
import type { OffsetStore } from "../../OffsetStore.ts"
import * as PersistenceId from "../../PersistenceId.ts"
import type { WorkerStopped } from "../../ProjectionError.ts"
import {
  AmbiguousProjection,
  checkAtWork,
  type DeadLetterId,
  type Progress,
  type ProjectionManagement,
  UnknownProjection
} from "../../ProjectionManagement.ts"
import type { ProjectionRegistry, RegisteredWorker } from "../../ProjectionRegistry.ts"
import { isAtWork } from "../../ProjectionVersion.ts"
import type { Receipt } from "../../Receipt.ts"
import { ProjectionPaused, ReceiptNotRead, ReceiptOfOtherJournal } from "../../ReceiptError.ts"
import type { StoredNumber } from "../../Rewind.ts"
import type { SequenceNumber } from "../../SequenceNumber.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"
import { asksForEntity, journalRead, judgeReceipt, type Standing } from "./judgeReceipt.ts"
import { stoppedAs } from "./stoppedAs.ts"

/** How soon the storage is looked at again, in milliseconds: twice as long each time. */
const shortestWait = 5
const longestWait = 100

/** Of the events of a receipt that were put aside, so many are named. */
const maxLetters = 100

/** @internal */
export type WatchError =
  | UnknownProjection
  | AmbiguousProjection
  | ReceiptNotRead
  | ReceiptOfOtherJournal
  | ProjectionPaused
  | WorkerStopped
  | StorageError

/** @internal What has become of the events of a receipt that a projection has passed. */
export interface Passed {
  readonly isLeftOut: boolean
  readonly deadLetters: ReadonlyArray<DeadLetterId>
}

/** @internal Somebody who waits for a receipt. */
export interface Waiter {
  readonly receipt: Receipt
  /** The source of the projection, where whoever waits has said it. */
  readonly source: string | undefined
  readonly registry: ProjectionRegistry
  readonly passed: Deferred.Deferred<Passed, WatchError>
  /** Where the projection was when it was looked at last. */
  at: number | undefined
}

/** @internal The key of the source that has the log of a receipt. */
export const sourceOf = ({ log, persistenceId }: Receipt): string =>
  (log === "events" ? journalKey : stateKey)(PersistenceId.entityType(persistenceId))

/** Whether another source than that of the receipt's log shows that log. What a stream shows is known once something was read of it. */
const reads = (receipt: Receipt, progress: Progress): "journal" | "otherJournal" | "otherLog" | "unknown" => {
  const { source } = progress
  if (source.startsWith(journalKey("")) || source.startsWith(stateKey(""))) return "otherLog"
  const read = journalRead(receipt, progress)
  if (read === undefined) return "unknown"
  const { journal, log, persistenceId } = receipt
  if (!LogsIdentity.isIn(read, journal)) return "otherJournal"
  const isOf = LogsIdentity.isOf(read, { journal, log, entityType: PersistenceId.entityType(persistenceId) })
  return isOf ? "journal" : "otherLog"
}

/** Whether some sources of a projection that runs in this process are not registered yet, each of which is by itself. */
const isBeginning = (workers: ReadonlyArray<RegisteredWorker>, registered: ReadonlyArray<Progress>): boolean =>
  workers.some(({ key }) => registered.every(({ source }) => source !== key.source))

/**
 * @internal
 * Looks for all who wait for a projection in this process, in one query each time, at how far it has come. It looks when somebody begins to wait,
 * when this process has stored an offset that somebody waits for, and again and again in between. Nobody waits: it does not look.
 */
export class ReceiptWatch {
  readonly #projection: string
  readonly #management: ProjectionManagement["Service"]
  readonly #store: OffsetStore["Service"]
  readonly #waiting = new Set<Waiter>()
  readonly #woken = Latch.makeUnsafe()
  #wait = shortestWait
  #isLooking = false

  constructor(
    projection: string,
    management: ProjectionManagement["Service"],
    store: OffsetStore["Service"]
  ) {
    this.#projection = projection
    this.#management = management
    this.#store = store
  }

  /** Waits until the projection has passed the receipt, or it is known that it will not. */
  await(waiter: Waiter): Effect.Effect<Passed, WatchError> {
    return Effect.withFiber(({ context }) => {
      this.#waiting.add(waiter)
      this.#wait = shortestWait
      this.#wake()
      if (!this.#isLooking) {
        this.#isLooking = true
        // not in the transaction of who waits: it would show what is not committed
        Effect.runForkWith(Context.pick(Clock.Clock, Scheduler.Scheduler)(context))(this.#look)
      }
      return Effect.raceFirst(Deferred.await(waiter.passed), this.#hints(waiter))
    }).pipe(
      Effect.ensuring(Effect.sync(() => {
        this.#waiting.delete(waiter)
        if (this.#waiting.size === 0) this.#wake()
      }))
    )
  }

  #wake(): void {
    this.#woken.openUnsafe()
  }

  /** Wakes the watch when a worker of this process stores an offset past the receipt, or stops. The storage has the last word. */
  #hints({ receipt: { position, slice }, registry }: Waiter): Effect.Effect<never> {
    const workers = registry.workers(this.#projection).filter(({ range }) => SliceRange.contains(range, slice))
    return Effect.andThen(
      Effect.forEach(workers, (worker) =>
        Effect.map(
          worker.until(({ offsets, state }) => state === "Stopped" || (offsets.get(slice)?.position ?? 0) >= position),
          () => this.#wake()
        ), { concurrency: "unbounded", discard: true }),
      Effect.never
    )
  }

  readonly #look: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#waiting.size === 0) {
      this.#isLooking = false
      return Effect.void
    }
    this.#woken.closeUnsafe()
    const waiters = Array.from(this.#waiting).filter(({ passed }) => !Deferred.isDoneUnsafe(passed))
    return this.#judge(waiters).pipe(
      Effect.catchCause((cause) => settleAll(waiters, cause)),
      Effect.andThen(Effect.suspend(() => {
        const wait = this.#wait
        this.#wait = Math.min(wait * 2, longestWait)
        return this.#waiting.size === 0 ? Effect.void : Effect.raceFirst(Effect.sleep(wait), this.#woken.await)
      })),
      Effect.andThen(this.#look)
    )
  })

  readonly #judge = Effect.fnUntraced({ self: this }, function*(waiters: ReadonlyArray<Waiter>) {
    const slices = new Set(waiters.map(({ receipt }) => receipt.slice))
    const found = yield* this.#management.progress(this.#projection, [...slices])
    const retired = yield* this.#retired(found)
    const judged: Array<readonly [Waiter, Progress]> = []
    for (const waiter of waiters) {
      const progress = this.#resolve(waiter, found)
      if (progress === "unknown") {
        if (retired !== undefined) yield* Deferred.fail(waiter.passed, retired)
        else if (found[0]?.isPaused === true) yield* this.#paused(waiter)
      } else if (progress instanceof UnknownProjection) yield* Deferred.fail(waiter.passed, retired ?? progress)
      else if ("_tag" in progress) yield* Deferred.fail(waiter.passed, progress)
      else judged.push([waiter, progress])
    }
    const last = yield* this.#lastOfEntities(judged)
    yield* Effect.forEach(judged, ([waiter, progress]) => {
      const { receipt } = waiter
      waiter.at = progress.slices.get(receipt.slice)?.offset.position ?? 0
      const standing = judgeReceipt(receipt, progress, last(progress, receipt))
      return standing === "behind" && retired !== undefined
        ? Deferred.fail(waiter.passed, retired)
        : this.#settle(waiter, progress, standing)
    }, { concurrency: 8, discard: true })
  })

  /** Why none of its workers goes on, if it is a version that does not run any more. */
  #retired(found: ReadonlyArray<Progress>): Effect.Effect<UnknownProjection | undefined, StorageError> {
    if (found.length > 0 && found.every(({ phase }) => isAtWork(phase))) return Effect.undefined
    return Effect.as(checkAtWork(this.#management, this.#projection), undefined).pipe(
      Effect.catchTag("UnknownProjection", Effect.succeed)
    )
  }

  /** The source of the projection that the receipt is judged by. */
  #resolve(
    { receipt, registry, source }: Waiter,
    found: ReadonlyArray<Progress>
  ): Progress | "unknown" | Exclude<WatchError, StorageError> {
    const projection = this.#projection
    const asked = source === undefined ? found : found.filter((progress) => progress.source === source)
    const exact = asked.find((progress) => progress.source === sourceOf(receipt))
    if (exact !== undefined) return exact
    const by = Map.groupBy(asked, (progress) => reads(receipt, progress))
    const workers = registry.workers(projection, source).filter(({ status }) => status.state !== "Retired")
    const shown = by.get("journal") ?? []
    // what it has read under another name of the source before goes on nowhere
    const running = shown.filter(({ source }) => workers.some(({ key }) => key.source === source))
    const [one, ...others] = running.length > 0 ? running : shown
    if (one !== undefined) {
      return others.length === 0
        ? one
        : new AmbiguousProjection({ projection, sources: [one, ...others].map(({ source }) => source) })
    }
    // one of them may turn out to
    const unknown = by.get("unknown") ?? []
    if (unknown.length > 1 || isBeginning(workers, found)) return "unknown"
    if (asked.length === 0) return new UnknownProjection({ projection, source })
    const sources = asked.map(({ source }) => source)
    return unknown[0] ?? by.get("otherJournal")?.[0] ??
      new ReceiptNotRead({ projection, sources, source: sourceOf(receipt) })
  }

  /** The last sequence numbers that are stored, of those entities that are needed. */
  readonly #lastOfEntities = Effect.fnUntraced({ self: this }, function*(
    judged: ReadonlyArray<readonly [Waiter, Progress]>
  ) {
    const asked = new Map<string, Set<PersistenceId.PersistenceId>>()
    for (const [{ receipt }, { slices, source }] of judged) {
      if (!asksForEntity(receipt, slices.get(receipt.slice))) continue
      if (!asked.has(source)) asked.set(source, new Set())
      asked.get(source)!.add(receipt.persistenceId)
    }
    const found = new Map<string, ReadonlyMap<PersistenceId.PersistenceId, StoredNumber>>()
    for (const [source, ids] of asked) {
      found.set(source, yield* this.#store.sequenceNumbers({ projection: this.#projection, source }, [...ids]))
    }
    return ({ source }: Progress, { persistenceId }: Receipt) => found.get(source)?.get(persistenceId)
  })

  #settle(waiter: Waiter, progress: Progress, standing: Standing): Effect.Effect<unknown, StorageError> {
    const projection = this.#projection
    const { passed, receipt } = waiter
    const { journal, persistenceId } = receipt
    const { source } = progress
    switch (standing) {
      case "behind":
        return progress.isPaused ? this.#paused(waiter) : this.#unlessStopped(waiter, source)
      case "otherJournal":
      case "forked": {
        const read = journalRead(receipt, progress) ?? journal
        return Deferred.fail(passed, new ReceiptOfOtherJournal({ projection, source, persistenceId, journal, read }))
      }
      case "leftOut":
      case "handled":
        return Effect.flatMap(
          progress.hasDeadLetters ? this.#deadLetters(source, receipt) : Effect.succeed([]),
          (deadLetters) => Deferred.succeed(passed, { isLeftOut: standing === "leftOut", deadLetters })
        )
    }
  }

  #paused({ passed, receipt: { persistenceId, sequenceNumber } }: Waiter): Effect.Effect<unknown> {
    return Deferred.fail(passed, new ProjectionPaused({ projection: this.#projection, persistenceId, sequenceNumber }))
  }

  /** A worker of this process that has stopped goes on once a person resumes it, which whoever waits cannot wait for. */
  #unlessStopped(
    { passed, receipt: { slice }, registry }: Waiter,
    source: string
  ): Effect.Effect<unknown, StorageError> {
    for (const worker of registry.workers(this.#projection, source)) {
      if (!SliceRange.contains(worker.range, slice)) continue
      const { status } = worker
      if (status.state !== "Stopped") continue
      return Effect.flatMap(worker.hasNewCommand, (isResumed) =>
        isResumed || worker.status.failure !== status.failure
          ? Effect.void
          : Deferred.fail(passed, stoppedAs(status)))
    }
    return Effect.void
  }

  #deadLetters(source: string, { count, persistenceId, sequenceNumber }: Receipt) {
    const after = { persistenceId, sequenceNumber: sequenceNumber - count as SequenceNumber }
    return Effect.map(
      this.#management.listLetters({ projection: this.#projection, source }, after, Math.min(count, maxLetters)),
      (letters): ReadonlyArray<DeadLetterId> =>
        letters.filter((letter) => letter.persistenceId === persistenceId && letter.sequenceNumber <= sequenceNumber)
          .map(({ persistenceId, sequenceNumber }) => ({ persistenceId, sequenceNumber }))
    )
  }
}

const settleAll = (waiters: ReadonlyArray<Waiter>, cause: Cause.Cause<WatchError>): Effect.Effect<void> =>
  Effect.forEach(waiters, ({ passed }) => Deferred.failCause(passed, cause), { discard: true })

/** One for each projection of a storage in this process. A storage that is gone takes its own along. */
const watches = new WeakMap<ProjectionManagement["Service"], Map<string, ReceiptWatch>>()

/** @internal */
export const watchOf = (
  projection: string,
  management: ProjectionManagement["Service"],
  store: OffsetStore["Service"]
): ReceiptWatch => {
  let own = watches.get(management)
  if (own === undefined) watches.set(management, own = new Map())
  let watch = own.get(projection)
  if (watch === undefined) own.set(projection, watch = new ReceiptWatch(projection, management, store))
  return watch
}
