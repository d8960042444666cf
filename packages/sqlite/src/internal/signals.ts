import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"

/** @internal Wakes those who wait for appends. */
export const makeSignals = () => {
  const listeners = new Map<string, Set<Latch.Latch>>()
  const some = Latch.makeUnsafe()

  const subscribe = (entityType: string): Effect.Effect<Effect.Effect<void>, never, Scope.Scope> =>
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          const latch = Latch.makeUnsafe()
          listeners.set(entityType, (listeners.get(entityType) ?? new Set()).add(latch))
          some.openUnsafe()
          return latch
        }),
        (latch) =>
          Effect.sync(() => {
            const latches = listeners.get(entityType)!
            latches.delete(latch)
            if (latches.size === 0) listeners.delete(entityType)
            if (listeners.size === 0) some.closeUnsafe()
          })
      ),
      (latch) => Effect.andThen(latch.await, latch.close)
    )

  return {
    subscribe,
    /** Ends when somebody waits. */
    awaited: some.await,
    signal: (entityType: string): void => listeners.get(entityType)?.forEach((latch) => latch.openUnsafe()),
    signalAll: (): void => listeners.forEach((latches) => latches.forEach((latch) => latch.openUnsafe()))
  }
}
