import * as Cause from "effect/Cause"
import type { JournalForked } from "../../JournalError.ts"
import { beginning, type Offsets } from "../../Offset.ts"
import { Fenced } from "../../OffsetStore.ts"
import type { WorkerFailure } from "../../WorkerStatus.ts"
import type * as Lifecycle from "./lifecycle.ts"
import { isJournalChange } from "./resetOffsets.ts"

/** @internal There is a command that the worker has not read, such as to pause. */
export class InterruptedByCommand {
  readonly _tag = "InterruptedByCommand"
}

/** @internal The worker has met an event that cannot be processed, and that it must not pass. */
export class StoppedAtEvent {
  readonly _tag = "StoppedAtEvent"
  readonly failure: WorkerFailure

  constructor(failure: WorkerFailure) {
    this.failure = failure
  }
}

/**
 * @internal
 * The source has lost events that were read. The stored offsets are before them. A worker that begins again from there
 * finds out whether anything is missing.
 */
export class ForkedAhead {
  readonly _tag = "ForkedAhead"
  readonly cause: Cause.Cause<unknown>

  constructor(cause: Cause.Cause<unknown>) {
    this.cause = cause
  }
}

/**
 * @internal
 * Whether the stored offset of a forked log is before the events that are lost. It may also not be where the worker has
 * left it, because the store has lost moves as well.
 */
export const isAheadOfStored = (fork: JournalForked, known: Offsets, stored: Offsets): boolean => {
  const own = known.get(fork.slice) ?? beginning
  const { position, timestamp } = stored.get(fork.slice) ?? beginning
  return position < fork.offset.position || position !== own.position || timestamp !== own.timestamp
}

/** @internal */
export const errorOf = (cause: Cause.Cause<unknown>): unknown => cause.reasons.find(Cause.isFailReason)?.error

/** @internal */
export const isFenced = (cause: Cause.Cause<unknown>): boolean => errorOf(cause) instanceof Fenced

/** @internal Whether a command is what has ended it. */
export const isOfCommand = (cause: Cause.Cause<unknown>): boolean => {
  const error = errorOf(cause)
  return error instanceof InterruptedByCommand || error instanceof Fenced && error.by === "command"
}

/** @internal What its status shows of it. */
export const workerFailure = (cause: Cause.Cause<unknown>): WorkerFailure => {
  const error = errorOf(cause)
  return error instanceof StoppedAtEvent ? error.failure : { cause, event: undefined }
}

/** @internal No restart helps, such as with a journal that is not the one that was read. */
export const isFinal = (error: unknown): boolean =>
  (error as { readonly isFinal?: unknown } | undefined)?.isFinal === true

/** @internal What has happened to a worker that has failed so. */
export const eventOf = (cause: Cause.Cause<unknown>, options: {
  /** For how many milliseconds it has run. */
  readonly lasted: number
  /** Whether it is to begin again where its source has changed. */
  readonly canReset: (error: unknown) => boolean
}): Lifecycle.Event => {
  const error = errorOf(cause)
  // it begins from where it was rewound to
  if (isOfCommand(cause)) return { _tag: "Interrupted" }
  if (error instanceof Fenced) return { _tag: "Fenced", cause, lasted: options.lasted }
  if (error instanceof ForkedAhead) return { _tag: "Failed", cause: error.cause }
  if (isJournalChange(error) && options.canReset(error)) return { _tag: "JournalChanged", cause, change: error }
  if (error instanceof StoppedAtEvent || isFinal(error)) {
    return { _tag: "FailedForGood", failure: workerFailure(cause) }
  }
  return { _tag: "Failed", cause }
}

/** Whether storage, a lost race or a command is at fault, the worker has stopped already, or the error says that it is retryable. */
const isBlameless = (error: object): boolean =>
  error instanceof Fenced || error instanceof InterruptedByCommand || error instanceof StoppedAtEvent ||
  (error as { readonly isRetryable?: unknown }).isRetryable === true ||
  (error as { readonly isOfStorage?: unknown }).isOfStorage === true

/**
 * @internal
 * Whether the event is at fault. It is only if nothing else is. All reasons of the cause count, defects included, and
 * the causes of its errors at any depth.
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
