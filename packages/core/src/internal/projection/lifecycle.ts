import type * as Cause from "effect/Cause"
import type { WorkerFailure } from "../../WorkerStatus.ts"
import type { JournalChange } from "./resetOffsets.ts"

/**
 * @internal
 * What a worker is doing. `Restarting` and `Fenced` last until its source is open again.
 */
export type State =
  /** It reads what it is commanded, loads its offsets, and opens its source. */
  | { readonly _tag: "Starting" }
  /** It handles what there was when it opened its source. */
  | { readonly _tag: "CatchingUp" }
  /** It handles what comes. */
  | { readonly _tag: "Running" }
  /** Its source is cut off from where its events come from, and tries to get back to where the worker was. */
  | {
    readonly _tag: "Disrupted"
    readonly failure: WorkerFailure
    readonly from: Exclude<State, { _tag: "Disrupted" }>
  }
  /** It has failed, ends what its handler has in hand, and begins again after a while. */
  | { readonly _tag: "Restarting"; readonly failure: WorkerFailure }
  /** Another worker is working on the same slices, and this one looks again after a while. */
  | { readonly _tag: "Fenced"; readonly failure: WorkerFailure }
  /** It waits for a command to go on. */
  | { readonly _tag: "Paused" }
  /** Its version is none that is built or live. */
  | { readonly _tag: "Retired" }
  /** It has met an event that it must not pass, or a final error. It waits for a command to go on. */
  | { readonly _tag: "Stopped"; readonly failure: WorkerFailure }
  /** It is no more. */
  | { readonly _tag: "Ended" }

/** @internal A worker's state, and what it remembers of how it came there. */
export interface Lifecycle {
  readonly state: State
  /** How often it has begun again after a failure or a fencing. */
  readonly restarts: number
  /** Failures in a row, in between which it has stored no offset. */
  readonly failures: number
  /** Fencings in a row, in between which it has not been alone for long. */
  readonly fencings: number
  /** Whether it has stored an offset since it began last. */
  readonly hasProgressed: boolean
}

/** @internal What happens to a worker. `lasted` is for how many milliseconds it has run since it began last. */
export type Event =
  /** It is run, for the first time or after it has stopped. */
  | { readonly _tag: "Started" }
  /** It has read what it is commanded. */
  | { readonly _tag: "Commanded"; readonly paused: boolean; readonly isRetired?: boolean }
  /** There is a command that it has not read. */
  | { readonly _tag: "Interrupted" }
  /** Its source is open. */
  | { readonly _tag: "Opened" }
  /** It has stored an offset. */
  | { readonly _tag: "Progressed" }
  /** It has stored the offsets of everything that its source had when it was opened. */
  | { readonly _tag: "CaughtUp" }
  /** Its source is cut off. */
  | { readonly _tag: "Disrupted"; readonly cause: Cause.Cause<unknown> }
  /** Its source is back. */
  | { readonly _tag: "Restored" }
  /** It has failed, and ends what its handler has in hand before it says how. */
  | { readonly _tag: "Failing"; readonly failure: WorkerFailure; readonly isFenced: boolean }
  /** It has failed in a way that may pass. */
  | { readonly _tag: "Failed"; readonly cause: Cause.Cause<unknown> }
  /** Another worker has moved its offsets. In a handover that is no surprise: its slices were just divided anew, here or in another process. */
  | {
    readonly _tag: "Fenced"
    readonly cause: Cause.Cause<unknown>
    readonly lasted: number
    readonly isHandover?: boolean
  }
  /**
   * Its source has another journal than its offsets are of, or has lost events of it. The projection is to begin again
   * then.
   */
  | { readonly _tag: "JournalChanged"; readonly cause: Cause.Cause<unknown>; readonly change: JournalChange }
  /** The useless offsets were moved to the beginning, or could not be. */
  | {
    readonly _tag: "OffsetsReset"
    readonly cause: Cause.Cause<unknown>
    readonly change: JournalChange
    readonly isDone: boolean
  }
  /** It has met an event that it must not pass, or a final error. */
  | { readonly _tag: "FailedForGood"; readonly failure: WorkerFailure }
  /** It has waited long enough. */
  | { readonly _tag: "Waited" }
  /** Nobody runs it any more. */
  | { readonly _tag: "Ended" }

/** @internal What a worker does next. */
export type Action =
  /** Reads what it is commanded. */
  | { readonly _tag: "ReadCommand" }
  /** Loads its offsets, opens its source, and handles what comes. */
  | { readonly _tag: "Begin" }
  /** Waits for a command other than the one that it has read. */
  | { readonly _tag: "AwaitCommand" }
  /** Waits about so many milliseconds, or for a command. Where that was to be expected, it says nothing. */
  | { readonly _tag: "Wait"; readonly millis: number; readonly isExpected?: boolean }
  /** Moves the useless offsets to the beginning. */
  | { readonly _tag: "ResetOffsets"; readonly cause: Cause.Cause<unknown>; readonly change: JournalChange }
  /** Fails. */
  | { readonly _tag: "Stop"; readonly failure: WorkerFailure }
  /** Goes on with what it is doing. */
  | { readonly _tag: "GoOn" }

