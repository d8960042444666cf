import type * as Cause from "effect/Cause"
import { firstError, storable, tagOf } from "./reportedFailure.ts"

/** A column of text holds so much. */
const maxLength = 200

/** A frame, with or without the name of the function, and with the place in parentheses if it has one. */
const framePattern = /^\s*at (?:(?:async )?(.+) \()?(.+):(\d+):\d+\)?$/

/** What is not of the program: its libraries, this one among them, and the runtime. */
const isForeign = (file: string): boolean =>
  file.includes("node_modules") || file.startsWith("node:") || file === "<anonymous>"

/** What is looked at of an error, and of what has caused it. */
const maxCauses = 5

/** A code of a database or a system, which is no sentence. */
const codePattern = /^[\w.-]{1,64}$/

/**
 * @internal
 * By what failures are the same: the tag or the name of the error, and the first frame of the program in its trace, such as
 * `PriceMissing at prices.ts:12`. If there is none, what has caused the error is looked at, such as `StorageError: SQLITE_CONSTRAINT_UNIQUE`.
 * It has nothing of the message, in which events are quoted. It never throws, whatever the error is.
 */
export const fingerprint = (cause: Cause.Cause<unknown>): string =>
  storable(described(firstError(cause))).slice(0, maxLength).toWellFormed()

const described = (error: unknown): string => {
  let text = nameOf(error)
  let at = error
  for (let i = 0; i < maxCauses; i++) {
    const frame = frameOf(at)
    if (frame !== undefined) return `${text} at ${frame}`
    if (i === 0) text = join(text, codeOf(at))
    const next = read(at, "cause")
    if (next === undefined || next === at) break
    at = next
    text = join(text, codeOf(at) ?? nameOf(at))
  }
  return text
}

const join = (text: string, more: string | undefined): string => more === undefined ? text : `${text}: ${more}`

/** A property that is perhaps there, and perhaps throws. */
const read = (error: unknown, key: "cause" | "code" | "errno" | "message" | "sqlState" | "stack"): unknown => {
  try {
    return typeof error === "object" && error !== null
      ? (error as Partial<Record<typeof key, unknown>>)[key]
      : undefined
  } catch {
    return undefined
  }
}

const nameOf = (error: unknown): string => {
  try {
    return tagOf(error)
  } catch {
    return "Error"
  }
}

const codeOf = (error: unknown): string | undefined => {
  for (const key of ["code", "sqlState", "errno"] as const) {
    const code = read(error, key)
    if (typeof code === "number" || typeof code === "string" && codePattern.test(code)) return `${code}`
  }
  return undefined
}

/** The first frame of the program. */
const frameOf = (error: unknown): string | undefined => {
  const stack = read(error, "stack")
  if (typeof stack !== "string") return undefined
  for (const line of traceOf(stack, read(error, "message")).split("\n")) {
    const [, name, file, at] = framePattern.exec(line) ?? []
    if (file === undefined || isForeign(file)) continue
    const place = `${file.split(/[/\\]/).at(-1)}:${at}`
    return name === undefined ? place : `${name} (${place})`
  }
  return undefined
}

/** A stack without the message that it begins with, a line of which may look like a frame. */
const traceOf = (stack: string, message: unknown): string => {
  if (typeof message !== "string" || !message.includes("\n")) return stack
  const at = stack.indexOf(message)
  return at < 0 ? stack : stack.slice(at + message.length)
}
