import type * as Arr from "effect/Array"
import * as Option from "effect/Option"
import type { EncodedElement, EncodedEnvelope } from "../../Envelope.ts"
import { encoded, isSkipped, skipped } from "../../Envelope.ts"
import * as EventCodec from "../../EventCodec.ts"
import type { Offsets } from "../../Offset.ts"
import type { Payload } from "../../Payload.ts"
import * as Position from "../../Position.ts"

const deletion: Payload = { manifest: "sluice.deleted", bytes: new Uint8Array() }

/** @internal A deleted state is an event of its own, and not a placeholder. */
export const deletionAsEvent = <Element extends EncodedElement>(state: Element): Element | EncodedEnvelope =>
  !isSkipped(state) && state.payload === undefined ? encoded(state, deletion) : state

/**
 * @internal
 * Says of the positions between states that they are left out: what was there is of entities that have changed since.
 */
export const withSuperseded = (
  start: Offsets
): (chunk: Arr.NonEmptyReadonlyArray<EncodedElement>) => Arr.NonEmptyArray<EncodedElement> => {
  const read = new Map(start)
  return (chunk) => {
    const elements: Array<EncodedElement> = []
    for (const element of chunk) {
      const { position, slice, timestamp } = element
      const offset = read.get(slice)
      const from = (offset?.position ?? 0) + 1
      // what is asked for from a time on begins anywhere
      const isFirst = offset?.position === 0 && offset.timestamp > 0
      if (position !== undefined && timestamp !== undefined) {
        if (position > from && !isFirst) {
          elements.push(skipped(slice, Position.make(from), Position.make(position - 1), undefined))
        }
        read.set(slice, { position, timestamp })
      }
      elements.push(element)
    }
    return elements as Arr.NonEmptyArray<EncodedElement>
  }
}

/** @internal A state, or none where it is deleted. */
export const optional = <S>(codec: EventCodec.EventCodec<S>): EventCodec.EventCodec<Option.Option<S>> =>
  EventCodec.make({
    name: codec.name,
    encode: Option.match({ onNone: () => deletion, onSome: codec.encodeUnsafe }),
    decode: (payload) =>
      payload.manifest === deletion.manifest ? Option.none() : Option.some(codec.decodeUnsafe(payload))
  })
