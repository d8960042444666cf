import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Command, ProjectionManagement } from "../../ProjectionManagement.ts"

/** How soon a command that was given in another process is noticed. */
const pollInterval = "1 second"

/** @internal The commands to a projection, while it runs. */
export interface Commands {
  /** Ends when there is a later command. */
  readonly changedFrom: (command: Command) => Effect.Effect<void>
}

/** @internal One for all workers of a projection that begin together. */
export const watchCommands = (
  projection: string
): Effect.Effect<Commands, never, ProjectionManagement | Scope.Scope> =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    const changed = yield* management.changes(projection)
    const listeners = new Set<() => void>()
    let latest: Command | undefined
    const look = Effect.map(management.command(projection), (command) => {
      latest = command
      for (const listener of listeners) listener()
    })
    yield* Effect.raceFirst(changed, Effect.sleep(pollInterval)).pipe(
      // the workers themselves say when the storage is gone
      Effect.andThen(Effect.ignore(look)),
      Effect.forever,
      Effect.forkScoped
    )
    return {
      changedFrom: (command) =>
        Effect.callback((resume) => {
          const listener = () => {
            if (latest === undefined || latest.revision <= command.revision) return
            listeners.delete(listener)
            resume(Effect.void)
          }
          listeners.add(listener)
          listener()
          return Effect.sync(() => listeners.delete(listener))
        })
    }
  })
