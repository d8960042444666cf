import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import type { ConsumerFilter } from "../../ConsumerFilter.ts"
import { Journal, sourceKey as journalKey } from "../../Journal.ts"
import { OffsetStore } from "../../OffsetStore.ts"
import { bySource, offsetKey, type Projection, type SourceProjection } from "../../ProjectionDefinition.ts"
import { SourceFailed } from "../../ProjectionError.ts"
import { type Command, ProjectionManagement } from "../../ProjectionManagement.ts"
import { ProjectionRegistry, type RegisteredWorker } from "../../ProjectionRegistry.ts"
import * as SliceRange from "../../SliceRange.ts"
import { timestamps } from "../../Source.ts"
import { announce } from "./announce.ts"
import { type Commands, isNew, watchCommands } from "./commands.ts"
import { errorOf, eventOf } from "./failures.ts"
import { type FollowedFilter, followFilter } from "./followFilter.ts"
import { reportOn } from "./Heartbeats.ts"
import { incarnation } from "./incarnation.ts"
import type { Action, Event } from "./lifecycle.ts"
import { type JournalChange, resetOffsets } from "./resetOffsets.ts"
import { resolveTimes } from "./resolveTimes.ts"
import { WorkerMemory } from "./WorkerMemory.ts"
import { WorkerMonitor } from "./WorkerMonitor.ts"

/** For how many milliseconds a projection that starts waits to be registered. */
const registrationPatience = 1000

/** What is to be done: of several sources, by a worker for each. */
interface Assignment<out E, out R> {
  readonly projection: Projection<E, R>
  readonly range: SliceRange.SliceRange
}

/** @internal A worker that is registered, and does not run yet. */
export interface PreparedWorker<E, R> {
  /** Fails when the worker stops, with the same cause. */
  readonly run: Effect.Effect<never, E, R>
  /** Ends when there is another command than the worker has read. */
  readonly resumed: Effect.Effect<void>
}

/** What the workers of a projection that begin together have in common in a source. */
interface Shared {
  readonly commands: Commands
  readonly filter: FollowedFilter
  /** Ends when the projection is registered, or that takes too long. */
  readonly known: Effect.Effect<void>
}

const share = (
  projection: SourceProjection<any, any>
): Effect.Effect<Shared, never, ProjectionManagement | ConsumerFilter | Scope.Scope> =>
  Effect.gen(function*() {
    const filter = yield* followFilter(projection)
    const commands = yield* watchCommands(projection.name, filter.isThere)
    // so that it can be commanded from now on. If the database is busy or away, the projection starts without waiting
    // for it
    const registering = yield* Effect.forkScoped(
      Effect.ignore(ProjectionManagement.use((management) => management.register(offsetKey(projection))))
    )
    return {
      commands,
      filter,
      known: Effect.asVoid(Effect.timeoutOption(Fiber.join(registering), registrationPatience))
    }
  })

/** A worker, and what drives it. */
interface Driven {
  readonly projection: SourceProjection<any, any>
  /** The keys of all sources of the projection. */
  readonly sources: ReadonlyArray<string>
  readonly range: SliceRange.SliceRange
  readonly store: OffsetStore["Service"]
  readonly management: ProjectionManagement["Service"]
  readonly monitor: WorkerMonitor
  readonly memory: WorkerMemory
  /** The command that the worker has read last. */
  lastRead: Command | undefined
}

/**
 * @internal
 * Registers workers for as long as the scope. Waits until their projections are registered, or that takes too long.
 */
