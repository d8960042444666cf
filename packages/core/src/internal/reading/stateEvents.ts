import type * as Arr from "effect/Array"
import * as Option from "effect/Option"
import type { EncodedElement, EncodedEnvelope } from "../../Envelope.ts"
import { encoded, isSkipped, skipped } from "../../Envelope.ts"
import * as EventCodec from "../../EventCodec.ts"
import { LogCursor } from "../../LogCursor.ts"
import type { Offsets } from "../../Offset.ts"
import type { Payload } from "../../Payload.ts"
import * as Position from "../../Position.ts"
import * as SliceRange from "../../SliceRange.ts"

const deletion: Payload = { manifest: "sluice.deleted", bytes: new Uint8Array() }

/** @internal A deleted state is an event of its own, and not a placeholder. */
export const deletionAsEvent = <Element extends EncodedElement>(state: Element): Element | EncodedEnvelope =>
  !isSkipped(state) && state.payload === undefined ? encoded(state, deletion) : state

/**
 * @internal
 * Reports the positions between states as skipped. They belonged to states that have changed since.
 */
export const withSuperseded = (
  start: Offsets
): (chunk: Arr.NonEmptyReadonlyArray<EncodedElement>) => Arr.NonEmptyArray<EncodedElement> => {
  const cursor = new LogCursor(SliceRange.full, start)
  return (chunk) => {
    const elements: Array<EncodedElement> = []
    for (const element of chunk) {
      const { position, slice, timestamp } = element
      if (position !== undefined && timestamp !== undefined) {
        const next = cursor.next(slice)
        if (next !== undefined && position > next) {
          elements.push(skipped(slice, Position.make(next), Position.make(position - 1), undefined))
        }
        cursor.moveTo(slice, position, timestamp)
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
