import type * as Cause from "effect/Cause"
import type { Envelope, Place, Placeholder, Poison } from "../Envelope.ts"

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

/** @internal */
export const placeholder = (place: Place): Placeholder => ({
  _tag: "Placeholder",
  persistenceId: place.persistenceId,
  sequenceNumber: place.sequenceNumber,
  slice: place.slice,
  position: place.position,
  timestamp: place.timestamp,
  tags: place.tags,
  metadata: place.metadata
})

/** @internal */
export const poison = (place: Place, cause: Cause.Cause<unknown>, permanent: boolean): Poison => ({
  ...placeholder(place),
  _tag: "Poison",
  cause,
  permanent
})
