/**
 * An event together with where it stands.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type { Payload } from "./Payload.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { Position } from "./Position.ts"
import type { ReplicationMetadata } from "./ReplicationMetadata.ts"
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
 * What an event carries beside its payload.
 *
 * @category models
 * @since 0.1.0
 */
export interface About {
  readonly tags: ReadonlyArray<string>
  readonly metadata: Metadata
  /** Undefined where the entity is not replicated. */
  readonly replication: ReplicationMetadata | undefined
  /** The metadata of a producer that is not Sluice, such as a plain Akka one, in an encoding of its own. */
  readonly foreignMetadata: Payload | undefined
}

/**
 * Where an event stands, and what it carries beside its payload.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place extends About {
  readonly persistenceId: PersistenceId
  readonly sequenceNumber: SequenceNumber
  readonly slice: Slice
  /** The place in the log of the slice; undefined when the source has no such logs. */
  readonly position: Position | undefined
  readonly timestamp: Timestamp
}

/**
 * An event and where it stands. Handlers and the stages of a pipeline get it.
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
 * and never reaches a handler. It has no tags and no metadata.
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
 * The event that a stream of a source has failed at: an annotation of the failure's cause.
 *
 * @category models
 * @since 0.1.0
 */
export class FailedAt extends Context.Service<FailedAt, Pick<Place, "persistenceId" | "sequenceNumber">>()(
  "@sluice/core/Envelope/FailedAt"
) {}

/**
 * A part of the log of one slice that the source has left out on purpose, from one position to another: the reader gets
 * nothing of it. It keeps positions dense, may move the offset, and never reaches a handler.
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
  /**
   * The timestamp of the last position, to which the offset moves. If it is not known, only the next event moves the
   * offset.
   */
  readonly timestamp: Timestamp | undefined
  /**
   * Whether it is left out for now, such as events of entities that are not selected, which a replay may bring.
   * Otherwise it is left out for good.
   */
  readonly isDeferred: boolean
}

/**
 * The place of an event that the source takes for handled, and shows again without its content in case that it was not. Then it is loaded. A
 * reminder never reaches a handler.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reminder extends Place {
  readonly _tag: "Reminder"
}

/**
 * What flows through a pipeline.
 *
 * @category models
 * @since 0.1.0
 */
export type Element<A> = Envelope<A> | Placeholder | Poison | Reminder | Skipped

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
 * An element of a provider: an event, a placeholder or a skipped range.
 *
 * @category models
 * @since 0.1.0
 */
export type EncodedElement = EncodedEnvelope | Skipped

/**
 * Whether an element is a skipped range, and not an event.
 *
 * **Example** (A provider that has left out three events)
 *
 * ```ts
 * import { Envelope, Position, Slice, Timestamp } from "@sluice/core"
 *
 * const skipped = Envelope.skipped(Slice.make(7), Position.make(4), Position.make(6), Timestamp.make(6000))
 * Envelope.isSkipped(skipped) // => true
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const isSkipped = (u: EncodedElement): u is Skipped => "_tag" in u && u._tag === "Skipped"

/**
 * A place as a constructor takes it. Most events have no tags or metadata, which may then be left out.
 *
 * @category models
 * @since 0.1.0
 */
export type PlaceInput = Omit<Place, keyof About> & { readonly [Key in keyof About]?: About[Key] | undefined }

/**
 * What the keys of metadata begin with that stay within a service, such as those that an entity keeps of its commands. No stream carries them.
 *
 * @category constants
 * @since 0.1.0
 */
export const ownMetadata = "sluice."

const noTags: ReadonlyArray<string> = []
const noMetadata: Metadata = {}

/**
 * Neither tags nor metadata.
 *
 * @category constants
 * @since 0.1.0
 */
export const nothing: About = {
  tags: noTags,
  metadata: noMetadata,
  replication: undefined,
  foreignMetadata: undefined
}

// Each constructor names every field, in one order: so the envelopes of all sources have one shape, which the engine knows, and none
// costs a copy.

