import * as Cause from "effect/Cause"
import { Fenced } from "../../OffsetStore.ts"

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

/** @internal Such as a journal that is not the one that was read. */
export const isForAPerson = (cause: Cause.Cause<unknown>): boolean =>
  (errorOf(cause) as { readonly isFinal?: unknown } | undefined)?.isFinal === true

/** What storage, a lost race or a command did, or what says itself that it passes. */
const isBlameless = (error: object): boolean =>
  error instanceof Fenced || error instanceof Told ||
  (error as { readonly isRetryable?: unknown }).isRetryable === true ||
  (error as { readonly isOfStorage?: unknown }).isOfStorage === true

/**
 * @internal
 * An event is at fault only when nothing else is, whatever became of the error on its way: all reasons count, defects included, and so do
 * the causes of errors, and theirs.
 */
export const isFaultOfEvent = (cause: Cause.Cause<unknown>): boolean => {
  const seen = new Set<unknown>()
  const open: Array<unknown> = [cause]
  while (open.length > 0) {
    const error = open.pop()
    if (typeof error !== "object" || error === null || seen.has(error)) continue
    seen.add(error)
    if (Cause.isCause(error)) {
      for (const reason of error.reasons) {
        if (Cause.isFailReason(reason)) open.push(reason.error)
        else if (Cause.isDieReason(reason)) open.push(reason.defect)
      }
      continue
    }
    if (isBlameless(error)) return false
    open.push((error as Error).cause)
    if (error instanceof AggregateError) open.push(...error.errors)
  }
  return true
}
