/**
 * What an entity does, for whoever runs it: how its state is recovered, how a command is decided, and how the decision is persisted. Event sourced
 * entities and durable states implement it; the ways to run an entity use it, and know no more of either.
 *
 * @since 0.1.0
 */
import type { RevisionConflict } from "@sluice/core/DurableStateStore"
import type { Metadata } from "@sluice/core/Envelope"
import { textProblem } from "@sluice/core/InvalidInput"
import * as Journal from "@sluice/core/Journal"
import type { SequenceConflict } from "@sluice/core/JournalError"
import type { Receipt } from "@sluice/core/Receipt"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type {
  DecisionFailed,
  InvalidCommand,
  InvalidDecision,
  JournalUnavailable,
  RecoveryFailed
} from "./EntityError.ts"

/**
 * A command on its way to an entity. Its payload is of the type of its schema.
 *
 * @category models
 * @since 0.1.0
 */
export interface Command {
  /** The name of the command: the tag of its `Rpc`. */
  readonly tag: string
  readonly payload: unknown
  /** A repetition with the same id is answered with the first reply. */
  readonly commandId: string | undefined
  /** What its events, or the state that it leads to, are to have as metadata. */
  readonly metadata?: Metadata | undefined
  /**
   * For how many milliseconds it may wait for its turn, with those that came before it; as long as it takes where nothing is said. Then it fails with `Overloaded`, and
   * is not executed.
   */
  readonly beginsWithin?: number | undefined
  /** What its payload takes in memory, in bytes, where the sender knows it; it is counted where nothing is said. */
  readonly bytes?: number | undefined
}

/** How much metadata a command may have, in bytes of UTF-8. */
const maxMetadata = 8 * 1024

/** The longest id of a command, in bytes of UTF-8. */
const maxCommandId = 200

const encoder = new TextEncoder()

/**
 * Why what is given is no metadata of a command, if it is none: it is no record, cannot be stored, is larger than 8 KiB, or has a key that is Sluice's own.
 *
 * **Details**
 *
 * Types rule some of it out, but a program may ignore them, and so may another process.
 *
 * **Example** (Metadata that is too large)
 *
 * ```ts
 * import { Behaviour } from "@sluice/entity"
 *
 * Behaviour.metadataProblem({ user: "ada" }) // => undefined
 * Behaviour.metadataProblem({ user: "a".repeat(10_000) }) // => "its metadata is larger than 8192 bytes of UTF-8"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const metadataProblem = (metadata: unknown): string | undefined => {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) return "its metadata is no record"
  const wrong = Journal.metadataProblem(metadata as Metadata)
  if (wrong !== undefined) return `of its metadata, ${wrong}`
  let bytes = 0
  for (const [key, value] of Object.entries(metadata as Metadata)) {
    // no character has less than a byte, so that what is far too large is not encoded
    bytes += key.length + value.length > maxMetadata
      ? key.length + value.length
      : encoder.encode(key).length + encoder.encode(value).length
    if (bytes > maxMetadata) return `its metadata is larger than ${maxMetadata} bytes of UTF-8`
  }
  return undefined
}

/**
 * Why what is given is no id of a command, if it is none: it is empty, cannot be stored, or is longer than 200 bytes of UTF-8.
 *
 * **Example** (An id that is too long)
 *
 * ```ts
 * import { Behaviour } from "@sluice/entity"
 *
 * Behaviour.commandIdProblem("order-17") // => undefined
 * Behaviour.commandIdProblem("a".repeat(201)) // => "the command id is longer than 200 bytes of UTF-8"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const commandIdProblem = (id: unknown): string | undefined => {
  const wrong = textProblem(id)
  if (wrong !== undefined) return `the command id ${wrong}`
  const text = id as string
  if (text === "") return "the command id is empty"
  // no character has more than three bytes for each of its units
  return text.length * 3 > maxCommandId && encoder.encode(text).length > maxCommandId
    ? `the command id is longer than ${maxCommandId} bytes of UTF-8`
    : undefined
}

/**
 * What an entity answers to a command: a reply, of the type of the command's `success`, or a rejection, of its `error`.
 *
 * @category models
 * @since 0.1.0
 */
export type Answer = Replied | Rejected

/**
 * The command was accepted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Replied {
  readonly _tag: "Replied"
  readonly reply: unknown
  /** Where its events stand, or the change of the state; undefined where there was nothing to persist. */
  readonly receipt: Receipt | undefined
}

/**
 * The command was rejected by the entity, with an error that it declares.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rejected {
  readonly _tag: "Rejected"
  readonly error: unknown
}

/**
 * Another has written to the entity since its state was recovered. Nothing was written: recover it, and decide again.
 *
 * @category errors
 * @since 0.1.0
 */
export class Stale extends Data.TaggedError("Stale")<{ readonly cause: SequenceConflict | RevisionConflict }> {}

/**
 * What persisting has led to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Persisted<out Held> {
  /** What is held of the entity from now on. */
  readonly held: Held
  readonly answer: Answer
  /** What is to be run before the next command is decided; it does not fail. */
  readonly after: Effect.Effect<void> | undefined
}

/**
 * How an entity of a kind is run. `Held` is what an activation holds of it: the state, the number that it was computed at, and the commands that are
 * remembered.
 *
 * **Gotchas**
 *
 * `persist` uses up what it is given, whose memory of commands may grow in place. Go on with what it answers. Where it answers nothing, as it was interrupted, or
 * failed with `Stale`, `JournalUnavailable` or a defect, recover the entity.
 *
 * @category models
 * @since 0.1.0
 */
export interface Behaviour<in out Held, in out Decided = any> {
  /** The name of the entity type. */
  readonly name: string
  /** Whether the fiber is in a transaction of the storage. */
  readonly inTransaction: Effect.Effect<boolean>
  /** The state of the entity, in what is held of it. */
  readonly state: (held: Held) => unknown
  /** What is held of the entity with that id, from what is stored. */
  readonly recover: (id: string) => Effect.Effect<Held, InvalidCommand | RecoveryFailed | JournalUnavailable>
  /**
   * When the newest of the commands that had an id and are not remembered any more was executed, in microseconds by the database's clock; `-Infinity` where there
   * are none.
   */
  readonly forgottenAt: (held: Held) => number
  /** What the commands that are remembered take in memory, roughly, in bytes. */
  readonly rememberedBytes: (held: Held) => number
  /** The answer to a command whose id is remembered; it fails where that id was of another command. */
  readonly remembered: (
    held: Held,
    command: Command
  ) => Effect.Effect<Answer | undefined, InvalidCommand | InvalidDecision>
  /** Nothing is written, so that it may be interrupted. */
  readonly decide: (
    held: Held,
    command: Command
  ) => Effect.Effect<Decided, DecisionFailed | InvalidDecision>
  /**
   * Writes what was decided, if the entity still is as it is held. After `Stale` and `JournalUnavailable` what is held may be out of date: it has to
   * be recovered before the next command.
   */
  readonly persist: (
    held: Held,
    command: Command,
    decided: Decided
  ) => Effect.Effect<Persisted<Held>, Stale | InvalidDecision | JournalUnavailable>
  /** Fails with `Stale` where another has written to the entity. Whoever keeps what is held asks before an answer for which nothing was written. */
  readonly verify: (held: Held, answer: Answer) => Effect.Effect<void, Stale | JournalUnavailable>
}