/** @internal How long a worker waits after its first failure in a row, in milliseconds; then twice as long each time. */
export const initialWait = 200
/** @internal The longest that it waits after failures. */
export const maxFailureWait = 30_000
/**
 * @internal
 * The longest that it waits after fencings. A projection that runs twice by mistake must not end up running nowhere.
 */
export const maxFencedWait = 5_000
/** @internal How long it waits after its first fencing in a row in a handover, in milliseconds; then twice as long each time. */
export const handoverWait = 50
/** After running for longer than this unfenced, in milliseconds, a worker counts its fencings anew. */
const aloneFor = 2 * maxFencedWait

const wait = (times: number, max: number): Action => ({
  _tag: "Wait",
  millis: Math.min(initialWait * 2 ** (times - 1), max)
})

/** @internal A worker that does not run yet. */
export const initial: Lifecycle = {
  state: { _tag: "Starting" },
  restarts: 0,
  failures: 0,
  fencings: 0,
  hasProgressed: false
}

const goOn: Action = { _tag: "GoOn" }

type Transition = readonly [next: Lifecycle, action: Action]

/**
 * @internal
 * The state of a worker after an event, and what it does next. An event that has no meaning in a state does not change
 * it.
 */
export const transition = (self: Lifecycle, event: Event): Transition => {
  const { state } = self
  if (state._tag === "Ended" || state._tag === "Stopped" && event._tag !== "Started" && event._tag !== "Ended") {
    return [self, goOn]
  }
  switch (event._tag) {
    case "Started":
      return readCommand({ ...to(self, { _tag: "Starting" }), failures: 0, fencings: 0 })
    case "Interrupted":
    case "Waited":
      return readCommand(self)
    case "Commanded":
      if (event.isRetired === true) return [to(self, { _tag: "Retired" }), { _tag: "AwaitCommand" }]
      return event.paused
        ? [to(self, { _tag: "Paused" }), { _tag: "AwaitCommand" }]
        : [to(self, beginning(state)), { _tag: "Begin" }]
    case "Opened":
      return [to(self, { _tag: "CatchingUp" }), goOn]
    case "Progressed":
      return [self.hasProgressed ? self : { ...self, hasProgressed: true }, goOn]
    case "CaughtUp":
      return [to(self, caughtUp(state)), goOn]
    case "Disrupted":
      return [to(self, disrupted(state, { cause: event.cause, event: undefined })), goOn]
    case "Restored":
      return [to(self, state._tag === "Disrupted" ? state.from : state), goOn]
    case "Failing":
      return [to(self, { _tag: event.isFenced ? "Fenced" : "Restarting", failure: event.failure }), goOn]
    case "Failed":
      return failed(self, event.cause)
    case "Fenced":
      return fenced(self, event)
    case "JournalChanged":
      return [self, { _tag: "ResetOffsets", cause: event.cause, change: event.change }]
    case "OffsetsReset":
      // a fork concerns one of several logs, and the others may follow
      return event.isDone && event.change._tag === "JournalForked" ? readCommand(self) : failed(self, event.cause)
    case "FailedForGood":
      return [to(self, { _tag: "Stopped", failure: event.failure }), { _tag: "Stop", failure: event.failure }]
    case "Ended":
      return [to(self, { _tag: "Ended" }), goOn]
  }
}

const to = (self: Lifecycle, state: State): Lifecycle => state === self.state ? self : { ...self, state }

/** Before every beginning, as a projection may have been paused or rewound meanwhile. */
const readCommand = (self: Lifecycle): Transition => [
  self.hasProgressed ? { ...self, failures: 0, hasProgressed: false } : self,
  { _tag: "ReadCommand" }
]

/** It shows its failure until it runs again. */
const beginning = (state: State): State =>
  state._tag === "Restarting" || state._tag === "Fenced" ? state : { _tag: "Starting" }

const caughtUp = (state: State): State => {
  if (state._tag === "CatchingUp") return { _tag: "Running" }
  return state._tag === "Disrupted" && state.from._tag === "CatchingUp"
    ? { ...state, from: { _tag: "Running" } }
    : state
}

const disrupted = (state: State, failure: WorkerFailure): State => {
  if (state._tag === "Paused" || state._tag === "Retired") return state
  return { _tag: "Disrupted", failure, from: state._tag === "Disrupted" ? state.from : state }
}

const failed = (self: Lifecycle, cause: Cause.Cause<unknown>): Transition => {
  const failures = self.hasProgressed ? 1 : self.failures + 1
  const state: State = { _tag: "Restarting", failure: { cause, event: undefined } }
  return [
    { ...self, state, failures, hasProgressed: false, restarts: self.restarts + 1 },
    wait(failures, maxFailureWait)
  ]
}

const fenced = (self: Lifecycle, { cause, isHandover, lasted }: Extract<Event, { _tag: "Fenced" }>): Transition => {
  const fencings = lasted > aloneFor ? 1 : self.fencings + 1
  const state: State = { _tag: "Fenced", failure: { cause, event: undefined } }
  const action: Action = isHandover === true
    ? { _tag: "Wait", millis: Math.min(handoverWait * 2 ** (fencings - 1), maxFencedWait), isExpected: true }
    : wait(fencings, maxFencedWait)
  return [{ ...self, state, fencings, restarts: self.restarts + 1 }, action]
}

/** @internal The problem of a worker, if it has one. */
export const failureOf = (state: State): WorkerFailure | undefined => "failure" in state ? state.failure : undefined
