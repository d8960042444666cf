import type { EncodedEnvelope } from "../../Envelope.ts"
import type { EventCodec } from "../../EventCodec.ts"
import { EventDecodeError } from "../../EventCodec.ts"
import type { Payload } from "../../Payload.ts"

/** @internal Throws an `EventDecodeError`. */
export const decodeEnvelopeUnsafe = <A>(
  codec: EventCodec<A>,
  envelope: Pick<EncodedEnvelope, "persistenceId" | "sequenceNumber">,
  payload: Payload
): A => {
  try {
    return codec.decodeUnsafe(payload)
  } catch (cause) {
    throw new EventDecodeError({
      persistenceId: envelope.persistenceId,
      sequenceNumber: envelope.sequenceNumber,
      manifest: payload.manifest,
      cause
    })
  }
}
