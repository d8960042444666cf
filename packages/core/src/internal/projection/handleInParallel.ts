import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import type { Element } from "../../Envelope.ts"
import type { WorkerFailure } from "../../WorkerStatus.ts"
import { InterruptedByCommand, isFenced, isOfCommand, workerFailure } from "./failures.ts"
import { type Handling, handOut, passPoison, retry } from "./handling.ts"
import { type Failure, SliceLanes } from "./SliceLanes.ts"

/** For how many milliseconds a worker that has failed waits for the calls of its handler that are under way. */
const patience = 5_000

type Elements = ReadonlyArray<Element<any>>

/** @internal What handling at the same time needs of a worker. */
export interface Options {
  readonly handling: Handling
  readonly parallelism: number
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
 * Hands events to the handler at the same time, those of a slice one after the other. Only whoever calls these moves offsets, and
 * never past an event that is not handled.
 */
export interface Parallel {
  /** Ends when there is room for the elements, and has their events handled. */
  readonly add: (elements: Elements) => Effect.Effect<void, unknown, any>
  /** Ends when everything is handled. */
  readonly drain: Effect.Effect<void, unknown, any>
  /** Moves the offsets past what was handled, and past what has failed as the recovery strategy says. Fails if nothing can go on. */
  readonly settle: Effect.Effect<void, unknown, any>
  /** Ends when there is something to {@link settle} that cannot wait. */
  readonly isDue: Effect.Effect<void>
  readonly isEmpty: () => boolean
  /** Ends when what the handler has is handled, or takes too long after a failure. It is given nothing more. */
  readonly finish: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
  /** Interrupts the handler, and moves the offsets past what was handled. */
  readonly end: Effect.Effect<void>
}

interface State {
  readonly options: Options
  readonly lanes: SliceLanes
  readonly scope: Scope.Closeable
  readonly stopped: Latch.Latch
  /** As the worker's, but that no try is waited for once it has stopped. */
  readonly handling: Handling
  failure: Cause.Cause<unknown> | undefined
  listener: (() => void) | undefined
}

/** @internal */
export const makeParallel = (options: Options): Effect.Effect<Parallel, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { handling, inSourceOrder, parallelism } = options
    const stopped = yield* Latch.make(false)
    const isStopped = Effect.andThen(stopped.await, Effect.fail(new InterruptedByCommand()))
    const self: State = {
      options,
      lanes: new SliceLanes(parallelism, { inSourceOrder }),
      scope: yield* Scope.fork(yield* Effect.scope),
      stopped,
      handling: { ...handling, sleep: (delay) => Effect.raceFirst(handling.sleep(delay), isStopped) },
      failure: undefined,
      listener: undefined
    }
    return {
      add: (elements) => add(self, elements),
      drain: drain(self),
      settle: settle(self),
      isDue: until(self, () => isDue(self)),
      isEmpty: () => self.lanes.isEmpty,
      finish: (cause) => finish(self, cause),
      end: Effect.andThen(Scope.close(self.scope, Exit.void), Effect.sync(() => leaveAtEnd(self)))
    }
  })

const add = (self: State, elements: Elements): Effect.Effect<void, unknown, any> =>
  Effect.andThen(
    settle(self),
    Effect.suspend(() => {
      const { lanes } = self
      if (!lanes.hasRoom) return Effect.andThen(until(self, () => isDue(self) || mayLeave(self)), add(self, elements))
      lanes.add(elements)
      return mayLeave(self) ? Effect.andThen(begin(self), settle(self)) : begin(self)
    })
  )

const drain = (self: State): Effect.Effect<void, unknown, any> =>
  Effect.andThen(
    settle(self),
    Effect.suspend(() =>
      self.lanes.isEmpty ? Effect.void : Effect.andThen(until(self, () => isDue(self) || mayLeave(self)), drain(self))
    )
  )

const mayLeave = ({ lanes }: State): boolean => lanes.elementsLeft > 0

const isDue = ({ failure, lanes, options }: State): boolean =>
  failure !== undefined || options.interruption.isThere || lanes.poison !== undefined ||
  lanes.elementsLeft > 0 && options.isSaveDue(lanes.elementsLeft)

