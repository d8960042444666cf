import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Element } from "../../Envelope.ts"
import type { WorkerFailure } from "../../WorkerStatus.ts"
import { InterruptedByCommand, isFenced, isOfCommand, workerFailure } from "./failures.ts"
import type { Handling } from "./handling.ts"

/** For how many milliseconds a worker that has failed waits for what its handler has. */
const patience = 5_000

type Elements = ReadonlyArray<Element<any>>

/** @internal What having several events in hand needs of a worker. */
export interface Options {
  readonly handling: Handling
  /** Whether offsets move in the order of the source, and not only in that of each slice. */
  readonly inSourceOrder: boolean
  readonly interruption: Interruption
  /** Elements with so many bytes of events were handled, or passed. Says whether offsets have to be stored now. */
  readonly handled: (elements: number, bytes: number) => boolean
  /** Whether offsets have to be stored once so many elements more were handled. */
  readonly isSaveDue: (elements: number) => boolean
  /** Stores the offsets. */
  readonly save: Effect.Effect<void, unknown, any>
  /** Elements were handled whose offsets may not move, as the incarnation ends before something that comes before them was. */
  readonly handledBehind: (elements: Elements) => void
}

/** @internal Whether there is another command, which ends the incarnation between two events. */
export interface Interruption {
  isThere: boolean
  /** Called when there is. */
  listener?: (() => void) | undefined
}

/**
 * @internal
 * Events that a worker has in hand, several at a time. Only whoever calls these moves offsets, and never past an event that is not handled.
 */
export interface InHand {
  /** Ends when there is room for the elements, and has their events handled. */
  readonly add: (elements: Elements) => Effect.Effect<void, unknown, any>
  /** Ends when everything is handled. */
  readonly drain: Effect.Effect<void, unknown, any>
  /** Moves the offsets past what was handled, and past what has failed as the recovery strategy says. Fails if nothing can go on. */
  readonly settle: Effect.Effect<void, unknown, any>
  /** Ends when there is something to {@link settle} that cannot wait. */
  readonly isDue: Effect.Effect<void>
  readonly isEmpty: () => boolean
  /** Ends when what the handler has is handled, or takes too long after a failure, also one after a command. It is given nothing more. */
  readonly finish: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
  /** Interrupts the handler, and moves the offsets past what was handled. */
  readonly end: Effect.Effect<void>
}

/** @internal The order in which elements that are in hand may leave. */
export interface Lanes {
  readonly isEmpty: boolean
  readonly hasRoom: boolean
  /** How many elements may leave. */
  readonly elementsLeft: number
  readonly add: (elements: Elements) => void
  /** Takes the elements out that may leave. */
  readonly leave: () => { readonly elements: Elements; readonly bytes: number }
  /** What is done and may not leave yet, as something before it is not done. */
  readonly behind: Elements
}

/** @internal Whoever handles what is in hand. */
export interface Hands {
  readonly lanes: Lanes
  /** Has events handled that were added. */
  readonly begin: Effect.Effect<void, never, any>
  /** Goes past an event that has failed, if there is one that may be passed now. */
  readonly meet: () => Effect.Effect<void, unknown, any> | undefined
  /** Takes nothing more. */
  readonly stop: Effect.Effect<void>
  /** Whether it has events that are not handled. */
  readonly isBusy: () => boolean
}

/** @internal What those who handle tell. */
export interface Outcome {
  readonly scope: Scope.Closeable
  /** The first failure that is not that of an event. Nothing goes on after it. */
  failure: Cause.Cause<unknown> | undefined
  /** Called when something was handled, or has failed. */
  changed: () => void
}

interface State {
  readonly options: Options
  readonly hands: Hands
  readonly outcome: Outcome
}

/** @internal */
export const makeInHand = (
  options: Options,
  make: (outcome: Outcome) => Effect.Effect<Hands, never, any>
): Effect.Effect<InHand, never, any> =>
  Effect.gen(function*() {
    const outcome: Outcome = {
      scope: yield* Scope.fork(yield* Effect.scope),
      failure: undefined,
      changed: nobody
    }
    const self: State = { options, outcome, hands: yield* make(outcome) }
    return {
      add: (elements) => add(self, elements),
      drain: drain(self),
      settle: settle(self),
      isDue: until(self, () => isDue(self)),
      isEmpty: () => self.hands.lanes.isEmpty,
      finish: (cause) => finish(self, cause),
      end: Effect.andThen(Scope.close(outcome.scope, Exit.void), Effect.sync(() => leaveAtEnd(self)))
    }
  })

