import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** In bytes of payload, tags and metadata; decoded events take several times as much. */
const maxBytes = 8 * 1024 * 1024

/** @internal What one worker holds of events that are decoded and not handled yet. */
export interface DecodedShare {
  readonly hold: (bytes: number) => void
  readonly release: (bytes: number) => void
  /** Ends when the worker may decode more: while it holds nothing, or all workers together hold little. */
  readonly room: Effect.Effect<void>
}

/**
 * @internal
 * Limits the memory of events that the workers of a process have decoded ahead of their handlers. A worker may always
 * hold one chunk, so that none waits for another worker's handler.
 */
export class DecodedBudget {
  #held = 0
  readonly #waiting = new Set<() => void>()

  readonly share: Effect.Effect<DecodedShare, never, Scope.Scope> = Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => ({ held: 0 })),
      (own) => Effect.sync(() => this.#add(own, -own.held))
    ),
    (own): DecodedShare => {
      const hasRoom = () => own.held <= 0 || this.#held < maxBytes
      return {
        hold: (bytes) => this.#add(own, bytes),
        release: (bytes) => this.#add(own, -bytes),
        room: Effect.suspend(() =>
          hasRoom() ? Effect.void : Effect.callback<void>((resume) => {
            const look = () => {
              if (!hasRoom()) return
              this.#waiting.delete(look)
              resume(Effect.void)
            }
            this.#waiting.add(look)
            // there may be room since, as others can have their turn before this is run
            look()
            return Effect.sync(() => this.#waiting.delete(look))
          })
        )
      }
    }
  )

  #add(own: { held: number }, bytes: number): void {
    own.held += bytes
    this.#held += bytes
    if (bytes < 0) { for (const look of this.#waiting) look() }
  }
}

/** @internal The budget of this process. */
export const Decoded = Context.Reference<DecodedBudget>("@sluice/core/Decoded", {
  defaultValue: () => new DecodedBudget()
})
