import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { type Command, ProjectionManagement } from "../../ProjectionManagement.ts"
import * as Timestamp from "../../Timestamp.ts"
import type { FilterWait } from "../../WorkerStatus.ts"
import { InterruptedByCommand } from "./failures.ts"
import { knownFor, type Looker, sharedLooksOf } from "./SharedLooks.ts"

/** So many looks that take longer than {@link knownFor}, one after the other, are told of. */
const slowLooks = 3

/** For how many milliseconds a worker that does not know the newest command waits before it asks again. */
const restInterval = 50

/** @internal The commands to a projection, while it runs. */
export interface Commands {
  /** The newest command that was seen, and each one after it; nothing before one could be read. */
  readonly seen: Stream.Stream<Command>
  /** The newest command that was seen. */
  readonly newest: () => Command | undefined
  /** The command that was seen after the one that was read last, if there is one. */
  readonly newerThan: (lastRead: Command) => Command | undefined
  /** Ends when there is another command than the one that was read last. */
  readonly changedFrom: (lastRead: Command) => Effect.Effect<void>
  /**
   * Fails if there is another command than the one that was read last, as it was within {@link knownFor}. It waits for the storage only if
   * nobody has looked for so long, and says so where that takes too long or fails, and once it goes on.
   */
  readonly unlessNew: (
    lastRead: Command,
    waits: (wait: FilterWait | undefined) => void
  ) => Effect.Effect<void, InterruptedByCommand>
}

/** How often workers were told something. */
const told = ({ notForWorkers, revision }: Command): number => revision - notForWorkers

/** @internal Whether a command to workers came after the one that was read last, if one was. */
export const isNew = (command: Command, lastRead: Command | undefined): boolean =>
  lastRead === undefined || told(command) > told(lastRead)

/** @internal Has the workers of this process know the commands that are stored now. */
export const lookNow: Effect.Effect<void, never, ProjectionManagement> = ProjectionManagement.use((management) =>
  sharedLooksOf(management).look
)

/** @internal One for all workers of a projection that begin together. */
export const watchCommands = (
  projection: string,
  isFiltered: boolean
): Effect.Effect<Commands, never, ProjectionManagement | Scope.Scope> =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    const changed = yield* management.changes(projection)
    const latest = yield* SubscriptionRef.make<Command | undefined>(undefined)
    const clock = yield* Effect.clockWith(Effect.succeed)
    let newest: Command | undefined
    let isFailing = false
    /** How many looks in a row have taken too long for anything to be handed over. */
    let tooLate = 0
    const seen: Looker["seen"] = (exit) => {
      if (Exit.isSuccess(exit)) {
        isFailing = false
        if (newest?.revision === exit.value.revision) return Effect.void
        newest = exit.value
        return SubscriptionRef.set(latest, newest)
      }
      if (isFailing) return Effect.void
      isFailing = true
      return Effect.annotateLogs(
        Effect.logWarning("Cannot read the commands to its projection. Tries again", exit.cause),
        { projection }
      )
    }
    const looks = sharedLooksOf(management)
    yield* looks.join({ projection, isFiltered, seen })
    yield* changed.pipe(Effect.andThen(looks.look), Effect.forever, Effect.forkScoped)
    const isKnown = () => newest !== undefined && looks.isKnown(clock)
    const lookAgain = Effect.suspend(() => {
      if (isKnown()) {
        tooLate = 0
        return Effect.void
      }
      if (!isFailing) tooLate++
      return Effect.andThen(tooLate === slowLooks ? tellOfSlowLooks : Effect.void, Effect.sleep(restInterval))
    })
    const tellOfSlowLooks = Effect.suspend(() =>
      Effect.annotateLogs(
        Effect.logWarning(
          `Hands over no events for now: a worker that is not exactly-once has to know that its filter was the newest within the last ${knownFor} ms, and ` +
            `the storage has taken ${looks.took} ms to say so. Goes on once the storage answers faster`
        ),
        { projection }
      )
    )
    const unlessNew: Commands["unlessNew"] = (lastRead, waits) => {
      let wait: FilterWait | undefined
      const tell = Effect.sync(() => {
        const since = wait?.since ?? Timestamp.make(clock.currentTimeMillisUnsafe() * 1000)
        waits(wait = { since, tookMillis: looks.took })
      })
      const go: Effect.Effect<void, InterruptedByCommand> = Effect.suspend(() => {
        if (newest !== undefined && isNew(newest, lastRead)) return Effect.fail(new InterruptedByCommand())
        if (isKnown()) return Effect.void
        return looks.look.pipe(
          Effect.andThen(Effect.suspend(() => isKnown() ? Effect.void : tell)),
          Effect.andThen(lookAgain),
          Effect.andThen(go)
        )
      })
      return Effect.suspend(() =>
        isKnown()
          ? go
          : Effect.ensuring(go, Effect.sync(() => wait === undefined ? undefined : waits(wait = undefined)))
      )
    }
    return {
      seen: Stream.filter(SubscriptionRef.changes(latest), (command) => command !== undefined),
      newest: () => newest,
      newerThan: (lastRead) => newest !== undefined && isNew(newest, lastRead) ? newest : undefined,
      changedFrom: (lastRead) =>
        SubscriptionRef.changes(latest).pipe(
          Stream.filter((command) => command !== undefined && isNew(command, lastRead)),
          Stream.take(1),
          Stream.runDrain
        ),
      unlessNew
    }
  })
