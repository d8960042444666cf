import type * as Cause from "effect/Cause"
import type { Envelope, Metadata, Place, Placeholder, Poison } from "../../Envelope.ts"

/** @internal */
export const withEvent = <A>(place: Place, event: A, bytes: number): Envelope<A> => ({
  _tag: "Envelope",
  persistenceId: place.persistenceId,
  sequenceNumber: place.sequenceNumber,
  slice: place.slice,
  position: place.position,
  timestamp: place.timestamp,
  tags: place.tags,
  metadata: place.metadata,
  event,
  bytes
})

/** @internal What is said of an event that nobody is given is not kept either: many of them wait for one group. */
export const placeholder = (place: Place): Placeholder => ({
  _tag: "Placeholder",
  persistenceId: place.persistenceId,
  sequenceNumber: place.sequenceNumber,
  slice: place.slice,
  position: place.position,
  timestamp: place.timestamp,
  tags: noTags,
  metadata: noMetadata
})

const noTags: ReadonlyArray<string> = []
const noMetadata: Metadata = {}

/** @internal */
export const poison = (place: Place, cause: Cause.Cause<unknown>, permanent: boolean): Poison => ({
  ...placeholder(place),
  _tag: "Poison",
  tags: place.tags,
  metadata: place.metadata,
  cause,
  permanent
})