export const prepare = <E, R>(
  assignments: ReadonlyArray<Assignment<E, R>>
): Effect.Effect<ReadonlyArray<PreparedWorker<E, R>>, never, R | Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<any>()
    const registry = yield* ProjectionRegistry
    const store = yield* OffsetStore
    const management = yield* ProjectionManagement
    const projections = new Map(assignments.map(({ projection }) => [projection, bySource(projection)]))
    const monitors = new Map<string, Set<WorkerMonitor>>()
    for (const each of projections.values()) each.forEach((one) => monitors.set(textOf(one), new Set()))
    const workers = assignments.flatMap(({ projection, range }) =>
      projections.get(projection)!.map((one): Driven => ({
        projection: one,
        sources: projection.sources.map(({ provider }) => provider.key),
        range,
        store,
        management,
        monitor: new WorkerMonitor(offsetKey(one), range, context, monitors.get(textOf(one))),
        memory: new WorkerMemory(),
        lastRead: undefined
      }))
    )
    // runs after the workers have left the registry
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => workers.forEach(({ monitor }) => monitor.happened({ _tag: "Ended" })))
    )
    const registeredWorkers = workers.map((worker) => registered(worker, context))
    yield* registry.join(registeredWorkers)
    yield* reportOn(registeredWorkers)
    const shared = new Map<string, Shared>()
    for (const { projection } of workers) {
      const text = textOf(projection)
      if (!shared.has(text)) shared.set(text, yield* share(projection))
    }
    yield* Effect.forkScoped(announceAll(workers), { startImmediately: true })
    yield* Effect.forEach(shared.values(), ({ known }) => known, { concurrency: "unbounded", discard: true })
    return workers.map((worker) => {
      const { commands, filter } = shared.get(textOf(worker.projection))!
      return { run: run(worker, commands, filter), resumed: newCommand(worker, commands) }
    })
    // R includes the stores, which the types do not know here
  }) as Effect.Effect<ReadonlyArray<PreparedWorker<E, R>>, never, any>

/** As a key of a map. */
const textOf = (projection: SourceProjection<any, any>): string => JSON.stringify(offsetKey(projection))

/** Says what runs, each projection once its workers in a source know where they begin. */
const announceAll = (workers: ReadonlyArray<Driven>): Effect.Effect<void> =>
  Effect.forEach(
    Map.groupBy(workers, ({ projection }) => projection).entries(),
    ([projection, workers]) =>
      Effect.forEach(
        workers,
        ({ monitor }) => monitor.until(({ revision, state }) => revision !== undefined || state === "Paused"),
        { concurrency: "unbounded" }
      ).pipe(
        Effect.flatMap((statuses) =>
          statuses.some(({ state }) => state === "Ended") ? Effect.void : announce(projection, statuses)
        )
      ),
    { concurrency: "unbounded", discard: true }
  )

/** The worker as others see it. */
const registered = (driven: Driven, context: Context.Context<any>): RegisteredWorker => {
  const { management, monitor, projection, range, sources, store } = driven
  const { provider } = projection.source
  const key = offsetKey(projection)
  const heads = (range: SliceRange.SliceRange) => ofSource(provider.heads(range))
  const ofSource = <A>(effect: Effect.Effect<A, unknown, any>): Effect.Effect<A, SourceFailed> =>
    Effect.mapError(
      Effect.provideContext(effect, context),
      (cause) => new SourceFailed({ projection: projection.name, cause })
    )
  return {
    key,
    sources,
    range,
    get status() {
      return monitor.status
    },
    get reading() {
      return monitor.reading
    },
    until: (predicate) => monitor.until(predicate),
    hasNewCommand: Effect.map(management.command(projection.name), (command) => isNew(command, driven.lastRead)),
    heads: Effect.tap(
      heads(range),
      (heads) => Effect.sync(() => heads.size > 0 && monitor.begun())
    ),
    headsIn: heads,
    // a journal tells the same to all who name its entity type
    headsOf: key.source.startsWith(journalKey("")) ? Context.getOrUndefined(context, Journal) ?? provider : provider,
    stored: Effect.flatMap(
      store.load(key, range),
      ({ journal, offsets, revision }) =>
        journal === timestamps
          ? Effect.succeed({ offsets, revision })
          : Effect.map(ofSource(resolveTimes(provider, range, offsets)), (offsets) => ({ offsets, revision }))
    )
  }
}

/** Ends when there is another command than the worker has read, if it has read one. */
const newCommand = (driven: Driven, commands: Commands): Effect.Effect<void> =>
  Effect.suspend(() => driven.lastRead === undefined ? Effect.never : commands.changedFrom(driven.lastRead))

/** Does what the lifecycle says, and tells it what has happened then, until it says to stop. */
const run = (driven: Driven, commands: Commands, filter: FollowedFilter): Effect.Effect<never, any, any> =>
  Effect.gen(function*() {
    const { monitor, projection: { source: { provider } } } = driven
    if (provider.hold !== undefined) yield* provider.hold
    // before it reads its command: once it has, it must not look stopped any more
    let action = monitor.happened({ _tag: "Started" })
    while (action._tag !== "Stop") action = monitor.happened(yield* perform(driven, commands, filter, action))
    const { cause, event } = action.failure
    yield* Effect.logError(
      event === undefined
        ? "Stops, and waits for a person"
        : `Stops at event ${event.sequenceNumber} of '${event.persistenceId}', which cannot be processed`,
      cause
    )
    return yield* Effect.failCause(cause)
  }).pipe(
    Effect.scoped,
    Effect.annotateLogs({ ...offsetKey(driven.projection), slices: SliceRange.format(driven.range) })
  )