/** Ends when the predicate holds, which may change when a call of the handler has ended, or a command comes. */
const until = (self: State, predicate: () => boolean): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const { interruption } = self.options
    const look = () => {
      if (!predicate()) return
      listen(undefined)
      resume(Effect.void)
    }
    const listen = (listener: (() => void) | undefined) => {
      self.listener = listener
      interruption.listener = listener
    }
    listen(look)
    look()
    return Effect.sync(() => {
      if (self.listener === look) listen(undefined)
    })
  })

const settle = (self: State): Effect.Effect<void, unknown, any> =>
  Effect.suspend(() => {
    if (self.failure !== undefined) return Effect.failCause(self.failure)
    const { lanes, options } = self
    if (options.interruption.isThere) return Effect.fail(new InterruptedByCommand())
    const saved = leave(self) ? options.save : Effect.void
    const { poison } = lanes
    return poison === undefined ? saved : Effect.andThen(saved, meet(self, poison))
  })

/** Moves the offsets past what was handled. Says whether they have to be stored. */
const leave = ({ lanes, options: { handled, handling } }: State): boolean => {
  if (lanes.elementsLeft === 0) return false
  const { bytes, elements } = lanes.leave()
  handling.tracker.advance(elements)
  return handled(elements.length, bytes)
}

const leaveAtEnd = (self: State): void => {
  leave(self)
  const { lanes: { behind }, options } = self
  if (behind.length > 0) options.handledBehind(behind)
}

/** Goes past an event that has failed, before which everything was handled that offsets tell of. */
const meet = (self: State, failure: Failure): Effect.Effect<void, unknown, any> => {
  const { lanes, options: { handled, handling, save } } = self
  return Effect.flatMap(passPoison(handling, failure.envelope, failure.cause), () => {
    lanes.pass(failure)
    const next = Effect.andThen(begin(self), settle(self))
    return handled(1, failure.envelope.bytes) ? Effect.andThen(save, next) : next
  })
}

/** Has somebody handle what is ready, if not enough are busy. */
const begin = (self: State): Effect.Effect<void, never, any> =>
  Effect.suspend(() => self.lanes.begin() ? Effect.asVoid(Effect.forkIn(run(self), self.scope)) : Effect.void)

/** Handles one event after the other, until none is ready. */
const run: (self: State) => Effect.Effect<void, never, any> = Effect.fnUntraced(function*(self) {
  const { handling, lanes } = self
  let envelope = lanes.next()
  while (envelope !== undefined) {
    const envelopes = [envelope]
    const handing = handOut(handling, envelopes)
    const exit = yield* Effect.exit(
      Effect.matchCauseEffect(handing, {
        onFailure: (cause) => retry(handling, envelopes, cause, handing),
        onSuccess: () => Effect.undefined
      })
    )
    if (Exit.isFailure(exit)) self.failure ??= exit.cause
    else if (exit.value !== undefined) lanes.failed(envelope, exit.value)
    else {
      handling.monitor.handled(envelopes)
      lanes.handled(envelope)
    }
    if (self.failure !== undefined || self.options.interruption.isThere) lanes.stop()
    // before others look, so that this one does not look busy if there is nothing more
    envelope = lanes.next()
    self.listener?.()
  }
})

const finish = (self: State, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { lanes, options: { handling: { monitor } }, stopped } = self
    lanes.stop()
    stopped.openUnsafe()
    if (lanes.busy === 0) return Effect.void
    const ended = until(self, () => lanes.busy === 0)
    // as elsewhere, a command waits for the handler
    if (isOfCommand(cause)) return ended
    const failure = workerFailure(cause)
    monitor.happened({ _tag: "Failing", failure, isFenced: isFenced(cause) })
    return Effect.logWarning(
      `Has failed${at(failure)}, and waits for other calls of its handler to end, for at most ${patience} ms`,
      failure.cause
    ).pipe(
      Effect.andThen(Effect.timeoutOption(ended, patience)),
      Effect.flatMap((outcome) =>
        outcome._tag === "Some" ? Effect.void : Effect.logWarning("Interrupts the calls that have not ended")
      )
    )
  })

const at = ({ event }: WorkerFailure): string =>
  event === undefined ? "" : ` at event ${event.sequenceNumber} of '${event.persistenceId}'`
