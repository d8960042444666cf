import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { HeartbeatStore } from "../../HeartbeatStore.ts"
import type { Projection } from "../../ProjectionDefinition.ts"
import {
  type Issue,
  issueOf,
  type Progress,
  ProjectionManagement,
  VersionNameTaken
} from "../../ProjectionManagement.ts"
import { ProjectionRegistry } from "../../ProjectionRegistry.ts"
import type { ProjectionVersion } from "../../ProjectionVersion.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"
import { type Building, judgeBuilding, mergedBuilding } from "./Building.ts"
import { reportOnBuilding } from "./Heartbeats.ts"
import { timeOf } from "./inTime.ts"
import { monotonicMillis } from "./monotonicMillis.ts"
import { type Ends, versionLag } from "./versionLag.ts"

/** How often it is looked whether a version is complete, or may be dropped, in milliseconds. */
const interval = 500

/** For how many milliseconds after a look it counts where the sources were. */
const lastCounts = 2 * interval

/** How often a version that is live looks for others that may be dropped, in milliseconds. */
const slowInterval = 5_000

/** How long it leaves them to the process that has built them, in milliseconds. */
const patienceForOthers = 10_000

/** How long the sources may take to say how far they are. */
const headsPatience = "10 seconds"

/** How long the drop of a version may take, so that one that never ends keeps no other from it. */
const dropPatience = Duration.minutes(10)

/** How long what is the user's has to end once it is interrupted. */
const grace = Duration.seconds(5)

/** For how many milliseconds a version is behind until it does not count any more that it could not be switched to before. */
const longBehind = 5 * 60_000

const stillSwitching = "the switch that was interrupted has not ended since, and is not tried again before it has: " +
  "let it be interruptible, or start the process again"

/** How soon is tried again what has failed, in milliseconds, after so many failures in a row. */
const backOff = (tries: number): number => Math.min(500 * 2 ** (tries - 1), 30_000)

const again = Schedule.addDelay(Schedule.forever, ({ attempt }) => Effect.succeed(backOff(attempt)))

const endsOf = ({ sources }: Projection<any, any>): Effect.Effect<ReadonlyArray<Ends>, unknown, any> =>
  Effect.timeout(
    Effect.forEach(
      sources,
      ({ provider }) => Effect.map(provider.heads(SliceRange.full), (heads): Ends => ({ source: provider.key, heads })),
      { concurrency: "unbounded" }
    ),
    headsPatience
  )

/** Where the sources were when they were asked last. */
interface Asked {
  readonly ends: ReadonlyArray<Ends>
  /** When it was done what they were asked for, in milliseconds of the monotonic clock. */
  readonly at: number
}

/** Looks every so many milliseconds until it is done. What fails is tried again, and is in the log. */
const untilDone = Effect.fnUntraced(function*(
  look: Effect.Effect<boolean, unknown, any>,
  { failed = () => Effect.void, interval, isWell = () => true, what }: {
    readonly what: string
    readonly interval: number
    readonly failed?: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
    /** Whether a look that has not failed shows that what has failed before is well again. */
    readonly isWell?: () => boolean
  }
): Effect.fn.Return<void, never, any> {
  let tries = 0
  while (true) {
    // that of its own fiber goes past here: an interruption is one within, which is tried again as anything else
    const exit = yield* Effect.exit(look)
    if (exit._tag === "Failure") {
      tries++
      yield* failed(exit.cause)
      yield* Effect.logWarning(`${what}. Tries again`, exit.cause)
      yield* Effect.sleep(backOff(tries))
      continue
    }
    if (exit.value) return
    if (isWell()) tries = 0
    yield* Effect.sleep(interval)
  }
})

/** Runs what is the user's. Where that does not let itself be interrupted, nobody waits for it. */
const leaving = <A, B>(
  effect: Effect.Effect<A, unknown, any>,
  use: (fiber: Fiber.Fiber<A, unknown>) => Effect.Effect<B, unknown, any>
): Effect.Effect<B, unknown, any> =>
  Effect.acquireUseRelease(
    // not a child, which whoever is interrupted waits for
    Effect.forkDetach(Effect.interruptible(effect), { startImmediately: true }),
    use,
    (fiber) => {
      fiber.interruptUnsafe()
      return Effect.timeoutOption(Fiber.await(fiber), grace)
    }
  )

