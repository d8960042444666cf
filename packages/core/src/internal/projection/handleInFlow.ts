import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Envelope } from "../../Envelope.ts"
import { type Done, type Flow, FlowEnded, FlowOverdue } from "../../Flow.ts"
import { FlowLanes } from "./FlowLanes.ts"
import { queueBehind, skipAsTold } from "./handling.ts"
import { type InHand, makeInHand, type Options, type Outcome } from "./inHand.ts"

interface State {
  readonly flow: Flow
  readonly options: Options
  readonly outcome: Outcome
  readonly lanes: FlowLanes
  /** Opened when there is something to take, or nothing more comes. */
  readonly wanted: Latch.Latch
  isStopped: boolean
  hasEnded: boolean
  /** It has not ended in time, though the envelopes have and it has none of them. */
  isLate: boolean
  /** Whether it is the storage that is waited for, and not the flow. */
  isAdmitting: boolean
  /** Since when the flow, having nothing, is waited for, in milliseconds: to take an event, or to end. */
  waitsSince: number | undefined
}

/**
 * @internal
 * Gives events to a flow, for as long as the scope. What it emits is done.
 */
export const makeFlow = (options: Options, flow: Flow): Effect.Effect<InHand, never, Scope.Scope> =>
  makeInHand(options, (outcome) =>
    Effect.gen(function*() {
      const self: State = {
        flow,
        options,
        outcome,
        lanes: new FlowLanes(flow.inHand, {
          inSourceOrder: options.inSourceOrder,
          // nothing is parked while the flow has events: they are done before one is put aside. What is to be skipped was known before
          isParked: (place) => options.handling.parked.has(place) || options.handling.skips.has(place)
        }),
        wanted: yield* Latch.make(false),
        isStopped: false,
        hasEnded: false,
        isLate: false,
        isAdmitting: false,
        waitsSince: undefined
      }
      yield* Effect.forkIn(run(self), outcome.scope)
      yield* Effect.forkIn(watch(self), outcome.scope)
      return {
        lanes: self.lanes,
        begin: Effect.sync(() => waits(self)),
        meet: () => self.lanes.parked && meet(self, self.lanes.parked),
        stop: Effect.sync(() => {
          self.isStopped = true
          self.waitsSince = millis(self)
          self.wanted.openUnsafe()
        }),
        isBusy: () => !self.hasEnded && !self.isLate
      }
    }))

/**
 * Queues an event of a parked entity, or skips one, before which everything is done that offsets tell of. If that is not to be any more, the flow takes the event, and
 * those of its entity up to one that is to be skipped.
 */
const meet = ({ lanes, options: { handled, handling, save } }: State, envelope: Envelope<any>) => {
  const passing = handling.skips.has(envelope)
    ? skipAsTold(handling, envelope)
    : queueBehind(handling, [envelope], [envelope])
  return Effect.flatMap(passing, (isPassed): Effect.Effect<void, unknown, any> => {
    if (!isPassed) {
      lanes.unpark(envelope)
      return Effect.void
    }
    lanes.pass(envelope)
    return handled(1, envelope.bytes) ? save : Effect.void
  })
}

const millis = ({ options: { handling: { clock } } }: State): number =>
  Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)

const fail = ({ outcome }: State, cause: Cause.Cause<unknown>): void => {
  outcome.failure ??= cause
  outcome.changed()
}

/** There is something to take. */
const waits = (self: State): void => {
  if (self.lanes.waiting === undefined || self.isAdmitting) return
  self.waitsSince ??= millis(self)
  self.wanted.openUnsafe()
}

const run = (self: State): Effect.Effect<void, never, any> =>
  Effect.suspend(() => Stream.runForEachArray(self.flow.run(Stream.fromPull(Effect.succeed(take(self)))), done(self)))
    .pipe(
      Effect.scoped,
      Effect.exit,
      Effect.map((exit) => {
        self.hasEnded = true
        if (Exit.isFailure(exit)) fail(self, exit.cause)
        else if (!isAtEnd(self)) {
          fail(self, Cause.fail(new FlowEnded({ projection: self.options.handling.projection.name, event: undefined })))
        }
        self.outcome.changed()
      })
    )

const done = (self: State) => (some: ReadonlyArray<Done>) =>
  Effect.sync(() => {
    const { lanes, options: { handling: { monitor } }, outcome } = self
    const handled: Array<Envelope<any>> = []
    const now = millis(self)
    for (const one of some) {
      const envelope = lanes.done(one, now)
      if (envelope !== undefined) handled.push(envelope)
    }
    if (handled.length === 0) return
    if (self.waitsSince !== undefined) self.waitsSince = now
    monitor.handled(handled)
    outcome.changed()
  })

const isAtEnd = ({ isStopped, options: { interruption }, outcome }: State): boolean =>
  isStopped || outcome.failure !== undefined || interruption.isThere

/** What the flow is given next. It ends when the worker does. */
const take = (self: State): Pull.Pull<NonEmptyReadonlyArray<Envelope<any>>> => {
  const { lanes, options: { handling: { admit = Effect.void } }, wanted } = self
  const next: Pull.Pull<NonEmptyReadonlyArray<Envelope<any>>> = Effect.suspend(() => {
    if (isAtEnd(self)) return Cause.done()
    if (lanes.waiting === undefined) {
      wanted.closeUnsafe()
      return Effect.andThen(wanted.await, next)
    }
    self.isAdmitting = true
    self.waitsSince = undefined
    return Effect.matchCauseEffect(admit, {
      onFailure: (cause) => {
        self.isAdmitting = false
        fail(self, cause)
        return Cause.done()
      },
      onSuccess: () => {
        self.isAdmitting = false
        if (isAtEnd(self)) return Cause.done()
        const taken = lanes.take(millis(self))
        waits(self)
        return Effect.succeed(taken)
      }
    })
  })
  return next
}

/** Finds out what the flow does not emit, or does not take, and that it does not end. */
const watch = (self: State): Effect.Effect<never> => {
  const deadline = Duration.toMillis(self.flow.deadline)
  const look = Effect.suspend(() => {
    const { hasEnded, isStopped, lanes, options: { handling: { projection } }, outcome, waitsSince } = self
    const { since, envelope } = lanes.oldest ??
      { since: waitsSince, envelope: isAtEnd(self) ? undefined : lanes.waiting }
    if (hasEnded || since === undefined || millis(self) - since < deadline) return Effect.void
    if (envelope !== undefined) {
      const { persistenceId, sequenceNumber } = envelope
      fail(self, Cause.fail(new FlowOverdue({ projection: projection.name, persistenceId, sequenceNumber, deadline })))
      return Effect.void
    }
    if (!isStopped || self.isLate) return Effect.void
    self.isLate = true
    outcome.changed()
    return Effect.logWarning(
      `Interrupts the flow, which has not ended ${deadline} ms after its envelopes: have it end with them`
    )
  })
  return Effect.forever(Effect.andThen(Effect.sleep(deadline / 4), look))
}
