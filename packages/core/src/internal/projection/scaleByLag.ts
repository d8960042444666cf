import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { HeartbeatStore } from "../../HeartbeatStore.ts"
import type { AutomaticWorkers, Projection } from "../../ProjectionDefinition.ts"
import { type Command, ProjectionManagement } from "../../ProjectionManagement.ts"
import type { RegisteredWorker } from "../../ProjectionRegistry.ts"
import type { ReportedWorker } from "../../ReportedWorker.ts"
import type { StorageError } from "../../StorageError.ts"
import { count } from "./announce.ts"
import { begin, decide, type Observation, type Scaling } from "./autoscaling.ts"
import { reportedLag } from "./Heartbeats.ts"
import { judgeReports } from "./judgeReports.ts"
import { Rounds } from "./Rounds.ts"

/** How often it is looked whether another number of workers is needed, in milliseconds. */
const lookEvery = 5_000

/** For so many seconds the storage is not asked where nobody was behind, and the workers of this process are not. */
const restFor = 60

/** @internal How many workers a projection has by a command. */
export const countOf = ({ automatic, workers }: Projection<any, any>, command: Command | undefined): number => {
  if (command?.workers === undefined) return workers
  if (!command.automatic) return command.workers
  // the code may have had other bounds, or none, when it was found
  return automatic === undefined ? workers : Math.min(automatic.max, Math.max(automatic.min, command.workers))
}

const isAtWork = ({ state }: Pick<ReportedWorker, "state">): boolean => state === "Running" || state === "CatchingUp"

/** What workers of all processes say, unless some of them do not work, or are yet to begin or to leave. */
const observe = (
  all: ReadonlyArray<ReportedWorker>,
  { sources }: Projection<any, any>,
  workers: number,
  at: number
): Observation | undefined => {
  const isComplete = all.length === workers * sources.length && all.every(isAtWork)
  if (!isComplete) return undefined
  let events: number | undefined = 0
  let seconds: number | undefined = 0
  let rate = 0
  for (const worker of all) {
    events = worker.lag === undefined || events === undefined ? undefined : events + worker.lag
    seconds = worker.timeLag === undefined || seconds === undefined
      ? undefined
      : Math.max(seconds, Duration.toSeconds(worker.timeLag))
    rate += worker.rate ?? 0
  }
  return { at, workers, events, seconds, rate }
}

/** What this process knows of its own workers without asking anyone. */
type Here = "NotAtWork" | "LagUnknown" | "Behind" | "CaughtUp"

const judgeHere = (store: HeartbeatStore["Service"], workers: ReadonlyArray<RegisteredWorker>): Here => {
  let here: Here = workers.length === 0 ? "NotAtWork" : "CaughtUp"
  for (const worker of workers) {
    const lag = reportedLag(store, worker)
    if (lag === undefined || !isAtWork(worker.reading.status)) return "NotAtWork"
    const behind = lag.events ?? lag.millis
    if (behind === undefined) here = "LagUnknown"
    else if (behind > 0 && here === "CaughtUp") here = "Behind"
  }
  return here
}

/**
 * @internal
 * Has a projection have as many workers as its lag asks for, while this process runs its first one, and nobody else has said how many. Of two processes that do
 * so at once, the second finds that there is another command.
 */
