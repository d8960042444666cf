import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { type Command, ProjectionManagement } from "../../ProjectionManagement.ts"

/** How soon a command that was given in another process is noticed. */
const pollInterval = "1 second"

/** @internal The commands to a projection, while it runs. */
export interface Commands {
  /** Ends when there is another command than the one that was read last. */
  readonly changedFrom: (lastRead: Command) => Effect.Effect<void>
}

/** @internal Whether a command came after the one that was read last, if one was. */
export const isNew = (command: Command, lastRead: Command | undefined): boolean =>
  lastRead === undefined || command.revision > lastRead.revision

/** @internal One for all workers of a projection that begin together. */
export const watchCommands = (
  projection: string
): Effect.Effect<Commands, never, ProjectionManagement | Scope.Scope> =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    const changed = yield* management.changes(projection)
    const latest = yield* SubscriptionRef.make<Command | undefined>(undefined)
    let isFailing = false
    const look = Effect.matchCauseEffect(management.command(projection), {
      onSuccess: (command) => {
        isFailing = false
        return SubscriptionRef.set(latest, command)
      },
      onFailure: (cause) => {
        if (isFailing) return Effect.void
        isFailing = true
        return Effect.logWarning("Cannot read the commands to its projection. Tries again every second", cause)
      }
    })
    yield* Effect.raceFirst(changed, Effect.sleep(pollInterval)).pipe(
      Effect.andThen(look),
      Effect.forever,
      Effect.annotateLogs({ projection }),
      Effect.forkScoped
    )
    return {
      changedFrom: (lastRead) =>
        SubscriptionRef.changes(latest).pipe(
          Stream.filter((command) => command !== undefined && isNew(command, lastRead)),
          Stream.take(1),
          Stream.runDrain
        )
    }
  })
