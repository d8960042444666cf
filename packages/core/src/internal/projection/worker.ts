import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { OffsetStore } from "../../OffsetStore.ts"
import { offsetKey, type Projection } from "../../ProjectionDefinition.ts"
import { SourceFailed } from "../../ProjectionError.ts"
import { type Command, ProjectionManagement } from "../../ProjectionManagement.ts"
import { ProjectionRegistry, type RegisteredWorker } from "../../ProjectionRegistry.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { WorkerFailure } from "../../WorkerStatus.ts"
import { beginAgain } from "./beginAgain.ts"
import { type Commands, watchCommands } from "./commands.ts"
import { errorOf, eventOf } from "./failures.ts"
import { incarnation } from "./incarnation.ts"
import type { Action, Event } from "./lifecycle.ts"
import { resolveTimes } from "./resolveTimes.ts"
import { WorkerMemory } from "./WorkerMemory.ts"
import { WorkerMonitor } from "./WorkerMonitor.ts"

/** For how many milliseconds a projection that starts waits to be known. */
const registrationPatience = 1000

/** @internal A worker that is registered, and does not run yet. */
export interface PreparedWorker<E, R> {
  /** Fails when the worker stops, as it does. */
  readonly run: Effect.Effect<never, E, R>
  /** Ends when there is another command than the worker has read. */
  readonly resumed: Effect.Effect<void>
}

/** What the workers of a projection have in common in this process. */
interface Shared {
  readonly commands: Commands
  /** Ends when the projection is known, or that takes too long. */
  readonly known: Effect.Effect<void>
}

const share = (projection: Projection<any, any>): Effect.Effect<Shared, never, ProjectionManagement | Scope.Scope> =>
  Effect.gen(function*() {
    const commands = yield* watchCommands(projection.name)
    // so that it can be commanded from now on; where that takes longer, as the database is busy or away, nobody waits for it
    const registering = yield* Effect.forkScoped(
      Effect.ignore(ProjectionManagement.use((management) => management.register(offsetKey(projection))))
    )
    const known = yield* Effect.cached(Effect.timeoutOption(Fiber.join(registering), registrationPatience))
    return { commands, known: Effect.asVoid(known) }
  })

/** @internal Registers a worker for as long as the scope. */
export const prepare = <E, R>(
  projection: Projection<E, R>,
  range: SliceRange.SliceRange
): Effect.Effect<PreparedWorker<E, R>, never, R | Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<any>()
    const store = yield* OffsetStore
    const registry = yield* ProjectionRegistry
    const monitor = new WorkerMonitor(projection.name, range, context)
    const key = offsetKey(projection)
    const { provider } = projection.source
    /** The command that the worker has read last. */
    let command: Command | undefined

    const ofSource = <A>(effect: Effect.Effect<A, unknown, any>): Effect.Effect<A, SourceFailed> =>
      Effect.mapError(
        Effect.provideContext(effect, context),
        (cause) => new SourceFailed({ projection: projection.name, cause })
      )
    const management = yield* ProjectionManagement
    const worker: RegisteredWorker = {
      key,
      range,
      get status() {
        return monitor.status
      },
      until: (predicate) => monitor.until(predicate),
      hasNewCommand: Effect.map(
        management.command(projection.name),
        ({ revision }) => revision !== command?.revision
      ),
      heads: ofSource(provider.heads(range)),
      stored: Effect.flatMap(store.load(key, range), ({ offsets, revision }) =>
        Effect.map(ofSource(resolveTimes(provider, range, offsets)), (offsets) => ({ offsets, revision })))
    }
    // once it is not registered any more
    yield* Effect.addFinalizer(() =>
      Effect.sync(() =>
        monitor.happened({ _tag: "Ended" })
      )
    )
    const { commands, known } = yield* registry.join(worker, share(projection))
    yield* known

    const memory = new WorkerMemory()
    const resumed = Effect.suspend(() => command === undefined ? Effect.never : commands.changedFrom(command))

    const begin = Effect.gen(function*() {
      const begun = yield* Clock.monotonicTimeNanos
      const told = commands.changedFrom(command!)
      const cause = yield* Effect.flip(Effect.sandbox(
        incarnation({ projection, range, store, management, monitor, memory, interrupted: told })
      ))
      const lasted = Number((yield* Clock.monotonicTimeNanos) - begun) / 1e6
      const canReset = (error: unknown) => provider.onReplaced === "rewind" && memory.isOfSource(error)
      return eventOf(cause, { lasted, canReset })
    })

    const readCommand = Effect.matchCause(commands.current, {
      onFailure: (cause): Event => ({ _tag: "Failed", cause }),
      onSuccess: (current): Event => {
        command = current
        return { _tag: "Commanded", paused: current.paused }
      }
    })

    const wait = Effect.fnUntraced(function*(millis: number) {
      const jitter = yield* Random.nextBetween(0.8, 1.2)
      const jittered = millis * jitter
      yield* logWait(monitor, Math.round(jittered))
      yield* Effect.raceFirst(Effect.sleep(jittered), resumed)
    })

    const perform = (action: Exclude<Action, { _tag: "Stop" }>): Effect.Effect<Event, never, any> => {
      switch (action._tag) {
        case "ReadCommand":
          return readCommand
        case "Begin":
          return begin
        case "AwaitCommand":
          return Effect.as(commands.changedFrom(command!), { _tag: "Interrupted" })
        case "Wait":
          return Effect.as(wait(action.millis), { _tag: "Waited" })
        case "ResetOffsets": {
          const { cause, change } = action
          return Effect.logWarning("Begins again, as the journal is not the one that was read", cause).pipe(
            Effect.andThen(Effect.exit(beginAgain(store, management, key, range, change))),
            Effect.map((exit): Event => ({ _tag: "OffsetsReset", cause, change, isDone: exit._tag === "Success" }))
          )
        }
        case "GoOn":
          return Effect.never
      }
    }

    const run = Effect.gen(function*() {
      // before it reads its command, or it would look as if it had, and stayed stopped
      let action = monitor.happened({ _tag: "Started" })
      while (action._tag !== "Stop") action = monitor.happened(yield* perform(action))
      yield* logStop(action.failure)
      return yield* Effect.failCause(action.failure.cause)
    }).pipe(
      Effect.annotateLogs({ projection: projection.name, slices: SliceRange.format(range) })
    ) as Effect.Effect<never, E, any>

    return { run, resumed }
    // that it needs the stores is a part of R, which the types do not know here
  }) as Effect.Effect<PreparedWorker<E, R>, never, any>

/** @internal Runs a worker; where it stops, it goes on once it is commanded to. */
export const supervise = <E, R>({ resumed, run }: PreparedWorker<E, R>): Effect.Effect<never, never, R> =>
  Effect.forever(Effect.catchCause(run, () => resumed))

/** Says why it waits: a projection that runs twice in a line, as that is no fault of the program. */
const logWait = (monitor: WorkerMonitor, millis: number): Effect.Effect<void> => {
  const { failure, state } = monitor.status
  const { cause } = failure!
  return state === "Fenced"
    ? Effect.logWarning(`${(errorOf(cause) as Error).message}. Looks again in ${millis} ms`)
    : Effect.logWarning(`Restarts in ${millis} ms`, cause)
}

const logStop = ({ cause, event }: WorkerFailure): Effect.Effect<void> =>
  Effect.logError(
    event === undefined
      ? "Stops, and waits for a person"
      : `Stops at event ${event.sequenceNumber} of '${event.persistenceId}', which cannot be processed`,
    cause
  )