/**
 * Has the version take the place of the one before, once it has come far enough: as far as its sources are, or as they were when they were asked a moment
 * before. While events come, it may never be where its sources are at that moment. Ends when it is not building any more.
 */
const build = Effect.fnUntraced(function*(
  projection: Projection<any, any>,
  version: ProjectionVersion,
  issue: Issue
): Effect.fn.Return<void, never, any> {
  const management = yield* ProjectionManagement
  const heartbeats = yield* HeartbeatStore
  const registry = yield* ProjectionRegistry
  const target = `version ${version.version}`
  /** What looks have failed with that have not come as far as to the switch. One that has ends it. */
  let looking: Building["failing"]
  /** What the switch has failed with. A look that comes too early for it does not try it, and shows nothing of it. */
  let switching: Building["failing"]
  let isOfSwitch = false
  /** Who runs the switch, or has last. */
  let switcher: Fiber.Fiber<unknown, unknown> | undefined
  const switched = leaving(version.switch, (fiber) => {
    switcher = fiber
    return Fiber.join(fiber)
  })
  let behindSince: number | undefined
  const failed = (cause: Cause.Cause<unknown>) =>
    Effect.map(monotonicMillis, (at) => {
      const before = isOfSwitch ? switching : looking
      const failing = {
        failure: { cause, event: undefined },
        at,
        since: before?.since ?? at,
        tries: (before?.tries ?? 0) + 1
      }
      if (isOfSwitch) switching = failing
      else looking = failing
    })
  yield* reportOnBuilding(projection.name, () => {
    const waits = registry.workers(projection.name).some(({ reading: { status } }) => status.waitsFrom !== undefined)
    return mergedBuilding([{ failing: looking, waits }, { failing: switching, waits }])
  })
  /** From when on events wait in this process now, whenever the source has said where it is. */
  const waitsFrom = (source: string) => {
    const waiting = registry.workers(projection.name, source).flatMap(({ reading: { status } }) =>
      status.waitsFrom ?? []
    )
    return waiting.toSorted((a, b) => a - b)[0]
  }
  /** Of sources without positions an offset says nothing of what waits. */
  const waitsElsewhere = (ends: ReadonlyArray<Ends>) =>
    ends.some(({ heads }) => timeOf(heads) !== undefined)
      ? Effect.map(heartbeats.reports([projection.name]), (reports) => judgeBuilding(reports).waits)
      : Effect.succeed(false)
  let asked: Asked | undefined
  const look = Effect.gen(function*() {
    isOfSwitch = false
    const found = (yield* management.versions(version.of)).find((other) => other.version === version.version)
    if (found?.phase !== "Building") return true
    const now = yield* monotonicMillis
    // after what has failed, that was too long ago
    const last = asked !== undefined && asked.at >= now - lastCounts ? asked.ends : undefined
    const ends = yield* endsOf(projection)
    const isComplete = (progress: ReadonlyArray<Progress>) =>
      [ends, last].some((ends) => ends !== undefined && versionLag(ends, progress, waitsFrom) <= version.lag)
    // without any lock, as it is too early most of the time
    const progress = yield* management.progress(projection.name, SliceRange.slices(SliceRange.full))
    const isDue = isComplete(progress) && !(yield* waitsElsewhere(ends))
    looking = undefined
    behindSince = isDue ? undefined : behindSince ?? now
    if (behindSince !== undefined && now - behindSince >= longBehind) switching = undefined
    if (isDue && switcher !== undefined && switcher.pollUnsafe() === undefined) {
      isOfSwitch = true
      return yield* Effect.fail(new Cause.TimeoutError(stillSwitching))
    }
    const isDone = isDue &&
      (yield* management.complete(version, isComplete, switched, { ...issue, target }).pipe(
        Effect.tapCause(() => Effect.sync(() => void (isOfSwitch = true)))
      ))
    asked = { ends, at: yield* monotonicMillis }
    if (isDone) yield* Effect.logInfo(`Version ${version.version} of projection '${version.of}' is live`)
    return isDone
  })
  yield* untilDone(look, {
    what: `Cannot switch to ${target} of projection '${version.of}', which is not live until then`,
    interval,
    failed,
    isWell: () => switching === undefined
  })
}, Effect.scoped)

