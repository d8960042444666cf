import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ConsumerFilter } from "../../ConsumerFilter.ts"
import { OffsetStore } from "../../OffsetStore.ts"
import { Placement } from "../../Placement.ts"
import { bySource, offsetKey, type Projection, type SourceProjection } from "../../ProjectionDefinition.ts"
import { type Command, ProjectionManagement } from "../../ProjectionManagement.ts"
import { ProjectionRegistry } from "../../ProjectionRegistry.ts"
import * as SliceRange from "../../SliceRange.ts"
import { count, share } from "./announce.ts"
import { buildVersion } from "./buildVersion.ts"
import { lookNow, watchCommands } from "./commands.ts"
import { followFilter } from "./followFilter.ts"
import { countOf as commandedCount, scaleByLag } from "./scaleByLag.ts"
import { again, type NewTarget, type Target, targets } from "./targets.ts"
import type { Shared } from "./worker.ts"
import { WorkerSet } from "./WorkerSet.ts"

/** For how many milliseconds a projection that starts waits to be registered, and for what it was commanded. */
const patience = 1000

/** The same for where its workers are to be. */
const placementPatience = 5_000

/** For how many milliseconds after its slices were divided anew a worker is fenced by nobody's fault, as others have yet to learn of it. */
const handoverTime = 10_000

/** What is to be done: of several sources, by a worker for each. */
interface Assignment<out E, out R> {
  readonly projection: Projection<E, R>
  readonly range: SliceRange.SliceRange
}

/** A set of workers that is in the registry, and does not run yet. */
interface Opened {
  readonly set: WorkerSet
  readonly shared: Shared
  /** Ends when the projection is registered, or that takes too long. */
  readonly known: Effect.Effect<void>
}

const shareOf = (
  projection: SourceProjection<any, any>
): Effect.Effect<
  Pick<Opened, "shared" | "known">,
  never,
  ProjectionManagement | ConsumerFilter | Scope.Scope
> =>
  Effect.gen(function*() {
    const filter = yield* followFilter(projection)
    const commands = yield* watchCommands(projection.name, filter.isThere)
    // so that it can be commanded from now on. If the database is busy or away, the projection starts without waiting
    // for it
    const registering = yield* Effect.forkScoped(
      Effect.ignore(ProjectionManagement.use((management) => management.register(offsetKey(projection))))
    )
    return {
      shared: { commands, filter },
      known: Effect.asVoid(Effect.timeoutOption(Fiber.join(registering), patience))
    }
  })

/** Registers workers for as long as the scope, all of them or none. */
const open = Effect.fnUntraced(function*(
  assignments: ReadonlyArray<Assignment<any, any>>,
  isHandover: Effect.Effect<boolean> = Effect.succeed(false),
  lease?: Placement["lease"]
): Effect.fn.Return<ReadonlyArray<Opened>, never, any> {
  const options = {
    context: yield* Effect.context<any>(),
    registry: yield* ProjectionRegistry,
    store: yield* OffsetStore,
    management: yield* ProjectionManagement,
    scope: yield* Effect.scope,
    isHandover,
    lease
  }
  const sets = Array.from(Map.groupBy(assignments, ({ projection }) => projection)).flatMap(([projection, some]) => {
    const sources = projection.sources.map(({ provider }) => provider.key)
    return bySource(projection).map((projection) =>
      new WorkerSet({ ...options, projection, sources }, some.map(({ range }) => range))
    )
  })
  const registered = () => sets.flatMap(({ registered }) => registered)
  // runs after the workers have left the registry
  yield* Effect.addFinalizer(() => Effect.sync(() => sets.forEach((set) => set.end())))
  yield* Effect.acquireRelease(
    Effect.suspend(() => options.registry.replace([], registered())),
    () => Effect.suspend(() => options.registry.replace(registered(), []))
  )
  return yield* Effect.forEach(sets, (set) => Effect.map(shareOf(set.projection), (rest) => ({ set, ...rest })))
})

/** What becomes of a worker that stops. */
type Stopped = Parameters<WorkerSet["begin"]>[1]

const untilResumed: Stopped = (_, resumed) => resumed

/** Runs the workers for as long as the scope. */
const beginFixed = Effect.fnUntraced(function*(
  assignments: ReadonlyArray<Assignment<any, any>>,
  stopped: Stopped
): Effect.fn.Return<void, never, any> {
  for (const projection of new Set(assignments.map(({ projection }) => projection))) yield* buildVersion(projection)
  const opened = yield* open(assignments)
  for (const { set } of opened) yield* set.report
  for (const { set } of opened) yield* Effect.forkScoped(set.announce(), { startImmediately: true })
  yield* Effect.forEach(opened, ({ known }) => known, { concurrency: "unbounded", discard: true })
  for (const { set, shared } of opened) yield* set.begin(shared, stopped)
})

