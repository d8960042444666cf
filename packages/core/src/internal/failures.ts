import * as Cause from "effect/Cause"
import { Fenced } from "../OffsetStore.ts"

/** @internal The projection was told something else, such as to pause. */
export class Told {
  readonly _tag = "Told"
}

/** @internal */
export const errorOf = (cause: Cause.Cause<unknown>): unknown => cause.reasons.find(Cause.isFailReason)?.error

/** @internal */
export const isFenced = (cause: Cause.Cause<unknown>): boolean => errorOf(cause) instanceof Fenced

/** @internal */
export const isTold = (cause: Cause.Cause<unknown>): boolean => errorOf(cause) instanceof Told

const tagOf = (error: unknown): unknown => (error as { readonly _tag?: unknown } | undefined)?._tag

/** @internal Such as a journal that is not the one that was read. */
export const isForAPerson = (cause: Cause.Cause<unknown>): boolean =>
  (errorOf(cause) as { readonly isFinal?: unknown } | undefined)?.isFinal === true

/** @internal What storage or a lost race did is no fault of the event. */
export const isFaultOfEvent = (cause: Cause.Cause<unknown>): boolean => {
  const error = errorOf(cause) as { readonly isRetryable?: unknown; readonly reason?: unknown } | undefined
  if (error instanceof Fenced || error instanceof Told || error?.isRetryable === true) return false
  return !(tagOf(error) === "StorageError" && ["Full", "ReadOnly", "Damaged"].includes(error!.reason as string))
}
