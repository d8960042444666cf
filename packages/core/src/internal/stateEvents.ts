import * as Option from "effect/Option"
import type { EncodedElement } from "../Envelope.ts"
import { isSkipped } from "../Envelope.ts"
import * as EventCodec from "../EventCodec.ts"
import type { Payload } from "../Payload.ts"

const deletion: Payload = { manifest: "sluice.deleted", bytes: new Uint8Array() }

/** @internal A deleted state is an event of its own, and not a placeholder. */
export const deletionAsEvent = <Element extends EncodedElement>(state: Element): Element =>
  !isSkipped(state) && state.payload === undefined ? { ...state, payload: deletion } : state

/** @internal A state, or none where it is deleted. */
export const optional = <S>(codec: EventCodec.EventCodec<S>): EventCodec.EventCodec<Option.Option<S>> =>
  EventCodec.make({
    name: codec.name,
    encode: Option.match({ onNone: () => deletion, onSome: codec.encodeUnsafe }),
    decode: (payload) =>
      payload.manifest === deletion.manifest ? Option.none() : Option.some(codec.decodeUnsafe(payload))
  })
