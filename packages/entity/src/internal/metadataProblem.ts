import type { Metadata } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"

/** @internal How much metadata a command may have, in bytes of UTF-8. */
export const maxMetadata = 8 * 1024

const encoder = new TextEncoder()

/** @internal Why what a caller gives is no metadata of a command, if it is none. Types rule some of it out, but a program may ignore them. */
export const metadataProblem = (metadata: Metadata): string | undefined => {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) return "its metadata is no record"
  const wrong = Journal.metadataProblem(metadata)
  if (wrong !== undefined) return `of its metadata, ${wrong}`
  let bytes = 0
  for (const [key, value] of Object.entries(metadata)) {
    // no character has less than a byte, so that what is far too large is not encoded
    bytes += key.length + value.length > maxMetadata
      ? key.length + value.length
      : encoder.encode(key).length + encoder.encode(value).length
    if (bytes > maxMetadata) return `its metadata is larger than ${maxMetadata} bytes of UTF-8`
  }
  return undefined
}
