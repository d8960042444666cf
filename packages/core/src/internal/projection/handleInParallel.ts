import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import { EntityLanes, type Entry } from "./EntityLanes.ts"
import { InterruptedByCommand } from "./failures.ts"
import { type Handling, handOut, pass, passPoison, retry } from "./handling.ts"

/** @internal What handling at the same time needs of a worker. */
export interface Options {
  readonly handling: Handling
  readonly parallelism: number
  readonly interruption: Interruption
  /** Elements with so many bytes of events were handled, or passed. Says whether offsets have to be stored now. */
  readonly handled: (elements: number, bytes: number) => boolean
  /** Whether offsets have to be stored once so many elements more were handled. */
  readonly isSaveDue: (elements: number) => boolean
  /** Stores the offsets. */
  readonly save: Effect.Effect<void, unknown, any>
}

/** @internal Whether there is another command, which ends the incarnation between two events. */
export interface Interruption {
  isThere: boolean
  /** Called when there is. */
  listener?: (() => void) | undefined
}

/**
 * @internal
 * Hands events to the handler at the same time, those of an entity one after the other. Only whoever calls these moves offsets, and
 * never past an event that is not handled.
 */
export interface Parallel {
  /** Ends when there is room for the entry, and has it handled. */
  readonly add: (entry: Entry) => Effect.Effect<void, unknown, any>
  /** Ends when everything is handled. */
  readonly drain: Effect.Effect<void, unknown, any>
  /** Moves the offsets past what was handled, and past what has failed as the recovery strategy says. Fails if nothing can go on. */
  readonly settle: Effect.Effect<void, unknown, any>
  /** Ends when there is something to {@link settle} that cannot wait. */
  readonly isDue: Effect.Effect<void>
  readonly isEmpty: () => boolean
  /** Ends when what the handler has is handled. It is given nothing more. */
  readonly finish: Effect.Effect<void>
  /** Interrupts the handler, and moves the offsets past what was handled. */
  readonly end: Effect.Effect<void>
}

interface State {
  readonly options: Options
  readonly lanes: EntityLanes
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
    const { handling, parallelism } = options
    const stopped = yield* Latch.make(false)
    const isStopped = Effect.andThen(stopped.await, Effect.fail(new InterruptedByCommand()))
    const self: State = {
      options,
      lanes: new EntityLanes(parallelism),
      scope: yield* Scope.fork(yield* Effect.scope),
      stopped,
      handling: { ...handling, sleep: (delay) => Effect.raceFirst(handling.sleep(delay), isStopped) },
      failure: undefined,
      listener: undefined
    }
    return {
      add: (entry) => add(self, entry),
      drain: drain(self),
      settle: settle(self),
      isDue: until(self, () => isDue(self)),
      isEmpty: () => self.lanes.isEmpty,
      finish: finish(self),
      end: Effect.andThen(Scope.close(self.scope, Exit.void), Effect.sync(() => void leave(self)))
    }
  })

const add = (self: State, entry: Entry): Effect.Effect<void, unknown, any> =>
  Effect.andThen(
    settle(self),
    Effect.suspend(() => {
      const { lanes } = self
      if (!lanes.hasRoom) return Effect.andThen(until(self, () => isDue(self) || mayLeave(self)), add(self, entry))
      lanes.add(entry)
      return entry.envelope === undefined ? settle(self) : begin(self)
    })
  )

const drain = (self: State): Effect.Effect<void, unknown, any> =>
  Effect.andThen(
    settle(self),
    Effect.suspend(() =>
      self.lanes.isEmpty ? Effect.void : Effect.andThen(until(self, () => isDue(self) || mayLeave(self)), drain(self))
    )
  )

const mayLeave = ({ lanes }: State): boolean => lanes.elementsAhead > 0

const isDue = ({ failure, lanes, options }: State): boolean =>
  failure !== undefined || options.interruption.isThere || lanes.poison !== undefined ||
  lanes.elementsAhead > 0 && options.isSaveDue(lanes.elementsAhead)

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
    return poison === undefined ? saved : Effect.andThen(saved, meet(self, poison.entry, poison.cause))
  })

/** Moves the offsets past what was handled. Says whether they have to be stored. */
const leave = ({ lanes, options: { handled, handling } }: State): boolean => {
  let isSaveDue = false
  for (const { bytes, elements } of lanes.leave()) {
    handling.tracker.advance(elements)
    isSaveDue = handled(elements.length, bytes) || isSaveDue
  }
  return isSaveDue
}

/** Goes past an event that has failed, before which everything was handled. */
const meet = (
  self: State,
  { bytes, elements, envelope }: Entry,
  cause: Cause.Cause<unknown>
): Effect.Effect<void, unknown, any> => {
  const { lanes, options: { handled, handling, save } } = self
  const passed = Effect.andThen(pass(handling, elements.slice(0, -1)), passPoison(handling, envelope!, cause))
  return Effect.flatMap(passed, () => {
    lanes.pass()
    const next = Effect.andThen(begin(self), settle(self))
    return handled(elements.length, bytes) ? Effect.andThen(save, next) : next
  })
}

/** Has somebody handle what is ready, if not enough are busy. */
const begin = (self: State): Effect.Effect<void, never, any> =>
  Effect.suspend(() => self.lanes.begin() ? Effect.asVoid(Effect.forkIn(run(self), self.scope)) : Effect.void)

/** Handles one event after the other, until none is ready. */
const run: (self: State) => Effect.Effect<void, never, any> = Effect.fnUntraced(function*(self) {
  const { handling, lanes } = self
  for (let entry = lanes.next(); entry !== undefined; entry = lanes.next()) {
    const envelopes = [entry.envelope!]
    const handing = handOut(handling, envelopes)
    const exit = yield* Effect.exit(
      Effect.matchCauseEffect(handing, {
        onFailure: (cause) => retry(handling, envelopes, cause, handing),
        onSuccess: () => Effect.undefined
      })
    )
    if (Exit.isFailure(exit)) self.failure ??= exit.cause
    else if (exit.value !== undefined) lanes.failed(entry, exit.value)
    else {
      handling.monitor.handled(envelopes)
      lanes.handled(entry)
    }
    if (self.failure !== undefined) lanes.stop()
    self.listener?.()
  }
  self.listener?.()
})

const finish = (self: State): Effect.Effect<void> =>
  Effect.suspend(() => {
    self.lanes.stop()
    self.stopped.openUnsafe()
    return until(self, () => !self.lanes.isBusy)
  })
