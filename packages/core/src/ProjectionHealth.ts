/**
 * Whether projections are well: not while anything of them is frozen, in whichever process, with what, since when, and why.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { HeartbeatStore, type Owner, type ReportedFailure } from "./HeartbeatStore.ts"
import { judgeReports } from "./internal/projection/judgeReports.ts"
import { InvalidInput } from "./InvalidInput.ts"
import type { OffsetKey } from "./OffsetStore.ts"
import { ProjectionManagement, type UnknownProjection } from "./ProjectionManagement.ts"
import { keysOf, nameOf, type ProjectionRef } from "./ProjectionRef.ts"
import { everywhere, versions, type VersionStatus } from "./ProjectionStatus.ts"
import { isAtWork, type Phase } from "./ProjectionVersion.ts"
import type { ReportedWorker } from "./ReportedWorker.ts"
import * as SliceRange from "./SliceRange.ts"
import type { StorageError } from "./StorageError.ts"
import * as Timestamp from "./Timestamp.ts"

/**
 * What is frozen:
 *
 * - `Stopped`: a worker has stopped at an event, or with a final error. It goes on once its projection is resumed.
 * - `Late`: the process of a worker has given no sign of life for three intervals, and no other has its slices.
 * - `Idle`: a worker has not begun, or has failed, again and again, for longer than the patience; or its source is cut off.
 * - `StandsStill`: the offset of a slice has stayed where it is for longer than the patience, though its source has more, and the worker is not busy
 *   with earlier events. Or it has handled nothing for so long, though it has yet to look through a part of the past.
 * - `NoWorker`: nobody has the slices.
 * - `NotSwitched`: a version that is built does not become live, and waits for a person: the switch to it has failed for longer than the patience, or it has
 *   dead letters.
 *
 * @category models
 * @since 0.1.0
 */
export type ProblemKind = "Stopped" | "Late" | "Idle" | "StandsStill" | "NoWorker" | "NotSwitched"

/**
 * Something of a projection that is frozen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  readonly _tag: ProblemKind
  readonly projection: string
  /** The key of its source; of a version that is not switched to, those of all its sources, with commas between them. */
  readonly source: string
  /** The slices that are frozen. */
  readonly slices: ReadonlyArray<SliceRange.SliceRange>
  /** The process of the worker that has them, or that has tried to switch last; undefined if nobody does. */
  readonly owner: Owner | undefined
  /** By the clock of the database, where that is known. */
  readonly since: Timestamp.Timestamp | undefined
  /** What the worker has failed with last, which need not be the reason, or the switch. */
  readonly failure: ReportedFailure | undefined
  /** All of that in a sentence, and what to do. */
  readonly message: string
}

/**
 * How projections are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Health {
  readonly isHealthy: boolean
  readonly problems: ReadonlyArray<Problem>
}

/**
 * When a worker, or a slice, that does not get on is frozen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How long it may take: from 10 seconds, a minute if undefined. Longer than any call of the handler takes, and than `saveWithin`, if it is at-least-once. */
  readonly patience?: Duration.Input | undefined
}

/**
 * What goes wrong when health is asked for. Whoever cannot tell that projections are well should not say that they are.
 *
 * @category errors
 * @since 0.1.0
 */
export type HealthError = UnknownProjection | InvalidInput | StorageError

/** Since when a worker does not get on is reported once it is so long ago, in milliseconds. */
const minimum = 10_000

/** So many projections are looked at together: a statement has room for some thousand names. */
const namesAtOnce = 500

const patienceOf = (options: Options | undefined): Effect.Effect<number, InvalidInput> => {
  const patience = Duration.toMillis(Duration.fromInputUnsafe(options?.patience ?? "1 minute"))
  return patience >= minimum
    ? Effect.succeed(patience)
    : Effect.fail(new InvalidInput({ input: "patience", problem: "it is shorter than 10 seconds" }))
}

const isoOf = (time: Timestamp.Timestamp): string => DateTime.formatIso(DateTime.makeUnsafe(Timestamp.toMillis(time)))

const rangesText = (ranges: ReadonlyArray<SliceRange.SliceRange>): string => ranges.map(SliceRange.format).join(", ")

