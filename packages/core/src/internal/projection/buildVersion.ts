import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Projection } from "../../ProjectionDefinition.ts"
import { type Issue, issueOf, type Progress, ProjectionManagement } from "../../ProjectionManagement.ts"
import { ProjectionRegistry } from "../../ProjectionRegistry.ts"
import type { ProjectionVersion } from "../../ProjectionVersion.ts"
import * as SliceRange from "../../SliceRange.ts"
import { type Ends, versionLag } from "./versionLag.ts"

/** How often it is looked whether a version is complete, or may be dropped, in milliseconds. */
const interval = 500

/** How long the sources may take to say how far they are. */
const headsPatience = "10 seconds"

/** How soon is tried again what has failed. */
const again = Schedule.min([Schedule.exponential("500 millis"), Schedule.spaced("30 seconds")])

const endsOf = Effect.fnUntraced(function*(
  { name, sources }: Projection<any, any>
): Effect.fn.Return<ReadonlyArray<Ends>, unknown, any> {
  const registry = yield* ProjectionRegistry
  return yield* Effect.forEach(
    sources,
    ({ provider }) =>
      Effect.map(provider.heads(SliceRange.full), (heads): Ends => {
        const waiting = registry.workers(name, provider.key).flatMap(({ status }) => status.waitsFrom ?? [])
        return { source: provider.key, heads, waitsFrom: waiting.toSorted((a, b) => a - b)[0] }
      }),
    { concurrency: "unbounded" }
  )
}, Effect.timeout(headsPatience))

/**
 * Has the version take the place of the one before, if it has come far enough: as far as its sources are, or as they were when they were asked last. While
 * events come, it may never be where its sources are at that moment.
 */
const switchIfComplete = Effect.fnUntraced(function*(
  projection: Projection<any, any>,
  version: ProjectionVersion,
  issue: Issue,
  asked: { last: ReadonlyArray<Ends> | undefined }
): Effect.fn.Return<boolean, unknown, any> {
  const management = yield* ProjectionManagement
  const { last } = asked
  // where they do not answer for long, that was too long ago
  asked.last = undefined
  const now = asked.last = yield* endsOf(projection)
  const isComplete = (progress: ReadonlyArray<Progress>) =>
    [now, last].some((ends) => ends !== undefined && versionLag(ends, progress) <= version.lag)
  // without any lock, as it is too early most of the time
  const progress = yield* management.progress(projection.name, SliceRange.slices(SliceRange.full))
  if (!isComplete(progress)) return false
  const target = `version ${version.version}`
  const isDone = yield* management.complete(version, isComplete, version.switch, { ...issue, target })
  if (isDone) yield* Effect.logInfo(`Version ${version.version} of projection '${version.of}' is live`)
  return isDone
})

/** Looks after the versions until this one is not building any more, and none is to be dropped. */
const follow = Effect.fnUntraced(function*(
  projection: Projection<any, any>,
  version: ProjectionVersion,
  issue: Issue
): Effect.fn.Return<void, never, any> {
  const management = yield* ProjectionManagement
  /** Since when each is known to be retired, in milliseconds of the monotonic clock. */
  const retiredAt = new Map<number, number>()
  const asked = { last: undefined }
  const isBuilding = Effect.map(
    management.versions(version.of),
    (versions) => versions.some((other) => other.version === version.version && other.phase === "Building")
  )
  const dropDue = Effect.gen(function*() {
    const retired = (yield* management.versions(version.of)).filter(({ phase }) => phase === "Retired")
    const now = Number((yield* Clock.monotonicTimeNanos) / 1_000_000n)
    for (const one of retired) {
      const since = retiredAt.get(one.version) ?? now
      retiredAt.set(one.version, since)
      if (now - since < Duration.toMillis(version.dropAfter)) continue
      yield* version.drop(one.version)
      yield* management.drop(one, issue)
      yield* Effect.logInfo(`Version ${one.version} of projection '${version.of}' is dropped`)
    }
    return retired.every((one) => now - retiredAt.get(one.version)! >= Duration.toMillis(version.dropAfter))
  })
  const look = Effect.gen(function*() {
    if (yield* isBuilding) yield* switchIfComplete(projection, version, issue, asked)
    const isDropped = yield* dropDue
    return isDropped && !(yield* isBuilding)
  })
  yield* look.pipe(
    Effect.sandbox,
    Effect.tapError((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        : Effect.logWarning("Cannot look after the versions of its projection. Tries again", cause)
    ),
    Effect.retry(again),
    Effect.repeat({ until: (isDone) => isDone, schedule: Schedule.spaced(interval) }),
    Effect.orDie
  )
})

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
      Effect.logWarning("Cannot store that there is this version of its projection. Tries again", error)
    ),
    Effect.retry(again),
    Effect.orDie,
    Effect.annotateLogs({ projection: name })
  )
  yield* follow(projection, version, issue).pipe(Effect.annotateLogs({ projection: name }), Effect.forkScoped)
})
