/** @internal The bytes as all drivers take them, without a copy. */
export const bytesOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** @internal As JSON, or null where there is nothing in it. */
export const jsonOf = (value: ReadonlyArray<string> | Readonly<Record<string, string>>): string | null =>
  Object.keys(value).length === 0 ? null : JSON.stringify(value)

/** @internal Text that a database stores as bytes. */
export const textOf = (text: string | Uint8Array): string =>
  typeof text === "string" ? text : Buffer.from(text).toString()
