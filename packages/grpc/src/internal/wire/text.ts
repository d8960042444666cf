const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** @internal The text that the bytes from `start` to `end` are. Undefined for what is no UTF-8. */
export const textOf = (bytes: Uint8Array, start: number, end: number): string | undefined => {
  for (let at = start; at < end; at++) {
    if (bytes[at]! <= 0x7f) continue
    try {
      return strictUtf8.decode(bytes.subarray(start, end))
    } catch {
      return undefined
    }
  }
  return Buffer.prototype.latin1Slice.call(bytes, start, end)
}
