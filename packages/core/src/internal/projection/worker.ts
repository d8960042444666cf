import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import type { OffsetStore } from "../../OffsetStore.ts"
import { offsetKey, type SourceProjection } from "../../ProjectionDefinition.ts"
import { CommandsLost, SourceFailed } from "../../ProjectionError.ts"
import type { Command, ProjectionManagement } from "../../ProjectionManagement.ts"
import type { RegisteredWorker } from "../../ProjectionRegistry.ts"
import { isAtWork } from "../../ProjectionVersion.ts"
import * as SliceRange from "../../SliceRange.ts"
import { timestamps } from "../../Source.ts"
import { type Commands, isNew } from "./commands.ts"
import { errorOf, eventOf } from "./failures.ts"
import type { FollowedFilter } from "./followFilter.ts"
import { tellOfLostAtEnd } from "./handling.ts"
import { incarnation } from "./incarnation.ts"
import type { Action, Event } from "./lifecycle.ts"
import { type JournalChange, resetOffsets } from "./resetOffsets.ts"
import { resolveTimes } from "./resolveTimes.ts"
import { headsOf } from "./SharedHeads.ts"
import type { WorkerMemory } from "./WorkerMemory.ts"
import type { WorkerMonitor } from "./WorkerMonitor.ts"

/** @internal What the workers of a projection in this process have in common in a source. */
export interface Shared {
  readonly commands: Commands
  readonly filter: FollowedFilter
}

/** @internal A worker, and what drives it. */
export interface Driven {
  readonly projection: SourceProjection<any, any>
  /** The keys of all sources of the projection. */
  readonly sources: ReadonlyArray<string>
  readonly range: SliceRange.SliceRange
  readonly store: OffsetStore["Service"]
  readonly management: ProjectionManagement["Service"]
  readonly monitor: WorkerMonitor
  readonly memory: WorkerMemory
  /** Is opened when its slices are others' from now on. */
  readonly leave: Latch.Latch
  /** Whether slices are just being handed over, in this process or in others, once it has looked for commands. */
  readonly isHandover: Effect.Effect<boolean>
  /** The command that the worker has read last. */
  lastRead: Command | undefined
  /** The revision of the command that it has begun with last, if that was not to be the newest any more. */
  interrupted: number | undefined
}

/** @internal The worker as others see it. */
export const registered = (driven: Driven, context: Context.Context<any>): RegisteredWorker => {
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
    headsOf: headsOf(projection.source, context),
    stored: Effect.flatMap(
      store.load(key, range),
      ({ journal, offsets, revision }) =>
        journal === timestamps
          ? Effect.succeed({ offsets, revision })
          : Effect.map(ofSource(resolveTimes(provider, range, offsets)), (offsets) => ({ offsets, revision }))
    )
  }
}

/** @internal What the log says of a worker with each line. */
export const annotationsOf = ({ projection, range }: Driven) => ({
  ...offsetKey(projection),
  slices: SliceRange.format(range)
})

/** @internal Ends when there is another command than the worker has read, if it has read one, or when it is to leave. */
export const newCommand = (driven: Driven, commands: Commands): Effect.Effect<void> =>
  Effect.suspend(() =>
    driven.lastRead === undefined
      ? driven.leave.await
      : Effect.raceFirst(commands.changedFrom(driven.lastRead), driven.leave.await)
  )

/**
 * @internal
 * Does what the lifecycle says, and tells it what has happened then, until it says to stop. Fails when the worker stops, with the same cause, and ends
 * when it has left.
 */
export const run = (driven: Driven, { commands, filter }: Shared): Effect.Effect<void, any, any> =>
  Effect.gen(function*() {
    const { leave, monitor, projection: { source: { provider } } } = driven
    if (provider.hold !== undefined) yield* Effect.raceFirst(provider.hold, leave.await)
    if (leave.isOpen()) return
    // before it reads its command: once it has, it must not look stopped any more
    let action = monitor.happened({ _tag: "Started" })
    while (action._tag !== "Stop") {
      action = monitor.happened(yield* perform(driven, commands, filter, action))
      if (leave.isOpen()) return
    }
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
    Effect.annotateLogs(annotationsOf(driven))
  )

/** @internal Says what has become of what only the worker knows of, before its slices are others'. */
export const end = (driven: Driven): Effect.Effect<void, never, any> =>
  tellOfLostAtEnd({ ...driven, key: offsetKey(driven.projection) }, driven.range).pipe(
    Effect.annotateLogs(annotationsOf(driven))
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
      return wait(driven, newCommand(driven, commands), action)
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
      return { _tag: "Commanded", paused: command.paused, isRetired: !isAtWork(command.phase) }
    }
  })
}

const begin = Effect.fnUntraced(function*(
  driven: Driven,
  commands: Commands,
  filter: FollowedFilter
): Effect.fn.Return<Event, never, any> {
  const { lastRead } = driven
  const knownRevision = lastRead?.revision ?? 0
  const begun = yield* Clock.monotonicTimeNanos
  const cause = yield* Effect.flip(Effect.sandbox(incarnation({
    ...driven,
    filter,
    interrupted: newCommand(driven, commands),
    knownRevision,
    isNewest: driven.interrupted === knownRevision,
    unlessNew: lastRead === undefined
      ? Effect.void
      : commands.unlessNew(lastRead, (wait) => driven.monitor.waitsForFilter(wait))
  })))
  const lasted = Number((yield* Clock.monotonicTimeNanos) - begun) / 1e6
  const canReset = (error: unknown) =>
    driven.projection.source.provider.onReplaced === "rewind" && driven.memory.isOfSource(error)
  const event = eventOf(cause, { lasted, canReset })
  const isInterrupted = event._tag === "Interrupted" || errorOf(cause) instanceof CommandsLost
  driven.interrupted = isInterrupted ? knownRevision : undefined
  return event._tag === "Fenced" && (yield* driven.isHandover) ? { ...event, isHandover: true } : event
})

/** Logs why it waits. A fencing is one line without a stack, as it is no fault of the program. */
const wait = Effect.fnUntraced(function*(
  { monitor }: Driven,
  interrupted: Effect.Effect<void>,
  { isExpected, millis }: Extract<Action, { _tag: "Wait" }>
): Effect.fn.Return<Event> {
  const jittered = millis * (yield* Random.nextBetween(0.8, 1.2))
  const { failure, state } = monitor.status
  const { cause } = failure!
  const rounded = Math.round(jittered)
  yield* state === "Fenced"
    ? isExpected === true
      ? Effect.logDebug(`Another worker still has one of its slices. Looks again in ${rounded} ms`)
      : Effect.logWarning(`${(errorOf(cause) as Error).message}. Looks again in ${rounded} ms`)
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
