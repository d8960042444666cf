/**
 * Listeners that wait for a change: of an entity type's events or states, or a command to a projection. Every storage
 * adapter needs them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"

/**
 * The listeners to changes of one kind, by the name of what changes.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChangeListeners {
  /** Listens for as long as the scope. The effect ends when there was a change since it ended last. */
  readonly subscribe: (name: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
  /** Wakes those who listen to the name. To be called after the commit. */
  readonly changed: (name: string) => void
  /** The names that somebody listens to. */
  readonly names: () => ReadonlyArray<string>
  /** Ends when somebody listens to any name. */
  readonly awaited: Effect.Effect<void>
}

/**
 * No listeners yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): ChangeListeners => {
  const listeners = new Map<string, Set<Latch.Latch>>()
  const some = Latch.makeUnsafe()

  const listen = (name: string): Latch.Latch => {
    const latch = Latch.makeUnsafe()
    listeners.set(name, (listeners.get(name) ?? new Set()).add(latch))
    some.openUnsafe()
    return latch
  }

  const leave = (name: string, latch: Latch.Latch): void => {
    const others = listeners.get(name)!
    others.delete(latch)
    if (others.size === 0) listeners.delete(name)
    if (listeners.size === 0) some.closeUnsafe()
  }

  return {
    subscribe: (name) =>
      Effect.map(
        Effect.acquireRelease(Effect.sync(() => listen(name)), (latch) => Effect.sync(() => leave(name, latch))),
        // closed before what has changed is looked at, or a change meanwhile would be missed
        (latch) => Effect.andThen(latch.await, latch.close)
      ),
    changed: (name) => listeners.get(name)?.forEach((latch) => latch.openUnsafe()),
    names: () => [...listeners.keys()],
    awaited: some.await
  }
}
