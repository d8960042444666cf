/** @internal The bytes as all drivers take them, without a copy. */
export const bytesOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** @internal Text that a database stores as bytes. */
export const textOf = (text: string | Uint8Array): string =>
  typeof text === "string" ? text : Buffer.from(text).toString()