/** What `drop` of a version does. */
const dropped = (version: ProjectionVersion, number: number): Effect.Effect<unknown, unknown, any> =>
  leaving(version.drop(number), (fiber) =>
    Effect.timeoutOrElse(Fiber.join(fiber), {
      duration: dropPatience,
      orElse: () => Effect.fail(new Cause.TimeoutError(`The drop of version ${number} has not ended for 10 minutes`))
    }))

/**
 * Drops the versions that are retired, while this one is building or any is, and then, more slowly, for as long as it is live: what another process
 * builds may be cancelled, and that process be gone.
 */
const drop = Effect.fnUntraced(function*(
  version: ProjectionVersion,
  issue: Issue
): Effect.fn.Return<void, never, any> {
  const management = yield* ProjectionManagement
  /** Since when each is known to be retired, in milliseconds of the monotonic clock. */
  const retiredAt = new Map<number, number>()
  /** Those that could not be dropped, which are tried after the others: one may take as long as it may to fail. */
  const failed = new Set<number>()
  const look = (patience: number) =>
    Effect.gen(function*() {
      const versions = yield* management.versions(version.of)
      const now = yield* monotonicMillis
      let left = 0
      let failure: Cause.Cause<unknown> | undefined
      const ordered = versions.toSorted((a, b) => Number(failed.has(a.version)) - Number(failed.has(b.version)))
      for (const one of ordered) {
        if (one.phase !== "Retired") continue
        const since = retiredAt.get(one.version) ?? now
        retiredAt.set(one.version, since)
        if (now - since < patience) {
          left++
          continue
        }
        const exit = yield* Effect.exit(Effect.andThen(dropped(version, one.version), management.drop(one, issue)))
        if (exit._tag === "Failure") {
          failed.add(one.version)
          failure ??= exit.cause
        } else yield* Effect.logInfo(`Version ${one.version} of projection '${version.of}' is dropped`)
      }
      // after the others, which are not to wait for it
      if (failure !== undefined) return yield* Effect.failCause(failure)
      return { left, phase: versions.find((other) => other.version === version.version)?.phase }
    })
  const what = `Cannot drop versions of projection '${version.of}' that are retired`
  const dropAfter = Duration.toMillis(version.dropAfter)
  const lookOften = Effect.map(look(dropAfter), ({ left, phase }) => left === 0 && phase !== "Building")
  yield* untilDone(lookOften, { what, interval })
  const lookRarely = Effect.map(look(dropAfter + patienceForOthers), ({ phase }) => phase !== "Live")
  yield* untilDone(lookRarely, { what, interval: slowInterval })
})

const isFinal = (error: VersionNameTaken | StorageError): boolean => error instanceof VersionNameTaken

/**
 * @internal
 * Has it known that the projection is a version of one, before its workers begin, and builds it then beside the one that is live, if none after it is, for as
 * long as the scope. Of a projection without versions it does nothing.
 */
export const buildVersion = Effect.fnUntraced(function*(
  projection: Projection<any, any>
): Effect.fn.Return<void, never, any> {
  const { name, version } = projection
  if (version === undefined) return
  const management = yield* ProjectionManagement
  const issue = yield* Effect.orDie(issueOf(undefined))
  yield* management.declare(version, issue).pipe(
    Effect.tapError((error) =>
      isFinal(error)
        ? Effect.void
        : Effect.logWarning("Cannot store that there is this version of its projection. Tries again", error)
    ),
    Effect.retry({ schedule: again, while: (error) => !isFinal(error) }),
    Effect.orDie,
    Effect.annotateLogs({ projection: name })
  )
  // one that cannot be dropped keeps none from being built
  for (const look of [build(projection, version, issue), drop(version, issue)]) {
    yield* look.pipe(Effect.annotateLogs({ projection: name }), Effect.forkScoped)
  }
})