/** What is wrong with a worker by its report, and what to do. */
const judge = (worker: ReportedWorker, patience: number): readonly [ProblemKind, string] | undefined => {
  const { at, state, stuck } = worker
  if (state === "Stopped") return ["Stopped", "has stopped: repair what it has failed with, and resume the projection"]
  if (state === "Unknown") {
    return [
      "Late",
      `has given no sign of life since ${isoOf(at)}: see whether its process runs and reaches the database`
    ]
  }
  if (stuck === undefined || at - stuck.since < patience * 1000) return undefined
  const since = isoOf(stuck.since)
  if (stuck.slice !== undefined) {
    return [
      "StandsStill",
      `has stood still in slice ${stuck.slice} since ${since}, where its source has more: see what its handler waits for`
    ]
  }
  return state === "CatchingUp" || state === "Running"
    ? [
      "StandsStill",
      `has stood still since ${since} in the past that it is to look through once more: see what its handler waits for`
    ]
    : ["Idle", `is ${state} since ${since}: see what it has failed with, or what its start waits for`]
}

const problemsOf = (
  { projection, source }: OffsetKey,
  workers: ReadonlyArray<ReportedWorker>,
  patience: number
): ReadonlyArray<Problem> => {
  const problems = workers.flatMap((worker): ReadonlyArray<Problem> => {
    const found = judge(worker, patience)
    if (found === undefined) return []
    const { at, failure, owner, range, state, stuck } = worker
    const [_tag, message] = found
    const why = failure === undefined ? "" : `. It has failed last with ${failure.tag}: ${failure.message}`
    const slices = _tag === "StandsStill" && stuck?.slice !== undefined
      ? [SliceRange.make(stuck.slice, stuck.slice)]
      : [range]
    return [{
      _tag,
      projection,
      source,
      slices,
      owner,
      since: state === "Unknown" ? at : state === "Stopped" ? failure?.at : stuck?.since,
      failure,
      message: `A worker of projection '${projection}' of '${source}', slices ${SliceRange.format(range)} in process ` +
        `'${owner.name}', ${message}${why}`
    }]
  })
  const slices = missingOf(workers)
  if (slices.length === 0) return problems
  return [...problems, {
    _tag: "NoWorker",
    projection,
    source,
    slices,
    owner: undefined,
    since: undefined,
    failure: undefined,
    message:
      `No process runs a worker of projection '${projection}' of '${source}' for slices ${rangesText(slices)}: ` +
      "start it, or clear it if it is not used any more"
  }]
}

/** The ranges of slices that no worker has. */
const missingOf = (workers: ReadonlyArray<ReportedWorker>): ReadonlyArray<SliceRange.SliceRange> => {
  const missing: Array<SliceRange.SliceRange> = []
  let next: number = SliceRange.full.min
  for (const { range: { max, min } } of workers.toSorted((a, b) => a.range.min - b.range.min)) {
    if (min > next) missing.push(SliceRange.make(next, min - 1))
    next = Math.max(next, max + 1)
  }
  if (next <= SliceRange.full.max) missing.push(SliceRange.make(next, SliceRange.full.max))
  return missing
}

/** What keeps a version that is built from being live, and waits for a person. One that is paused is meant to wait. */
const problemsOfBuilding = (
  { failedSwitch, hasDeadLetters, isPaused, of, phase, projection, version }: VersionStatus,
  live: VersionStatus | undefined,
  sources: ReadonlyArray<string>,
  patience: number
): ReadonlyArray<Problem> => {
  if (phase !== "Building" || isPaused) return []
  const problem = {
    _tag: "NotSwitched",
    projection,
    source: sources.join(", "),
    slices: [SliceRange.full]
  } as const
  const meanwhile = live === undefined ? "no version is live" : `version ${live.version} stays live`
  const what = `Version ${version} of projection '${of}' is not switched to, and ${meanwhile}`
  if (hasDeadLetters) {
    const message = `${what}: it has dead letters. Handle or discard them`
    return [{ ...problem, owner: undefined, since: undefined, failure: undefined, message }]
  }
  if (failedSwitch === undefined) return []
  const { failure, owner, since, tries } = failedSwitch
  // while it is behind, it is not tried
  if (failure.at - since < patience * 1000) return []
  const message =
    `${what}: that has failed ${tries === 1 ? "once" : `${tries} times`} since ${
      isoOf(since)
    }, last in process '${owner.name}' with ` +
    `${failure.tag}: ${failure.message}. Repair its switch, or what its sources fail with; it is tried again by itself`
  return [{ ...problem, owner, since, failure, message }]
}

const healthOf = (problems: ReadonlyArray<Problem>): Health => ({ isHealthy: problems.length === 0, problems })

