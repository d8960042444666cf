import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import { ProjectionManagement } from "../../ProjectionManagement.ts"
import { ProjectionRegistry, type RegisteredWorker } from "../../ProjectionRegistry.ts"
import { StorageError } from "../../StorageError.ts"
import type { WorkerStatus } from "../../WorkerStatus.ts"

/**
 * For how long, in milliseconds, workers of this process are waited for that have not taken up a change. They may be cut off, or the machine may be so busy
 * that they need longer to begin: each time that was in vain, twice as long is waited, up to the longest.
 */
const patience = 1_000
const longestPatience = 8_000

/**
 * How long after a change the next one comes at the earliest, in milliseconds, where workers of other processes may follow it: they look
 * every 50 ms, and then have to begin.
 */
const leastInterval = 200

/** How many changes of a source's filter may wait at once: each waits for seconds. */
const mostWaiting = 1_000

/** The last change of a filter that this process has made. */
interface Change {
  /** By the monotonic clock, in nanoseconds. */
  readonly at: bigint
  readonly followers: ReadonlyArray<Follower>
  /** For how long the next change waits for them. */
  readonly patience: number
}

/** A worker, as it was before a change. */
interface Follower {
  readonly worker: RegisteredWorker
  readonly revision: number | undefined
  readonly restarts: number
}

/** The changes of the filter of a source. */
interface Changes {
  readonly one: Semaphore.Semaphore
  /** How many are made, or wait for those. */
  waiting: number
  last: Change | undefined
}

const allChanges = new WeakMap<ProjectionManagement["Service"], Map<string, Changes>>()

const changesOf = (management: ProjectionManagement["Service"], source: string): Changes => {
  let bySource = allChanges.get(management)
  if (bySource === undefined) allChanges.set(management, bySource = new Map())
  let changes = bySource.get(source)
  if (changes === undefined) {
    bySource.set(source, changes = { one: Semaphore.makeUnsafe(1), waiting: 0, last: undefined })
  }
  return changes
}

/**
 * @internal
 * Changes the filter of a source, once its workers have taken up the last change, or have not for a while: all that read the source have stored an
 * offset since, or have nothing to handle. Changes in quick succession would have them begin anew for ever, as a change fences whoever goes by an earlier one.
 * Of several at once each waits for the one before, and where too many wait, it is refused.
 *
 * A change in a transaction does not wait: workers cannot write while that holds its locks, nor take up what is not committed. Later changes wait
 * for it from its commit.
 */
export const paced = <A, E, R>(
  source: string,
  isChange: (answer: A) => boolean,
  change: Effect.Effect<A, E, R>,
  afterCommit: (effect: Effect.Effect<void>) => Effect.Effect<void>
): Effect.Effect<A, E | StorageError, R | ProjectionManagement> =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    const registry = yield* ProjectionRegistry
    const changes = changesOf(management, source)
    const make = (waitsNext: number) =>
      Effect.gen(function*() {
        const followers = registry.readers(source).map((worker): Follower => {
          const { restarts, revision } = worker.status
          return { worker, revision, restarts }
        })
        const answer = yield* change
        if (isChange(answer)) {
          yield* afterCommit(
            Effect.map(Clock.monotonicTimeNanos, (at) => void (changes.last = { at, followers, patience: waitsNext }))
          )
        }
        return answer
      })
    let isAlone = false
    yield* afterCommit(Effect.sync(() => void (isAlone = true)))
    if (!isAlone) return yield* make(changes.last?.patience ?? patience)
    const next = Effect.gen(function*() {
      const waits = changes.last?.patience ?? patience
      const isTakenUp = Option.isSome(yield* Effect.timeoutOption(takenUp(changes, management.isShared), waits))
      return yield* make(isTakenUp ? patience : Math.min(2 * waits, longestPatience))
    })
    return yield* Effect.acquireUseRelease(
      Effect.suspend(() => changes.waiting < mostWaiting ? Effect.sync(() => changes.waiting++) : tooMany(source)),
      () => changes.one.withPermit(next),
      () => Effect.sync(() => changes.waiting--)
    )
  })

const tooMany = (source: string): Effect.Effect<never, StorageError> =>
  Effect.fail(
    new StorageError({
      operation: `change the filter of '${source}'`,
      reason: "Busy",
      advice:
        "each change waits until workers have taken up the one before; make fewer of them, with more in each, and try again",
      cause: `${mostWaiting} changes wait`
    })
  )

const takenUp = (changes: Changes, isShared: boolean): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { last } = changes
    if (last === undefined) return Effect.void
    return Effect.forEach(last.followers, follows, { concurrency: "unbounded", discard: true }).pipe(
      Effect.andThen(isShared ? rest(last) : Effect.void),
      // a transaction may have made one meanwhile
      Effect.andThen(Effect.suspend(() => changes.last === last ? Effect.void : takenUp(changes, isShared)))
    )
  })

const rest = ({ at }: Change): Effect.Effect<void> =>
  Effect.flatMap(Clock.monotonicTimeNanos, (now) => {
    const left = leastInterval - Number(now - at) / 1e6
    return left > 0 ? Effect.sleep(left) : Effect.void
  })

const follows = ({ restarts, revision, worker }: Follower): Effect.Effect<unknown> =>
  worker.until((status) => {
    // a change ends its wait, after which it may fail again
    if (!isAtWork(status) || status.restarts > restarts) return true
    return status.revision !== revision && status.revision === worker.reading.takenUp
  })

/** Others wait for something, and take up the change after that. */
const isAtWork = ({ state }: WorkerStatus): boolean =>
  state === "Starting" || state === "CatchingUp" || state === "Running" || state === "Restarting" || state === "Fenced"
