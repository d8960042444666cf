import type { Command } from "../Behaviour.ts"

/** @internal How many bytes the commands of a type may take in a process, with what is remembered of them. */
export const defaultMaxBytes = 256 * 1024 * 1024

/** What a command takes beside its payload, and a value beside what it consists of. */
const overhead = { command: 100, value: 16 }

/**
 * @internal
 * What a command with this payload takes in memory, roughly: a character counts as a byte, and what an object does not show is not counted.
 */
export const bytesOf = (payload: unknown): number => {
  let bytes = overhead.command
  const left = [payload]
  let seen: Set<object> | undefined
  while (left.length > 0) {
    const value = left.pop()
    bytes += overhead.value
    if (typeof value === "string") bytes += value.length
    if (typeof value !== "object" || value === null) continue
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
      bytes += value.byteLength
      continue
    }
    seen ??= new Set()
    if (seen.has(value)) continue
    seen.add(value)
    if (Array.isArray(value)) { for (const item of value) left.push(item) }
    else if (value instanceof Set) { for (const item of value) left.push(item) }
    else if (value instanceof Map) { for (const [key, item] of value) left.push(key, item) }
    else {
      for (const key of Object.getOwnPropertyNames(value)) {
        bytes += key.length
        // what is computed takes nothing, and is not computed for this
        left.push(Object.getOwnPropertyDescriptor(value, key)?.value)
      }
    }
  }
  return bytes
}

/** @internal What a command takes, as its sender says, or as is counted. */
export const bytesOfCommand = ({ bytes, payload }: Command): number =>
  bytes === undefined ? bytesOf(payload) : overhead.command + bytes