/**
 * An event as a journal stores it, in a place that it takes over. Without a payload it is a placeholder.
 *
 * **Example** (An event with a tag)
 *
 * ```ts
 * import { Envelope, EventCodec, PersistenceId, Position, SequenceNumber, Slice, Timestamp } from "@sluice/core"
 *
 * const persistenceId = PersistenceId.make("cart", "c-1")
 * const envelope = Envelope.encoded({
 *   persistenceId,
 *   sequenceNumber: SequenceNumber.make(1),
 *   slice: Slice.ofPersistenceId(persistenceId),
 *   position: Position.make(1),
 *   timestamp: Timestamp.make(1000),
 *   tags: ["large"]
 * }, EventCodec.string.encodeUnsafe("milk"))
 * envelope.metadata // => {}
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const encoded = (place: PlaceInput, payload: Payload | undefined): EncodedEnvelope => ({
  persistenceId: place.persistenceId,
  sequenceNumber: place.sequenceNumber,
  slice: place.slice,
  position: place.position,
  timestamp: place.timestamp,
  tags: place.tags ?? noTags,
  metadata: place.metadata ?? noMetadata,
  replication: place.replication,
  foreignMetadata: place.foreignMetadata,
  payload
})

/**
 * An event in a place that it takes over. `bytes` are as {@link sizeOf} says.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(place: PlaceInput, event: A, bytes: number): Envelope<A> => ({
  _tag: "Envelope",
  persistenceId: place.persistenceId,
  sequenceNumber: place.sequenceNumber,
  slice: place.slice,
  position: place.position,
  timestamp: place.timestamp,
  tags: place.tags ?? noTags,
  metadata: place.metadata ?? noMetadata,
  replication: place.replication,
  foreignMetadata: place.foreignMetadata,
  event,
  bytes
})

/**
 * The placeholder of an event that is dropped or deleted. It keeps neither tags nor metadata, as a group may wait with
 * many placeholders.
 *
 * @category constructors
 * @since 0.1.0
 */
export const placeholder = (place: PlaceInput): Placeholder => placeOnly("Placeholder", place)

/**
 * What a source has in place of the payload of an event of which it shows the place only: a {@link Reminder}.
 *
 * @category constants
 * @since 0.1.0
 */
export const notSent: Payload = { manifest: "", bytes: new Uint8Array() }

/**
 * The reminder of an event.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reminder = (place: PlaceInput): Reminder => placeOnly("Reminder", place)

const placeOnly = <Tag extends string>(_tag: Tag, place: PlaceInput): Place & { readonly _tag: Tag } => ({
  _tag,
  persistenceId: place.persistenceId,
  sequenceNumber: place.sequenceNumber,
  slice: place.slice,
  position: place.position,
  timestamp: place.timestamp,
  tags: noTags,
  metadata: noMetadata,
  replication: undefined,
  foreignMetadata: undefined
})

/**
 * The poison in the place of an event that cannot be decoded, or that a stage has failed on.
 *
 * @category constructors
 * @since 0.1.0
 */
export const poison = (place: PlaceInput, cause: Cause.Cause<unknown>, permanent: boolean): Poison => ({
  _tag: "Poison",
  persistenceId: place.persistenceId,
  sequenceNumber: place.sequenceNumber,
  slice: place.slice,
  position: place.position,
  timestamp: place.timestamp,
  tags: place.tags ?? noTags,
  metadata: place.metadata ?? noMetadata,
  replication: place.replication,
  foreignMetadata: place.foreignMetadata,
  cause,
  permanent
})

/**
 * What a source has left out of the log of a slice, from one position to another: for good, unless it is deferred.
 *
 * @category constructors
 * @since 0.1.0
 */
export const skipped = (
  slice: Slice,
  from: Position,
  position: Position,
  timestamp: Timestamp | undefined,
  isDeferred = false
): Skipped => ({ _tag: "Skipped", slice, from, position, timestamp, isDeferred })

/**
 * How many bytes of an event are stored and sent: its payload with the manifest, its tags, and its metadata of all
 * kinds. All limits on events and on their memory count these bytes.
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
export const sizeOf = (
  { foreignMetadata, metadata, payload, replication, tags }:
    & Pick<EncodedEnvelope, "payload" | "tags" | "metadata">
    & Partial<About>
): number => {
  let bytes = sizeOfPayload(payload)
  // of most events nothing is said
  if (tags.length > 0) { for (const tag of tags) bytes += Buffer.byteLength(tag) + 3 }
  if (replication !== undefined) bytes += sizeOfReplication(replication)
  if (foreignMetadata !== undefined) bytes += sizeOfPayload(foreignMetadata)
  if (metadata === noMetadata) return bytes
  for (const _ in metadata) return bytes + Buffer.byteLength(JSON.stringify(metadata))
  return bytes
}

const sizeOfPayload = (payload: Payload | undefined): number =>
  payload === undefined ? 0 : payload.bytes.length + sizeOfManifest(payload.manifest)

/** Few manifests are not ASCII, and a call into native code costs more than to look. */
const sizeOfManifest = (manifest: string): number => {
  for (let i = 0; i < manifest.length; i++) if (manifest.charCodeAt(i) > 0x7f) return Buffer.byteLength(manifest)
  return manifest.length
}

/** With ten bytes for each number. */
const sizeOfReplication = ({ origin, time, version }: ReplicationMetadata): number => {
  let bytes = Buffer.byteLength(origin) + (time === undefined ? 10 : 20)
  for (const replica of version.keys()) bytes += Buffer.byteLength(replica) + 10
  return bytes
}
