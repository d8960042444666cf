/**
 * Who waits for appends, and in which slices there may be some.
 *
 * @since 0.1.0
 */
import * as Slice from "@sluice/core/Slice"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"

/**
 * The signals of one journal.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppendSignals {
  /** As `Journal.changes`. */
  readonly subscribe: (entityType: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
  /** Ends when somebody waits for appends. */
  readonly awaited: Effect.Effect<void>
  /** The entity types that somebody waits for appends of. */
  readonly entityTypes: () => ReadonlyArray<string>
  /** There are events in the slices, or may be in any. */
  readonly signal: (entityType: string, slices?: Iterable<Slice.Slice>) => void
  /** There may be events in any slice of any entity type. */
  readonly signalAll: () => void
  /** How often each slice of an entity type was signalled. A reader compares it with what it saw before. */
  readonly marks: (entityType: string) => Readonly<Float64Array>
}

/**
 * No signals yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): AppendSignals => {
  const listeners = new Map<string, Set<Latch.Latch>>()
  const marks = new Map<string, Float64Array>()
  const some = Latch.makeUnsafe()

  const marksOf = (entityType: string): Float64Array => {
    let found = marks.get(entityType)
    if (found === undefined) marks.set(entityType, found = new Float64Array(Slice.count))
    return found
  }

  const signal = (entityType: string, slices?: Iterable<Slice.Slice>): void => {
    const marked = marksOf(entityType)
    if (slices === undefined) { for (let slice = 0; slice < Slice.count; slice++) marked[slice]!++ }
    else for (const slice of slices) marked[slice]!++
    listeners.get(entityType)?.forEach((latch) => latch.openUnsafe())
  }

  return {
    subscribe: (entityType) =>
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
      ),
    awaited: some.await,
    entityTypes: () => [...listeners.keys()],
    signal,
    signalAll: () => {
      for (const entityType of new Set([...marks.keys(), ...listeners.keys()])) signal(entityType)
    },
    marks: marksOf
  }
}
