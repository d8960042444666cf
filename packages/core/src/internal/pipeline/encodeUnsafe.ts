import type { EventCodec } from "../../EventCodec.ts"
import { EventEncodeError } from "../../EventCodec.ts"
import type { Payload } from "../../Payload.ts"
import type { PersistenceId } from "../../PersistenceId.ts"

/** @internal Throws an `EventEncodeError`. */
export const encodeUnsafe = <A>(codec: EventCodec<A>, persistenceId: PersistenceId, value: A): Payload => {
  try {
    return codec.encodeUnsafe(value)
  } catch (cause) {
    throw new EventEncodeError({ persistenceId, cause })
  }
}
