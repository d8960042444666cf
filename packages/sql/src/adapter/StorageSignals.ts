/**
 * How the parts of a storage tell each other, and other processes, that something was committed: events of a journal, changes
 * of durable states, and commands to projections.
 *
 * @since 0.1.0
 */
import * as ChangeListeners from "@sluice/core/ChangeListeners"
import * as CommitListeners from "@sluice/core/CommitListeners"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { Journal } from "@sluice/core/Journal"
import * as Slice from "@sluice/core/Slice"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/**
 * What other processes are told: slices of an entity type have new events or states, or a projection has a command.
 * Without slices, any slice may have.
 *
 * @category models
 * @since 0.1.0
 */
export type Message =
  | { readonly kind: LogKind; readonly entityType: string; readonly slices: ReadonlySet<Slice.Slice> }
  | { readonly kind: "command"; readonly projection: string }

/**
 * Whether a log has an entity type's events, or the changes of its durable states.
 *
 * @category models
 * @since 0.1.0
 */
export type LogKind = "events" | "states"

/**
 * The signals of an entity type's logs, of one kind.
 *
 * @category models
 * @since 0.1.0
 */
export interface LogSignals {
  /** As `Journal.changes`. */
  readonly subscribe: (entityType: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
  /** The entity types that somebody follows. */
  readonly followed: () => ReadonlyArray<string>
  /** The slices have something new. Without slices, any may have. */
  readonly signal: (entityType: string, slices?: Iterable<Slice.Slice>) => void
  /** How often each slice was signalled. A reader compares it with what it saw before. */
  readonly marks: (entityType: string) => Readonly<Float64Array>
}

/**
 * The signals of one storage.
 *
 * @category models
 * @since 0.1.0
 */
export interface StorageSignals {
  readonly events: LogSignals
  readonly states: LogSignals
  readonly commands: {
    /** As `ProjectionManagement.changes`. */
    readonly subscribe: (projection: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
    /** The projection has a command, from another process. */
    readonly signal: (projection: string) => void
  }
  /** Ends when somebody waits for anything. */
  readonly untilAwaited: Effect.Effect<void>
  /** Ends when somebody follows events or states. */
  readonly untilFollowed: Effect.Effect<void>
  /** There may be something new in any log that is followed. */
  readonly signalFollowed: () => void
  /** There may be something new in any log, and for any projection. */
  readonly signalAll: () => void
  /**
   * This process has committed events. Other processes are told. Listeners are given the events before readers are
   * woken to read them.
   */
  readonly appended: (
    entityType: string,
    slices: ReadonlySet<Slice.Slice> | undefined,
    events: () => ReadonlyArray<EncodedEnvelope>
  ) => void
  /** As `Journal.committed`. The slices of the events were marked before, once. */
  readonly committed: Journal["Service"]["committed"]
  /** This process has committed changes of states. Other processes are told as well. */
  readonly changed: (entityType: string, slices: ReadonlySet<Slice.Slice>) => void
  /** This process has committed a command to a projection. Other processes are told as well. */
  readonly commanded: (projection: string) => void
  /**
   * There is a new connection, maybe to another server. Any log may have new events, and events that were read may be
   * gone.
   */
  readonly reconnected: () => void
  /** How often there was a new connection. */
  readonly reconnections: () => number
  /** Sets how other processes are told. */
  readonly tellOthers: (tell: (message: Message) => void) => void
}

interface MarkedLogs extends LogSignals {
  readonly untilFollowed: Effect.Effect<void>
  readonly mark: (entityType: string, slices: Iterable<Slice.Slice> | undefined) => void
  readonly wake: (entityType: string) => void
  /** The entity types that somebody follows, or has read. */
  readonly known: () => Iterable<string>
}

const makeLogs = (): MarkedLogs => {
  const listeners = ChangeListeners.make()
  const marks = new Map<string, Float64Array>()

  const marksOf = (entityType: string): Float64Array => {
    let found = marks.get(entityType)
    if (found === undefined) marks.set(entityType, found = new Float64Array(Slice.count))
    return found
  }

  const mark = (entityType: string, slices: Iterable<Slice.Slice> | undefined): void => {
    const marked = marksOf(entityType)
    if (slices === undefined) { for (let slice = 0; slice < Slice.count; slice++) marked[slice]!++ }
    else for (const slice of slices) marked[slice]!++
  }

  return {
    subscribe: listeners.subscribe,
    untilFollowed: listeners.awaited,
    followed: listeners.names,
    marks: marksOf,
    mark,
    wake: listeners.changed,
    signal: (entityType, slices) => {
      mark(entityType, slices)
      listeners.changed(entityType)
    },
    known: () => new Set([...marks.keys(), ...listeners.names()])
  }
}

/**
 * No signals yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): StorageSignals => {
  const events = makeLogs()
  const states = makeLogs()
  const commands = ChangeListeners.make()
  const commits = CommitListeners.make()
  let reconnections = 0
  let tell: ((message: Message) => void) | undefined

  const signalAll = (): void => {
    for (const logs of [events, states]) for (const entityType of logs.known()) logs.signal(entityType)
    for (const projection of commands.names()) commands.changed(projection)
  }

  const untilFollowed = Effect.raceFirst(events.untilFollowed, states.untilFollowed)
  return {
    events,
    states,
    commands: { subscribe: commands.subscribe, signal: commands.changed },
    untilAwaited: Effect.raceFirst(untilFollowed, commands.awaited),
    untilFollowed,
    signalFollowed: () => {
      for (const logs of [events, states]) for (const entityType of logs.followed()) logs.signal(entityType)
    },
    signalAll,
    appended: (entityType, slices, written) => {
      events.mark(entityType, slices)
      commits.publish(entityType, written)
      events.wake(entityType)
      tell?.({ kind: "events", entityType, slices: slices ?? new Set() })
    },
    committed: commits.committed,
    changed: (entityType, slices) => {
      states.signal(entityType, slices)
      tell?.({ kind: "states", entityType, slices })
    },
    commanded: (projection) => {
      commands.changed(projection)
      tell?.({ kind: "command", projection })
    },
    reconnected: () => {
      reconnections++
      signalAll()
    },
    reconnections: () => reconnections,
    tellOthers: (f) => {
      tell = f
    }
  }
}