/**
 * Whether anything of a projection is frozen, in any of the processes that share the storage, as those have said last. Whoever asks need not run the
 * projection. Fails with `UnknownProjection` if it was never started on this storage.
 *
 * **Details**
 *
 * A projection that is paused is well, and so is one whose workers are fenced by others, or a version that is retired. One that has nothing to do stands still and is well. Of a
 * source without positions, such as a plain Akka producer, it is not known whether a slice stands still. While workers move to another process, nobody may have their
 * slices for some seconds: take what is so twice in a row.
 *
 * **Example** (A projection that has stopped)
 *
 * ```ts
 * import {
 *   EntityType,
 *   EventCodec,
 *   Journal,
 *   MemoryStorage,
 *   Projection,
 *   ProjectionHealth,
 *   ProjectionStatus,
 *   RecoveryStrategy,
 *   Source
 * } from "@sluice/core"
 * import { Effect, Layer, References, Schedule } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = Source.journal(Note).pipe(
 *   Projection.exactlyOnce("notes", () => Effect.fail("broken")),
 *   Projection.recovery(RecoveryStrategy.fail)
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* Layer.build(Projection.layer(Notes))
 *   yield* Journal.append(Note, { id: "n-1", events: ["one"] })
 *   const { problems } = yield* ProjectionHealth.of("notes").pipe(
 *     Effect.repeat({ until: ({ problems }) => problems[0]?._tag === "Stopped", schedule: Schedule.spaced("100 millis") })
 *   )
 *   return problems.map(({ _tag, failure }) => [_tag, failure?.event])
 * }).pipe(Effect.scoped, Effect.provide(MemoryStorage.layer), Effect.provideService(References.MinimumLogLevel, "None"))
 * await Effect.runPromise(program) // => [["Stopped", { persistenceId: "note|n-1", sequenceNumber: 1 }]]
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const of = (
  projection: ProjectionRef,
  options?: Options
): Effect.Effect<Health, HealthError, HeartbeatStore | ProjectionManagement> =>
  Effect.gen(function*() {
    const patience = yield* patienceOf(options)
    const name = nameOf(projection)
    const given = keysOf(projection)
    const workers = yield* everywhere(projection)
    const keys = given.length > 0
      ? given
      : (yield* ProjectionManagement.use(({ list }) => list)).filter((key) => key.projection === name)
    const { phase } = yield* ProjectionManagement.use(({ command }) => command(name))
    return healthOf(yield* problemsOfAll(name, phase, keys, workers, patience))
  })

/** What is frozen of a projection in some of its sources. */
const problemsOfAll = (
  name: string,
  phase: Phase,
  keys: ReadonlyArray<OffsetKey>,
  workers: ReadonlyArray<ReportedWorker>,
  patience: number
): Effect.Effect<ReadonlyArray<Problem>, UnknownProjection | StorageError, HeartbeatStore | ProjectionManagement> =>
  Effect.gen(function*() {
    // nobody needs to run a version that is retired
    if (!isAtWork(phase)) return []
    const all = phase === "Building" ? yield* versions(name) : []
    const building = all.filter(({ projection }) => projection === name)
    const live = all.find(({ phase }) => phase === "Live")
    const sources = keys.map(({ source }) => source)
    return [
      ...keys.flatMap((key) => problemsOf(key, workers.filter(({ source }) => source === key.source), patience)),
      ...building.flatMap((version) => problemsOfBuilding(version, live, sources, patience))
    ]
  })

/**
 * As {@link of}, of all projections that are registered on the storage, those that nobody runs any more among them: clear these. That takes three statements for
 * each 500 projections, and a few for each version that is built.
 *
 * @category getters
 * @since 0.1.0
 */
export const all = (
  options?: Options
): Effect.Effect<Health, HealthError, HeartbeatStore | ProjectionManagement> =>
  Effect.gen(function*() {
    const patience = yield* patienceOf(options)
    const { commands, list } = yield* ProjectionManagement
    const { reports } = yield* HeartbeatStore
    const keys = Map.groupBy(yield* list, ({ projection }) => projection)
    const found = yield* Effect.forEach(
      Arr.chunksOf(keys.keys(), namesAtOnce),
      Effect.fnUntraced(function*(names) {
        const reported = Map.groupBy(yield* reports(names), ({ key }) => key.projection)
        const known = yield* commands(names)
        return yield* Effect.forEach(names, (name) => {
          const phase = known.get(name)?.phase
          const workers = judgeReports(reported.get(name) ?? [])
          // it may be cleared meanwhile
          return phase === undefined ? Effect.succeed([]) : Effect.catchTag(
            problemsOfAll(name, phase, keys.get(name)!, workers, patience),
            "UnknownProjection",
            () => Effect.succeed([])
          )
        })
      })
    )
    return healthOf(found.flat(2))
  })
