import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { type Command, ProjectionManagement } from "../../ProjectionManagement.ts"
import type { StorageError } from "../../StorageError.ts"
import { InterruptedByCommand } from "./failures.ts"

/** How soon a command that was given in another process is noticed. */
const pollInterval = "1 second"

/** The same for projections whose source takes a filter, which may be changed often. One query serves all of them. */
const filteredInterval = "50 millis"

/**
 * @internal
 * For how long after it began, in milliseconds, what a look at the commands has shown is gone by. No worker of another process hands an
 * event to an at-least-once handler by an older one.
 */
export const knownFor = 500

/** So many looks that take longer than that, one after the other, are told of. */
const slowLooks = 3

/** @internal The commands to a projection, while it runs. */
export interface Commands {
  /** The command that was seen after the one that was read last, if there is one. */
  readonly newerThan: (lastRead: Command) => Command | undefined
  /** Ends when there is another command than the one that was read last. */
  readonly changedFrom: (lastRead: Command) => Effect.Effect<void>
  /**
   * Fails if there is another command than the one that was read last, as it was within {@link knownFor}. It waits for the storage only if
   * nobody has looked for so long.
   */
  readonly unlessNew: (lastRead: Command) => Effect.Effect<void, InterruptedByCommand>
}

/** @internal Whether a command came after the one that was read last, if one was. */
export const isNew = (command: Command, lastRead: Command | undefined): boolean =>
  lastRead === undefined || command.revision > lastRead.revision

/** Who is told the command to a projection, as it was when a look for it began, in nanoseconds of the monotonic clock. */
interface Looker {
  readonly projection: string
  readonly seen: (command: Exit.Exit<Command, StorageError>, begun: bigint) => Effect.Effect<void>
}

/** Looks for the commands to all projections of a storage whose sources take a filter, in one query. */
class SharedLooks {
  readonly #management: ProjectionManagement["Service"]
  readonly #lookers = new Set<Looker>()

  constructor(management: ProjectionManagement["Service"]) {
    this.#management = management
  }

  readonly look: Effect.Effect<void> = Effect.suspend(() => {
    const lookers = [...this.#lookers]
    if (lookers.length === 0) return Effect.void
    return Effect.flatMap(Clock.monotonicTimeNanos, (begun) =>
      Effect.flatMap(
        Effect.exit(this.#management.commands([...new Set(lookers.map(({ projection }) => projection))])),
        (exit) =>
          Effect.forEach(
            lookers,
            ({ projection, seen }) =>
              seen(Exit.map(exit, (commands) => commands.get(projection) ?? unregistered), begun),
            { discard: true }
          )
      ))
  })

  /** For as long as the scope. All wake, and one of them looks. */
  join(looker: Looker): Effect.Effect<void, never, Scope.Scope> {
    const lookers = this.#lookers
    const isFirst = () => lookers.values().next().value === looker
    return Effect.acquireRelease(
      Effect.sync(() => void lookers.add(looker)),
      () => Effect.sync(() => void lookers.delete(looker))
    ).pipe(
      Effect.andThen(
        Effect.sleep(filteredInterval).pipe(
          Effect.andThen(Effect.suspend(() => isFirst() ? this.look : Effect.void)),
          Effect.forever,
          Effect.forkScoped
        )
      ),
      Effect.asVoid
    )
  }
}

const unregistered: Command = { paused: false, revision: 0 }

const sharedLooks = new WeakMap<ProjectionManagement["Service"], SharedLooks>()

const sharedLooksOf = (management: ProjectionManagement["Service"]): SharedLooks => {
  let found = sharedLooks.get(management)
  if (found === undefined) sharedLooks.set(management, found = new SharedLooks(management))
  return found
}

/** @internal Has the workers of this process know the commands that are stored now, if their sources take a filter. */
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
    let seenAt: bigint | undefined
    let isFailing = false
    /** How many looks in a row have taken too long for anything to be handed over. */
    let tooLate = 0
    const seen: Looker["seen"] = (exit, begun) => {
      // a look that was overtaken
      if (seenAt !== undefined && begun < seenAt) return Effect.void
      if (Exit.isSuccess(exit)) {
        isFailing = false
        seenAt = begun
        if (newest?.revision === exit.value.revision) return Effect.void
        newest = exit.value
        return SubscriptionRef.set(latest, newest)
      }
      if (isFailing) return Effect.void
      isFailing = true
      return Effect.annotateLogs(
        Effect.logWarning("Cannot read the commands to its projection. Tries again every second", exit.cause),
        { projection }
      )
    }
    const looks = sharedLooksOf(management)
    const look = isFiltered ? looks.look : Effect.flatMap(
      Effect.all([Clock.monotonicTimeNanos, Effect.exit(management.command(projection))]),
      ([begun, exit]) => seen(exit, begun)
    )
    if (isFiltered) yield* looks.join({ projection, seen })
    yield* (isFiltered ? changed : Effect.raceFirst(changed, Effect.sleep(pollInterval))).pipe(
      Effect.andThen(look),
      Effect.forever,
      Effect.forkScoped
    )
    const isKnown = () =>
      seenAt !== undefined &&
      (!management.isShared || clock.monotonicTimeNanosUnsafe() - seenAt < BigInt(knownFor) * 1_000_000n)
    const lookAgain = Effect.suspend(() => {
      if (isKnown()) {
        tooLate = 0
        return Effect.void
      }
      if (!isFailing) tooLate++
      return Effect.andThen(tooLate === slowLooks ? tellOfSlowLooks : Effect.void, Effect.sleep(filteredInterval))
    })
    const tellOfSlowLooks = Effect.suspend(() => {
      const took = (clock.monotonicTimeNanosUnsafe() - seenAt!) / 1_000_000n
      return Effect.annotateLogs(
        Effect.logWarning(
          `Hands over no events for now: an at-least-once worker has to know that its filter was the newest within the last ${knownFor} ms, and ` +
            `the storage has taken ${took} ms to say so. Goes on once the storage answers faster`
        ),
        { projection }
      )
    })
    const unlessNew: Commands["unlessNew"] = (lastRead) =>
      Effect.suspend(() => {
        if (newest !== undefined && isNew(newest, lastRead)) return Effect.fail(new InterruptedByCommand())
        if (isKnown()) return Effect.void
        return look.pipe(Effect.andThen(lookAgain), Effect.andThen(unlessNew(lastRead)))
      })
    return {
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
