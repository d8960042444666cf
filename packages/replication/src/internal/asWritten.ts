import * as EventCodec from "@sluice/core/EventCodec"
import type { Payload } from "@sluice/core/Payload"

/** @internal An event as it is read here, and as it was written, which may have more: fields that a later version of the program has added. */
export interface AsWritten<out Event> {
  readonly event: Event
  readonly payload: Payload
}

/** @internal Keeps what was written beside what is read. */
export const asWritten = <Event>(
  { decodeUnsafe, name }: EventCodec.EventCodec<Event>
): EventCodec.EventCodec<AsWritten<Event>> =>
  EventCodec.make({
    name,
    decode: (payload) => ({ event: decodeUnsafe(payload), payload }),
    encode: ({ payload }) => payload
  })