const perform = (
  driven: Driven,
  commands: Commands,
  filter: FollowedFilter,
  action: Exclude<Action, { readonly _tag: "Stop" }>
): Effect.Effect<Event, never, any> => {
  switch (action._tag) {
    case "ReadCommand":
      return readCommand(driven, commands)
    case "Begin":
      return begin(driven, commands, filter)
    case "AwaitCommand":
      return Effect.as(newCommand(driven, commands), { _tag: "Interrupted" })
    case "Wait":
      return wait(driven, newCommand(driven, commands), action.millis)
    case "ResetOffsets":
      return reset(driven, action.cause, action.change)
    case "GoOn":
      return Effect.never
  }
}

/** One that has just been seen need not be read once more. */
const readCommand = (driven: Driven, commands: Commands): Effect.Effect<Event> => {
  const seen = driven.lastRead && commands.newerThan(driven.lastRead)
  const command = seen === undefined ? driven.management.command(driven.projection.name) : Effect.succeed(seen)
  return Effect.matchCause(command, {
    onFailure: (cause): Event => ({ _tag: "Failed", cause }),
    onSuccess: (command): Event => {
      driven.lastRead = command
      return { _tag: "Commanded", paused: command.paused }
    }
  })
}

const begin = Effect.fnUntraced(function*(
  driven: Driven,
  commands: Commands,
  filter: FollowedFilter
): Effect.fn.Return<Event, never, any> {
  const { lastRead } = driven
  const begun = yield* Clock.monotonicTimeNanos
  const cause = yield* Effect.flip(Effect.sandbox(incarnation({
    ...driven,
    filter,
    interrupted: newCommand(driven, commands),
    unlessNew: lastRead === undefined
      ? Effect.void
      : commands.unlessNew(lastRead, (wait) => driven.monitor.waitsForFilter(wait))
  })))
  const lasted = Number((yield* Clock.monotonicTimeNanos) - begun) / 1e6
  const canReset = (error: unknown) =>
    driven.projection.source.provider.onReplaced === "rewind" && driven.memory.isOfSource(error)
  return eventOf(cause, { lasted, canReset })
})

/** Logs why it waits. A fencing is one line without a stack, as it is no fault of the program. */
const wait = Effect.fnUntraced(function*(
  { monitor }: Driven,
  interrupted: Effect.Effect<void>,
  millis: number
): Effect.fn.Return<Event> {
  const jittered = millis * (yield* Random.nextBetween(0.8, 1.2))
  const { failure, state } = monitor.status
  const { cause } = failure!
  const rounded = Math.round(jittered)
  yield* state === "Fenced"
    ? Effect.logWarning(`${(errorOf(cause) as Error).message}. Looks again in ${rounded} ms`)
    : Effect.logWarning(`Restarts in ${rounded} ms`, cause)
  yield* Effect.raceFirst(Effect.sleep(jittered), interrupted)
  return { _tag: "Waited" }
})

const reset = Effect.fnUntraced(function*(
  { management, projection, range, store }: Driven,
  cause: Cause.Cause<unknown>,
  change: JournalChange
): Effect.fn.Return<Event> {
  yield* Effect.logWarning("Begins again, as the journal is not the one that was read", cause)
  const exit = yield* Effect.exit(resetOffsets(store, management, offsetKey(projection), range, change))
  return { _tag: "OffsetsReset", cause, change, isDone: Exit.isSuccess(exit) && exit.value }
})

/**
 * @internal
 * Runs all of the workers for as long as the scope, or none of them. One that stops goes on once it is commanded to.
 */
export const start = <E, R>(
  assignments: ReadonlyArray<Assignment<E, R>>
): Effect.Effect<void, never, R | Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    yield* Effect.onExit(
      Effect.gen(function*() {
        for (const worker of yield* prepare(assignments)) yield* Effect.forkScoped(supervise(worker))
      }).pipe(Scope.provide(scope)),
      (exit) => Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void
    )
  })

const supervise = <E, R>({ resumed, run }: PreparedWorker<E, R>): Effect.Effect<never, never, R> =>
  Effect.forever(Effect.catchCause(run, () => resumed))