/** Runs the workers that are this process's, of as many as were commanded, for as long as the scope. */
const beginPlaced = Effect.fnUntraced(function*(
  projection: Projection<any, any>,
  stopped: Stopped
): Effect.fn.Return<void, never, any> {
  const { name, workers } = projection
  yield* buildVersion(projection)
  const management = yield* ProjectionManagement
  const registry = yield* ProjectionRegistry
  let target: Target = { workers, assigned: new Set() }
  let changedAt: bigint | undefined
  const isHandover = Effect.gen(function*() {
    yield* Effect.timeoutOption(Effect.provideService(lookNow, ProjectionManagement, management), patience)
    const newest = commands.newest()
    if (newest !== undefined && countOf(newest) !== target.workers) return true
    return changedAt !== undefined &&
      (yield* Clock.monotonicTimeNanos) - changedAt < BigInt(handoverTime) * 1_000_000n
  })
  const countOf = (command: Command) => commandedCount(projection, command)
  const all = SliceRange.split(workers).map((range) => ({ projection, range }))
  // one for each source
  const placement = yield* Placement
  const opened = yield* open(all, isHandover, placement.lease)
  const { commands } = opened[0]!.shared
  const counts = Effect.timeoutOption(Stream.runHead(commands.seen), patience).pipe(
    Effect.map((first) => Option.match(Option.flatten(first), { onNone: () => workers, onSome: countOf })),
    Stream.fromEffect,
    Stream.concat(Stream.map(commands.seen, countOf)),
    Stream.changes
  )
  const newest = yield* targets(name, counts, placement)
  const change = (next: Target) =>
    Effect.suspend(() => {
      target = next
      const ranges = rangesOf(next)
      return Effect.forEach(opened, ({ set }) => set.change(ranges), { discard: true })
    })
  // Before the placement has answered, nobody knows whether the workers are another process's, which would be behind nothing here. It ends before its
  // workers leave the registry
  const isPlaced = yield* registry.place(name, projection.sources.map(({ provider }) => provider.key))
  const apply = (next: NewTarget) => Effect.ensuring(Effect.andThen(change(next), isPlaced), next.applied.open)
  const begun = Effect.flatMap(Clock.monotonicTimeNanos, (now) => Effect.sync(() => void (changedAt = now)))
  const known = opened.map(({ known }) => known)
  const [first] = yield* Effect.all([Effect.timeoutOption(Queue.take(newest), placementPatience), ...known], {
    concurrency: "unbounded"
  })
  // where it takes longer, there are no workers until then
  const waiting = Effect.logWarning(
    "Still waits to start: the placement has not said yet which of its workers run here"
  )
  yield* Option.match(first, {
    onNone: () => Effect.andThen(change(target), Effect.annotateLogs(waiting, { projection: name })),
    onSome: apply
  })
  if (target.assigned.size < target.workers) yield* begun
  let isAnnounced = false
  const announce = Effect.suspend(() => {
    isAnnounced = true
    return Effect.forEach(
      opened,
      ({ set }) => Effect.forkScoped(set.announce(target.workers), { startImmediately: true }),
      { discard: true }
    )
  })
  for (const { set } of opened) yield* set.report
  if (Option.isSome(first)) yield* announce
  for (const { set, shared } of opened) yield* set.begin(shared, stopped)
  yield* scaleByLag(projection, {
    newest: commands.newest,
    runsFirst: () => target.assigned.has(0),
    here: () => opened.flatMap(({ set }) => set.registered)
  })
  const follow = Effect.gen(function*() {
    const before = rangesOf(target)
    let next = yield* Queue.take(newest)
    const attempt = Effect.gen(function*() {
      // there may be another answer since it was tried last
      next = Option.getOrElse(yield* Queue.poll(newest), () => next)
      yield* begun
      yield* apply(next)
    })
    yield* attempt.pipe(
      Effect.sandbox,
      Effect.tapError((cause) => Effect.logError("Cannot change the workers of this process. Tries again", cause)),
      Effect.retry(again)
    )
    const after = rangesOf(next)
    if (!isAnnounced) yield* announce
    else if (textOf(before) !== textOf(after)) yield* tell(name, next.workers, after)
  })
  yield* follow.pipe(
    Effect.forever,
    Effect.annotateLogs({ projection: name }),
    Effect.forkScoped
  )
})

const rangesOf = ({ assigned, workers }: Target): ReadonlyArray<SliceRange.SliceRange> =>
  SliceRange.split(workers).filter((_, i) => assigned.has(i))

const textOf = (ranges: ReadonlyArray<SliceRange.SliceRange>): string => ranges.map(SliceRange.format).join()

/** Says which workers run from now on. */
const tell = (
  projection: string,
  workers: number,
  here: ReadonlyArray<SliceRange.SliceRange>
): Effect.Effect<void> =>
  Effect.logInfo(`Projection '${projection}' has ${count(workers)} now, ${share(here, workers)}`)

/** Nothing is left behind where it does not begin. */
const started = (begin: Effect.Effect<void, never, any>): Effect.Effect<void, never, any> =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    yield* Effect.onExit(
      Scope.provide(begin, scope),
      (exit) => Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void
    )
  })

const untilStopped = (
  begin: (stopped: Stopped) => Effect.Effect<void, never, any>
): Effect.Effect<never, any, any> =>
  Effect.scoped(Effect.gen(function*() {
    const failed = yield* Deferred.make<never, any>()
    yield* begin((cause) => Effect.andThen(Deferred.failCause(failed, cause), Effect.never))
    return yield* Deferred.await(failed)
  }))

/** @internal Runs all of the workers for as long as the scope, or none of them. One that stops goes on once it is commanded to. */
export const start = <E, R>(
  assignments: ReadonlyArray<Assignment<E, R>>
): Effect.Effect<void, never, R | Scope.Scope> => started(beginFixed(assignments, untilResumed))

/** @internal Runs workers until one of them stops, and fails as that did. */
export const run = <E, R>(assignments: ReadonlyArray<Assignment<E, R>>): Effect.Effect<never, E, R> =>
  untilStopped((stopped) => beginFixed(assignments, stopped))

/** @internal As {@link start}, those workers that are this process's, of as many as were commanded. */
export const startPlaced = <E, R>(projection: Projection<E, R>): Effect.Effect<void, never, R | Scope.Scope> =>
  started(beginPlaced(projection, untilResumed))

/** @internal As {@link run}, those workers that are this process's, of as many as were commanded. */
export const runPlaced = <E, R>(projection: Projection<E, R>): Effect.Effect<never, E, R> =>
  untilStopped((stopped) => beginPlaced(projection, stopped))
