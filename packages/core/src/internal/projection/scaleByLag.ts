import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { HeartbeatStore } from "../../HeartbeatStore.ts"
import type { AutomaticWorkers, Projection } from "../../ProjectionDefinition.ts"
import { type Command, ProjectionManagement } from "../../ProjectionManagement.ts"
import type { ReportedWorker } from "../../ReportedWorker.ts"
import type { StorageError } from "../../StorageError.ts"
import { count } from "./announce.ts"
import { begin, decide, type Observation, type Scaling } from "./autoscaling.ts"
import { judgeReports } from "./judgeReports.ts"

/** How often it is looked whether another number of workers is needed. */
const lookEvery = "5 seconds"

/** @internal How many workers a projection has by a command. */
export const countOf = ({ automatic, workers }: Projection<any, any>, command: Command | undefined): number => {
  if (command?.workers === undefined) return workers
  if (!command.automatic) return command.workers
  // the code may have had other bounds, or none, when it was found
  return automatic === undefined ? workers : Math.min(automatic.max, Math.max(automatic.min, command.workers))
}

/** What workers of all processes say, unless some of them do not work, or are yet to begin or to leave. */
const observe = (
  all: ReadonlyArray<ReportedWorker>,
  { sources }: Projection<any, any>,
  workers: number,
  at: number
): Observation | undefined => {
  const isComplete = all.length === workers * sources.length &&
    all.every(({ state }) => state === "Running" || state === "CatchingUp")
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

/**
 * @internal
 * Has a projection have as many workers as its lag asks for, while this process runs its first one, and nobody else has said how many. Of two processes that do
 * so at once, the second finds that there is another command.
 */
export const scaleByLag = (
  projection: Projection<any, any>,
  { newest, runsFirst }: {
    /** The newest command, if one was seen. */
    readonly newest: () => Command | undefined
    /** Whether this process runs the first worker. */
    readonly runsFirst: () => boolean
  }
): Effect.Effect<void, never, ProjectionManagement | HeartbeatStore> => {
  const bounds = projection.automatic
  if (bounds === undefined) return Effect.void
  let scaling: Scaling | undefined
  const look = Effect.gen(function*() {
    const command = newest()
    const isOurs = command !== undefined && !command.paused && runsFirst() &&
      (command.workers === undefined || command.automatic)
    if (!isOurs) {
      scaling = undefined
      return
    }
    const at = Number((yield* Clock.monotonicTimeNanos) / 1_000_000n) / 1000
    const reports = yield* HeartbeatStore.use((store) => store.reports(projection.name))
    const seen = observe(judgeReports(reports), projection, countOf(projection, command), at)
    if (seen === undefined) return
    const [next, decision] = decide(bounds, scaling ?? begin(at), seen)
    if (decision !== undefined) yield* scaleTo(projection.name, decision.workers, decision.reason, command)
    scaling = next
  })
  return look.pipe(
    Effect.catchCause((cause) => Effect.logDebug("Cannot tell how many workers it needs. Looks again", cause)),
    Effect.delay(lookEvery),
    Effect.forever,
    Effect.annotateLogs({ projection: projection.name })
  )
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
