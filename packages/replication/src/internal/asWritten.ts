import * as EventCodec from "@sluice/core/EventCodec"
import type { Payload } from "@sluice/core/Payload"

/** @internal An event as it is read here, and as it was written, which may have more: fields that a later version of the program has added. */
export interface AsWritten<out Event> {
  readonly event: Event
  readonly payload: Payload
}

/** So many manifests are known, at most: a codec has few. */
const mostKnown = 1_000

/**
 * @internal
 * Keeps what was written beside what is read. The same bytes may come under another manifest than the codec writes, as from a replica on Akka: they have that of the codec then, so that whoever reads the journal
 * finds one.
 */
export const asWritten = <Event>(
  { decodeUnsafe, encodeUnsafe, name }: EventCodec.EventCodec<Event>
): EventCodec.EventCodec<AsWritten<Event>> => {
  /** Manifests that the codec writes as well. */
  const own = new Set<string>()
  /** What the codec writes, if that is the same under another manifest. */
  const sameOf = (event: Event, { bytes, manifest }: Payload): Payload | undefined => {
    let encoded: Payload
    try {
      encoded = encodeUnsafe(event)
    } catch {
      // it may read more than it writes
      return undefined
    }
    if (encoded.manifest !== manifest) return Buffer.compare(encoded.bytes, bytes) === 0 ? encoded : undefined
    if (own.size < mostKnown) own.add(manifest)
    return undefined
  }
  return EventCodec.make({
    name,
    decode: (payload) => {
      const event = decodeUnsafe(payload)
      return { event, payload: own.has(payload.manifest) ? payload : sameOf(event, payload) ?? payload }
    },
    encode: ({ payload }) => payload
  })
}
