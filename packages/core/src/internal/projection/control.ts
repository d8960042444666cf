import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Command, ProjectionManagement } from "../../ProjectionManagement.ts"

/** How soon a command that was given in another process is noticed. */
const pollInterval = "1 second"

/** @internal What the workers of a projection are told while they run. */
export interface Control {
  /** What the projection is told now, as it is stored. */
  readonly command: ProjectionManagement["Service"]["command"]
  /** Ends when the projection is told something else. */
  readonly changedFrom: (command: Command) => Effect.Effect<void>
}

/** @internal One for all workers of a projection in this process. */
export const makeControl = (
  projection: string
): Effect.Effect<Control, never, ProjectionManagement | Scope.Scope> =>
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
      command: management.command,
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
