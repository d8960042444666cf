import type { Metadata } from "../Envelope.ts"
import type { Payload } from "../Payload.ts"

/** @internal How many bytes it has as it is stored and sent. */
export const sizeOf = ({ metadata, payload, tags }: {
  readonly payload: Payload | undefined
  readonly tags: ReadonlyArray<string>
  readonly metadata: Metadata
}): number => {
  let bytes = payload === undefined ? 0 : payload.bytes.length + Buffer.byteLength(payload.manifest)
  for (const tag of tags) bytes += Buffer.byteLength(tag) + 3
  for (const _ in metadata) return bytes + Buffer.byteLength(JSON.stringify(metadata))
  return bytes
}
