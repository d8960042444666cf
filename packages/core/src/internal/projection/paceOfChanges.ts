import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ProjectionManagement } from "../../ProjectionManagement.ts"
import { ProjectionRegistry, type RegisteredWorker } from "../../ProjectionRegistry.ts"
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

/** The last change of a filter that this process has made. */
interface Change {
  /** By the monotonic clock, in nanoseconds. */
  readonly at: bigint
  readonly followers: ReadonlyArray<Follower>
  /** For how long the next change waits for them. */
  readonly patience: number
}

/** A worker, and the revision that it had before a change. */
interface Follower {
  readonly worker: RegisteredWorker
  readonly revision: number | undefined
}

const lastChanges = new WeakMap<ProjectionManagement["Service"], Map<string, Change>>()

/**
 * @internal
 * Changes the filter of a source, once its workers have taken up the last change, or have not for a while: all that read the source have stored an
 * offset since, or have nothing to handle. Changes in quick succession would have them begin anew for ever, as a change fences whoever goes by an earlier one.
 *
 * A change in a transaction does not wait: workers cannot write while that holds its locks, nor take up what is not committed. Later changes wait
 * for it from its commit.
 */
export const paced = <A, E, R>(
  source: string,
  isChange: (answer: A) => boolean,
  change: Effect.Effect<A, E, R>,
  afterCommit: (effect: Effect.Effect<void>) => Effect.Effect<void>
): Effect.Effect<A, E, R | ProjectionManagement> =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    const registry = yield* ProjectionRegistry
    let changes = lastChanges.get(management)
    if (changes === undefined) lastChanges.set(management, changes = new Map())
    const made = changes
    let isAlone = false
    yield* afterCommit(Effect.sync(() => void (isAlone = true)))
    const waits = changes.get(source)?.patience ?? patience
    const inVain = isAlone &&
      Option.isNone(yield* Effect.timeoutOption(takenUp(changes, source, management.isShared), waits))
    const waitsNext = inVain ? Math.min(2 * waits, longestPatience) : patience
    const followers = registry.readers(source)
      .map((worker): Follower => ({ worker, revision: worker.status.revision }))
    const answer = yield* change
    if (isChange(answer)) {
      yield* afterCommit(
        Effect.map(Clock.monotonicTimeNanos, (at) => void made.set(source, { at, followers, patience: waitsNext }))
      )
    }
    return answer
  })

const takenUp = (changes: ReadonlyMap<string, Change>, source: string, isShared: boolean): Effect.Effect<void> =>
  Effect.suspend(() => {
    const last = changes.get(source)
    if (last === undefined) return Effect.void
    return Effect.forEach(last.followers, follows, { concurrency: "unbounded", discard: true }).pipe(
      Effect.andThen(isShared ? rest(last) : Effect.void),
      // somebody else may have made one meanwhile
      Effect.andThen(
        Effect.suspend(() => changes.get(source) === last ? Effect.void : takenUp(changes, source, isShared))
      )
    )
  })

const rest = ({ at }: Change): Effect.Effect<void> =>
  Effect.flatMap(Clock.monotonicTimeNanos, (now) => {
    const left = leastInterval - Number(now - at) / 1e6
    return left > 0 ? Effect.sleep(left) : Effect.void
  })

const follows = ({ revision, worker }: Follower): Effect.Effect<unknown> => {
  let handled: number | undefined
  return worker.until((status) => {
    if (!isAtWork(status)) return true
    if (status.revision === revision) return false
    handled ??= status.handled
    return status.state === "Running" || status.handled > handled
  })
}

/** Others wait for something, and take up the change after that. */
const isAtWork = ({ state }: WorkerStatus): boolean =>
  state === "Starting" || state === "CatchingUp" || state === "Running"
