/**
 * What projections are told from outside, wherever they run: to pause, to go on, to begin again; and the events that they have put
 * aside.
 *
 * It is stored next to the offsets, and running workers follow it: those of this process at once, others within a second.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { EncodedEnvelope } from "./Envelope.ts"
import * as Offset from "./Offset.ts"
import type { OffsetKey } from "./OffsetStore.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"
import type { Start } from "./Source.ts"
import type { StorageError } from "./StorageError.ts"
import type { Timestamp } from "./Timestamp.ts"

/**
 * What a projection is told. The revision grows with everything that it is told.
 *
 * @category models
 * @since 0.1.0
 */
export interface Command {
  readonly paused: boolean
  readonly revision: number
}

/**
 * An event that a projection has put aside, as its handler, or a stage before it, failed on it.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetter {
  readonly key: OffsetKey
  /** The event as its source has it; without a payload where the source does not have it any more. */
  readonly envelope: EncodedEnvelope
  /** What it failed with, for a person. */
  readonly error: string
  /** When it was put aside. */
  readonly at: Timestamp
}

/**
 * Which of a projection's dead letters.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetterId {
  readonly persistenceId: PersistenceId
  readonly sequenceNumber: SequenceNumber
}

/**
 * Stores what projections are told. Storage adapters provide it, beside the offset store and in its transactions.
 *
 * @category services
 * @since 0.1.0
 */
export class ProjectionManagement extends Context.Service<ProjectionManagement, {
  /** What a projection is told now. */
  readonly command: (projection: string) => Effect.Effect<Command, StorageError>
  /** Changes whether it is paused, if that is said, and raises the revision. */
  readonly tell: (projection: string, paused: boolean | undefined) => Effect.Effect<void, StorageError>
  /** Ends when a projection was told something in this process, or may have been in another. */
  readonly changes: (projection: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
  /** Sets the offsets of all slices, so that workers that have others are fenced, and raises the revision. */
  readonly rewind: (key: OffsetKey, start: Start) => Effect.Effect<void, StorageError>
  /** Forgets everything about a projection's way through a source, and raises the revision. */
  readonly clear: (key: OffsetKey) => Effect.Effect<void, StorageError>
  /** The projections that have offsets, by name and source. */
  readonly list: Effect.Effect<ReadonlyArray<OffsetKey>, StorageError>
  /** Keeps a dead letter, in place of one of the same event. */
  readonly putAside: (letter: Omit<DeadLetter, "at">) => Effect.Effect<void, StorageError>
  /** Up to `limit` dead letters of a projection, in the order of their persistence ids and sequence numbers, after one of them. */
  readonly deadLetters: (
    key: OffsetKey,
    after: DeadLetterId | undefined,
    limit: number
  ) => Effect.Effect<ReadonlyArray<DeadLetter>, StorageError>
  /** Throws a dead letter away. */
  readonly discard: (key: OffsetKey, letter: DeadLetterId) => Effect.Effect<void, StorageError>
}>()("@sluice/core/ProjectionManagement") {}

/**
 * Pauses a projection, by name: its workers finish what they are handling and wait, also when they are started again.
 *
 * **Example** (Pausing, and going on)
 *
 * ```ts
 * import { MemoryStorage, ProjectionManagement } from "@sluice/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   yield* ProjectionManagement.pause("popularity")
 *   const paused = yield* ProjectionManagement.isPaused("popularity")
 *   yield* ProjectionManagement.resume("popularity")
 *   return [paused, yield* ProjectionManagement.isPaused("popularity")]
 * })
 * await Effect.runPromise(Effect.provide(program, MemoryStorage.layer)) // => [true, false]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const pause = (projection: string): Effect.Effect<void, StorageError, ProjectionManagement> =>
  ProjectionManagement.use((management) => management.tell(projection, true))

/**
 * Lets a projection go on that was paused, or that has stopped at an event.
 *
 * @category operations
 * @since 0.1.0
 */
export const resume = (projection: string): Effect.Effect<void, StorageError, ProjectionManagement> =>
  ProjectionManagement.use((management) => management.tell(projection, false))

/**
 * Whether a projection is paused.
 *
 * @category getters
 * @since 0.1.0
 */
export const isPaused = (projection: string): Effect.Effect<boolean, StorageError, ProjectionManagement> =>
  Effect.map(ProjectionManagement.use((management) => management.command(projection)), ({ paused }) => paused)

/**
 * Sets where a projection goes on in its source: at the beginning, at the first events that are not older than a time, or after
 * offsets. Handlers then see events again, or miss some; what they have written stays.
 *
 * **Example** (Everything again)
 *
 * ```ts
 * import { EntityType, EventCodec, MemoryStorage, Projection, ProjectionManagement, Source } from "@sluice/core"
 * import { Effect } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Lengths = Source.journal(Note).pipe(Projection.exactlyOnce("lengths", () => Effect.void))
 *
 * const program = ProjectionManagement.rewind(Projection.offsetKey(Lengths), "beginning")
 * await Effect.runPromise(Effect.provide(program, MemoryStorage.layer)) // => undefined
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const rewind = (
  key: OffsetKey,
  to: "beginning" | { readonly since: Timestamp } | Start
): Effect.Effect<void, StorageError, ProjectionManagement> =>
  ProjectionManagement.use((management) =>
    management.rewind(
      key,
      to === "beginning"
        ? { journal: undefined, offsets: Offset.none }
        : "since" in to
        ? { journal: undefined, offsets: Offset.since(to.since) }
        : to
    )
  )

/**
 * Forgets how far a projection has come in a source, its dead letters included. For one that is no more: a running one begins again.
 *
 * @category operations
 * @since 0.1.0
 */
export const clear = (key: OffsetKey): Effect.Effect<void, StorageError, ProjectionManagement> =>
  ProjectionManagement.use((management) => management.clear(key))

/**
 * The projections that have offsets, by name and source.
 *
 * @category getters
 * @since 0.1.0
 */
export const list: Effect.Effect<ReadonlyArray<OffsetKey>, StorageError, ProjectionManagement> = ProjectionManagement
  .use((management) => management.list)

/**
 * Up to `limit` (100) dead letters of a projection in the order of their persistence ids and sequence numbers, after one of them.
 *
 * @category getters
 * @since 0.1.0
 */
export const deadLetters = (key: OffsetKey, options?: {
  readonly after?: DeadLetterId | undefined
  readonly limit?: number | undefined
}): Effect.Effect<ReadonlyArray<DeadLetter>, StorageError, ProjectionManagement> =>
  ProjectionManagement.use((management) => management.deadLetters(key, options?.after, options?.limit ?? 100))

/**
 * Throws a dead letter away.
 *
 * @category operations
 * @since 0.1.0
 */
export const discard = (
  key: OffsetKey,
  letter: DeadLetterId
): Effect.Effect<void, StorageError, ProjectionManagement> =>
  ProjectionManagement.use((management) => management.discard(key, letter))
