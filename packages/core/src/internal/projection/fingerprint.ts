import * as Cause from "effect/Cause"
import { storable, tagOf } from "./reportedFailure.ts"

/** A column of text holds so much. */
const maxLength = 200

/** A frame, with or without the name of the function, and with the place in parentheses if it has one. */
const framePattern = /^\s*at (?:(?:async )?(.+) \()?(.+):(\d+):\d+\)?$/

/** What is not of the program: its libraries, this one among them, and the runtime. */
const isForeign = (file: string): boolean =>
  file.includes("node_modules") || file.startsWith("node:") || file === "<anonymous>"

/**
 * @internal
 * By what failures are the same: the tag or the name of the error, and the first frame of the program in its trace, such as
 * `PriceMissing at prices.ts:12`. It has nothing of the message, in which events are quoted.
 */
export const fingerprint = (cause: Cause.Cause<unknown>): string => {
  const [reason] = cause.reasons
  const error: unknown = reason === undefined || Cause.isInterruptReason(reason)
    ? undefined
    : Cause.isFailReason(reason)
    ? reason.error
    : reason.defect
  const frame = error instanceof Error ? firstFrame(error.stack ?? "") : undefined
  return storable(frame === undefined ? tagOf(error) : `${tagOf(error)} at ${frame}`).slice(0, maxLength).toWellFormed()
}

const firstFrame = (stack: string): string | undefined => {
  for (const line of stack.split("\n")) {
    const [, name, file, at] = framePattern.exec(line) ?? []
    if (file === undefined || isForeign(file)) continue
    const place = `${file.split(/[/\\]/).at(-1)}:${at}`
    return name === undefined ? place : `${name} (${place})`
  }
  return undefined
}
