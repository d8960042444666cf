import type { Rewind } from "@sluice/core/Rewind"
import { textOf } from "./columns.ts"

const none: ReadonlyArray<Rewind> = []

/** @internal The rewinds of a slice, from their column. */
export const toRewinds = (text: string | Uint8Array | null): ReadonlyArray<Rewind> =>
  text === null ? none : JSON.parse(textOf(text))

/** @internal The rewinds of a slice, as a column. */
export const fromRewinds = (rewinds: ReadonlyArray<Rewind>): string | null =>
  rewinds.length === 0 ? null : JSON.stringify(rewinds)
