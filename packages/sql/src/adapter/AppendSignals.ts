/**
 * Who waits for appends, and in which slices there may be some. A topic is an entity type's journal, by the name of the entity type, or
 * the changes of its durable states.
 *
 * @since 0.1.0
 */
import * as CommitListeners from "@sluice/core/CommitListeners"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { Journal } from "@sluice/core/Journal"
import * as Slice from "@sluice/core/Slice"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"

/**
 * The topic of the changes of an entity type's durable states. No entity type has such a name.
 *
 * @category getters
 * @since 0.1.0
 */
export const stateTopic = (entityType: string): string => `${entityType}${stateSuffix}`

/**
 * The entity type whose durable states the topic is of, if it is of any.
 *
 * @category getters
 * @since 0.1.0
 */
export const stateEntityType = (topic: string): string | undefined =>
  topic.endsWith(stateSuffix) ? topic.slice(0, -stateSuffix.length) : undefined

const stateSuffix = "|state"

/**
 * The signals of one storage.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppendSignals {
  /** As `Journal.changes`. */
  readonly subscribe: (topic: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
  /** Ends when somebody waits for appends. */
  readonly awaited: Effect.Effect<void>
  /** The topics that somebody waits for appends of. */
  readonly topics: () => ReadonlyArray<string>
  /** There are events in the slices, or may be in any. */
  readonly signal: (topic: string, slices?: Iterable<Slice.Slice>) => void
  /** There may be events in any slice of any topic. */
  readonly signalAll: () => void
  /**
   * As `signal`, when this process has committed appends: other processes are told as well, and then who listens here is given
   * the events.
   */
  readonly appended: (
    topic: string,
    slices: ReadonlySet<Slice.Slice> | undefined,
    events?: () => ReadonlyArray<EncodedEnvelope>
  ) => void
  /** As `Journal.committed`. The slices of the events were marked before, once. */
  readonly committed: Journal["Service"]["committed"]
  /** There is a new connection, maybe to another server: there may be events in any slice, and what was read may be gone. */
  readonly reconnected: () => void
  /** How often there was a new connection. */
  readonly reconnections: () => number
  /** Sets how other processes are told. */
  readonly tellOthers: (tell: (topic: string, slices: ReadonlySet<Slice.Slice>) => void) => void
  /** How often each slice of a topic was signalled. A reader compares it with what it saw before. */
  readonly marks: (topic: string) => Readonly<Float64Array>
}

/**
 * No signals yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): AppendSignals => {
  const listeners = new Map<string, Set<Latch.Latch>>()
  const commits = CommitListeners.make()
  const marks = new Map<string, Float64Array>()
  const some = Latch.makeUnsafe()
  let reconnections = 0
  let tell: ((topic: string, slices: ReadonlySet<Slice.Slice>) => void) | undefined

  const marksOf = (topic: string): Float64Array => {
    let found = marks.get(topic)
    if (found === undefined) marks.set(topic, found = new Float64Array(Slice.count))
    return found
  }

  const mark = (topic: string, slices?: Iterable<Slice.Slice>): void => {
    const marked = marksOf(topic)
    if (slices === undefined) { for (let slice = 0; slice < Slice.count; slice++) marked[slice]!++ }
    else for (const slice of slices) marked[slice]!++
  }
  const wake = (topic: string): void => listeners.get(topic)?.forEach((latch) => latch.openUnsafe())

  const signal = (topic: string, slices?: Iterable<Slice.Slice>): void => {
    mark(topic, slices)
    wake(topic)
  }

  const signalAll = (): void => {
    for (const topic of new Set([...marks.keys(), ...listeners.keys()])) signal(topic)
  }

  return {
    subscribe: (topic) =>
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => {
            const latch = Latch.makeUnsafe()
            listeners.set(topic, (listeners.get(topic) ?? new Set()).add(latch))
            some.openUnsafe()
            return latch
          }),
          (latch) =>
            Effect.sync(() => {
              const latches = listeners.get(topic)!
              latches.delete(latch)
              if (latches.size === 0) listeners.delete(topic)
              if (listeners.size === 0) some.closeUnsafe()
            })
        ),
        (latch) => Effect.andThen(latch.await, latch.close)
      ),
    awaited: some.await,
    topics: () => [...listeners.keys()],
    signal,
    appended: (topic, slices, events) => {
      mark(topic, slices)
      // before those wake who would read them
      if (events !== undefined) commits.publish(topic, events)
      wake(topic)
      tell?.(topic, slices ?? new Set())
    },
    committed: commits.committed,
    tellOthers: (f) => {
      tell = f
    },
    signalAll,
    reconnected: () => {
      reconnections++
      signalAll()
    },
    reconnections: () => reconnections,
    marks: marksOf
  }
}