export const scaleByLag = (
  projection: Projection<any, any>,
  { here, newest, runsFirst }: {
    /** The newest command, if one was seen. */
    readonly newest: () => Command | undefined
    /** Whether this process runs the first worker. */
    readonly runsFirst: () => boolean
    /** The workers that this process runs. */
    readonly here: () => ReadonlyArray<RegisteredWorker>
  }
): Effect.Effect<void, never, ProjectionManagement | HeartbeatStore | Scope.Scope> => {
  const bounds = projection.automatic
  if (bounds === undefined) return Effect.void
  let scaling: Scaling | undefined
  /** When the storage has last said that nobody was behind. */
  let quietAt: number | undefined
  const ask = (workers: number, at: number) =>
    HeartbeatStore.use((store) =>
      Effect.map(store.reports([projection.name]), (reports) => {
        const seen = observe(judgeReports(reports), projection, workers, at)
        quietAt = seen !== undefined && (seen.events ?? seen.seconds) === 0 ? at : undefined
        return seen
      })
    )
  /** What is seen of all workers. The storage is asked only where that could lead to another number. */
  const seeAll = (store: HeartbeatStore["Service"], workers: number, at: number): Observation | "Nothing" | "Ask" => {
    const ours = here()
    const judged = judgeHere(store, ours)
    if (judged === "NotAtWork") return "Nothing"
    if (judged === "LagUnknown") return { at, workers, events: undefined, seconds: undefined, rate: 0 }
    if (judged === "CaughtUp" && workers === bounds.min) {
      if (ours.length === workers * projection.sources.length) return { at, workers, events: 0, seconds: 0, rate: 0 }
      if (quietAt !== undefined && at - quietAt < restFor) return "Nothing"
    }
    return "Ask"
  }
  const judge = (seen: Observation, command: Command) => {
    const [next, decision] = decide(bounds, scaling ?? begin(seen.at), seen)
    const settle = Effect.sync(() => void (scaling = next))
    if (decision !== undefined) {
      return Effect.andThen(scaleTo(projection.name, decision.workers, decision.reason, command), settle)
    }
    scaling = next
    return undefined
  }
  const look = (store: HeartbeatStore["Service"], at: number) => {
    const command = newest()
    const isOurs = command !== undefined && !command.paused && runsFirst() &&
      (command.workers === undefined || command.automatic)
    if (!isOurs) {
      scaling = undefined
      return undefined
    }
    const workers = countOf(projection, command)
    const seen = seeAll(store, workers, at)
    if (seen === "Nothing") return undefined
    if (seen !== "Ask") return judge(seen, command)
    return Effect.flatMap(
      ask(workers, at),
      (seen) => seen === undefined ? Effect.void : judge(seen, command) ?? Effect.void
    )
  }
  return Effect.gen(function*() {
    const store = yield* HeartbeatStore
    const context = yield* Effect.context<ProjectionManagement | HeartbeatStore>()
    yield* roundsOf(store).join((at) =>
      look(store, at / 1000)?.pipe(
        Effect.catchCause((cause) => Effect.logDebug("Cannot tell how many workers it needs. Looks again", cause)),
        Effect.annotateLogs({ projection: projection.name }),
        Effect.provideContext(context)
      )
    )
  })
}

const rounds = new WeakMap<HeartbeatStore["Service"], Rounds>()

/** Those of a storage, as this process has it. */
const roundsOf = (store: HeartbeatStore["Service"]): Rounds => {
  let found = rounds.get(store)
  if (found === undefined) rounds.set(store, found = new Rounds(lookEvery))
  return found
}

const scaleTo = Effect.fnUntraced(function*(
  projection: string,
  workers: number,
  reason: string,
  { revision }: Command
): Effect.fn.Return<void, StorageError, ProjectionManagement> {
  const management = yield* ProjectionManagement
  const issue = { by: "automatic", reason, target: count(workers) }
  const isDone = yield* management.setWorkersAt(projection, workers, revision, issue)
  if (isDone) yield* Effect.logInfo(`Scales projection '${projection}' to ${count(workers)}: ${reason}`)
})

/** @internal The bounds, unless they are none. */
export const checkBounds = ({ catchUpWithin, max, min }: AutomaticWorkers): void => {
  for (const [name, n] of [["min", min], ["max", max]] as const) {
    if (!(Number.isSafeInteger(n) && n >= 1 && n <= 1024 && (n & (n - 1)) === 0)) {
      throw new RangeError(`${name} is ${n}: it has to be a power of two from 1 to 1024, as slices divide evenly then`)
    }
  }
  if (min > max) throw new RangeError(`min is ${min}, more than max, ${max}`)
  if (!(catchUpWithin >= 1 && catchUpWithin <= 86_400)) {
    throw new RangeError(`catchUpWithin is ${catchUpWithin} s: it has to be a second at least, and a day at most`)
  }
}
