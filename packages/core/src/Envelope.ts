/**
 * An event together with where it stands.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type { Payload } from "./Payload.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { Position } from "./Position.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"
import type { Slice } from "./Slice.ts"
import type { Timestamp } from "./Timestamp.ts"

/**
 * What the writer of an event said about it, beside the event: correlation ids, trace context.
 *
 * @category models
 * @since 0.1.0
 */
export type Metadata = Readonly<Record<string, string>>

/**
 * Where an event stands.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place {
  readonly persistenceId: PersistenceId
  readonly sequenceNumber: SequenceNumber
  readonly slice: Slice
  /** The place in the log of the slice; undefined when the source has no such logs. */
  readonly position: Position | undefined
  readonly timestamp: Timestamp
  readonly tags: ReadonlyArray<string>
  readonly metadata: Metadata
}

/**
 * An event and where it stands: what handlers and the stages of a pipeline are given.
 *
 * @category models
 * @since 0.1.0
 */
export interface Envelope<out A> extends Place {
  readonly _tag: "Envelope"
  readonly event: A
  /** How many bytes the event had where it came from, as {@link sizeOf} says. */
  readonly bytes: number
}

/**
 * The place of an event that was dropped or deleted. It keeps sequence numbers and positions dense and moves offsets,
 * and never reaches a handler. It has neither tags nor metadata.
 *
 * @category models
 * @since 0.1.0
 */
export interface Placeholder extends Place {
  readonly _tag: "Placeholder"
}

/**
 * The place of an event that cannot be decoded, or that a stage of the pipeline failed on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Poison extends Place {
  readonly _tag: "Poison"
  readonly cause: Cause.Cause<unknown>
  /** Whether the event itself is at fault, so that trying again is of no use. */
  readonly permanent: boolean
}

/**
 * A part of the log of one slice that the source has left out on purpose, from one position to another: nothing in it is for whoever
 * reads. It keeps positions dense, may move the offset, and never reaches a handler.
 *
 * @category models
 * @since 0.1.0
 */
export interface Skipped {
  readonly _tag: "Skipped"
  readonly slice: Slice
  /** The first position that was left out. */
  readonly from: Position
  /** The last position that was left out. */
  readonly position: Position
  /** Of the last position: the offset moves to it. Undefined where it is not known: the next event moves the offset. */
  readonly timestamp: Timestamp | undefined
}

/**
 * What flows through a pipeline.
 *
 * @category models
 * @since 0.1.0
 */
export type Element<A> = Envelope<A> | Placeholder | Poison | Skipped

/**
 * An event as a journal stores it. Without a payload it is a placeholder.
 *
 * @category models
 * @since 0.1.0
 */
export interface EncodedEnvelope extends Place {
  readonly payload: Payload | undefined
}

/**
 * What comes from a provider: events, and what it has left out.
 *
 * @category models
 * @since 0.1.0
 */
export type EncodedElement = EncodedEnvelope | Skipped

/**
 * Whether it is not an event, but what the source has left out.
 *
 * **Example** (A provider that has left out three events)
 *
 * ```ts
 * import { Envelope, Position, Slice, Timestamp } from "@sluice/core"
 *
 * const skipped: Envelope.EncodedElement = {
 *   _tag: "Skipped",
 *   slice: Slice.make(7),
 *   from: Position.make(4),
 *   position: Position.make(6),
 *   timestamp: Timestamp.make(6000)
 * }
 * Envelope.isSkipped(skipped) // => true
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const isSkipped = (u: EncodedElement): u is Skipped => "_tag" in u && u._tag === "Skipped"

/**
 * How many bytes of an event are stored and sent: its payload with the manifest, its tags and its metadata. Whatever limits events, or
 * the memory that they take, counts these.
 *
 * **Example** (An event of eight bytes)
 *
 * ```ts
 * import { Envelope } from "@sluice/core"
 *
 * const payload = { manifest: "text", bytes: new TextEncoder().encode("milk") }
 * Envelope.sizeOf({ payload, tags: [], metadata: {} }) // => 8
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const sizeOf = ({ metadata, payload, tags }: Pick<EncodedEnvelope, "payload" | "tags" | "metadata">): number => {
  let bytes = payload === undefined ? 0 : payload.bytes.length + Buffer.byteLength(payload.manifest)
  for (const tag of tags) bytes += Buffer.byteLength(tag) + 3
  for (const _ in metadata) return bytes + Buffer.byteLength(JSON.stringify(metadata))
  return bytes
}