const nobody = () => {}

const add = (self: State, elements: Elements): Effect.Effect<void, unknown, any> =>
  Effect.andThen(
    settle(self),
    Effect.suspend(() => {
      const { begin, lanes } = self.hands
      if (!lanes.hasRoom) return Effect.andThen(until(self, () => isDue(self) || mayLeave(self)), add(self, elements))
      lanes.add(elements)
      return mayLeave(self) ? Effect.andThen(begin, settle(self)) : begin
    })
  )

const drain = (self: State): Effect.Effect<void, unknown, any> =>
  Effect.andThen(
    settle(self),
    Effect.suspend(() =>
      self.hands.lanes.isEmpty
        ? Effect.void
        : Effect.andThen(until(self, () => isDue(self) || mayLeave(self)), drain(self))
    )
  )

const mayLeave = ({ hands: { lanes } }: State): boolean => lanes.elementsLeft > 0

const isDue = ({ hands: { lanes, meet }, options, outcome }: State): boolean =>
  outcome.failure !== undefined || options.interruption.isThere || meet() !== undefined ||
  lanes.elementsLeft > 0 && options.isSaveDue(lanes.elementsLeft)

/** Ends when the predicate holds, which may change when something was handled, or a command comes. */
const until = (self: State, predicate: () => boolean): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const { options: { interruption }, outcome } = self
    const look = () => {
      if (!predicate()) return
      forget()
      resume(Effect.void)
    }
    const forget = () => {
      outcome.changed = nobody
      interruption.listener = undefined
    }
    outcome.changed = look
    interruption.listener = look
    look()
    return Effect.sync(() => {
      if (outcome.changed === look) forget()
    })
  })

const settle = (self: State): Effect.Effect<void, unknown, any> =>
  Effect.suspend(() => {
    const { hands: { begin, meet }, options, outcome } = self
    if (outcome.failure !== undefined) return Effect.failCause(outcome.failure)
    if (options.interruption.isThere) return Effect.fail(new InterruptedByCommand())
    const saved = leave(self) ? options.save : Effect.void
    const met = meet()
    return met === undefined
      ? saved
      : saved.pipe(Effect.andThen(met), Effect.andThen(begin), Effect.andThen(settle(self)))
  })

/** Moves the offsets past what was handled. Says whether they have to be stored. */
const leave = ({ hands: { lanes }, options: { handled, handling } }: State): boolean => {
  if (lanes.elementsLeft === 0) return false
  const { bytes, elements } = lanes.leave()
  handling.tracker.advance(elements)
  return handled(elements.length, bytes)
}

const leaveAtEnd = (self: State): void => {
  leave(self)
  const { hands: { lanes: { behind } }, options } = self
  if (behind.length > 0) options.handledBehind(behind)
}

const finish = (self: State, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.andThen(
    self.hands.stop,
    Effect.suspend(() => {
      const { hands: { isBusy }, outcome } = self
      if (!isOfCommand(cause)) return isBusy() ? finishFailed(self, cause) : Effect.void
      // as elsewhere, a command waits for the handler
      return Effect.andThen(
        until(self, () => !isBusy() || failureOf(outcome) !== undefined),
        Effect.suspend(() => {
          const failure = failureOf(outcome)
          return failure === undefined ? Effect.void : finishFailed(self, failure)
        })
      )
    })
  )

/** What has failed, other than for a command. */
const failureOf = ({ failure }: Outcome): Cause.Cause<unknown> | undefined =>
  failure === undefined || isOfCommand(failure) ? undefined : failure

const finishFailed = (self: State, cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const { hands: { isBusy }, options: { handling: { monitor } } } = self
  const failure = workerFailure(cause)
  monitor.happened({ _tag: "Failing", failure, isFenced: isFenced(cause) })
  if (!isBusy()) return Effect.logWarning(`Has failed${at(failure)} while it ended for a command`, failure.cause)
  return Effect.logWarning(
    `Has failed${at(failure)}, and waits for other calls of its handler to end, for at most ${patience} ms`,
    failure.cause
  ).pipe(
    Effect.andThen(Effect.timeoutOption(until(self, () => !isBusy()), patience)),
    Effect.flatMap((outcome) =>
      outcome._tag === "Some" ? Effect.void : Effect.logWarning("Interrupts the calls that have not ended")
    )
  )
}

const at = ({ event }: WorkerFailure): string =>
  event === undefined ? "" : ` at event ${event.sequenceNumber} of '${event.persistenceId}'`
