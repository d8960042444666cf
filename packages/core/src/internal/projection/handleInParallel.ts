import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { Envelope } from "../../Envelope.ts"
import { isGrouped } from "../../Handler.ts"
import { InterruptedByCommand } from "./failures.ts"
import { handleGroup, type Handling, handOut, passPoison, retry } from "./handling.ts"
import { type InHand, makeInHand, type Options, type Outcome } from "./inHand.ts"
import { type Failure, SliceLanes } from "./SliceLanes.ts"

interface State {
  readonly options: Options
  readonly outcome: Outcome
  readonly lanes: SliceLanes
  /** As the worker's, but that no try is waited for once it has stopped. */
  readonly handling: Handling
}

/**
 * @internal
 * Hands events to the handler at the same time, those of a slice one after the other, or in groups of what has come.
 */
export const makeParallel = (options: Options, parallelism: number): Effect.Effect<InHand, never, Scope.Scope> =>
  makeInHand(options, (outcome) =>
    Effect.gen(function*() {
      const { handling, inSourceOrder } = options
      const stopped = yield* Latch.make(false)
      const isStopped = Effect.andThen(stopped.await, Effect.fail(new InterruptedByCommand()))
      const { handler } = handling.projection
      const lanes = new SliceLanes(parallelism, { inSourceOrder, group: isGrouped(handler) ? handler : undefined })
      const self: State = {
        options,
        outcome,
        lanes,
        handling: { ...handling, sleep: (delay) => Effect.raceFirst(handling.sleep(delay), isStopped) }
      }
      return {
        lanes,
        begin: begin(self),
        meet: () => lanes.poison && meet(self, lanes.poison),
        stop: Effect.sync(() => {
          lanes.stop()
          stopped.openUnsafe()
        }),
        isBusy: () => lanes.busy > 0
      }
    }))

/** Goes past an event that has failed, is of a parked entity, or is to be skipped, before which everything was handled that offsets tell of. */
const meet = (self: State, failure: Failure): Effect.Effect<void, unknown, any> => {
  const { lanes, options: { handled, handling, save } } = self
  const { cause, envelope } = failure
  const passing = cause === undefined
    ? handleGroup(handling, [envelope], [envelope])
    : passPoison(handling, envelope, cause)
  return Effect.flatMap(passing, () => {
    lanes.pass(failure)
    return handled(1, failure.envelope.bytes) ? save : Effect.void
  })
}

/** Has somebody handle what is ready, if not enough are busy. */
const begin = (self: State): Effect.Effect<void, never, any> =>
  Effect.suspend(() => self.lanes.begin() ? Effect.asVoid(Effect.forkIn(run(self), self.outcome.scope)) : Effect.void)

/** The first of the events that are to be handled together: none where it is of a parked entity, or is to be skipped. */
const ofHandler = (
  { parked, skips }: Handling,
  envelopes: NonEmptyReadonlyArray<Envelope<any>>
): ReadonlyArray<Envelope<any>> => {
  const end = envelopes.findIndex((envelope) => parked.has(envelope) || skips.has(envelope))
  return end < 0 ? envelopes : envelopes.slice(0, end)
}

/** Handles one event, or group, after the other, until none is ready. */
const run: (self: State) => Effect.Effect<void, never, any> = Effect.fnUntraced(function*(self) {
  const { handling, lanes, outcome } = self
  const isOfGroups = isGrouped(handling.projection.handler)
  let next = lanes.next()
  // a command may have come before its first turn
  if (next === undefined) outcome.changed()
  while (next !== undefined) {
    const envelopes = ofHandler(handling, next)
    if (!Arr.isReadonlyArrayNonEmpty(envelopes)) {
      lanes.failed(next[0], undefined)
      next = lanes.next()
      outcome.changed()
      continue
    }
    if (isOfGroups) handling.monitor.meters.group(envelopes.length)
    const handing = handOut(handling, envelopes)
    const exit = yield* Effect.exit(
      Effect.matchCauseEffect(handing, {
        onFailure: (cause) => retry(handling, envelopes, cause, handing),
        onSuccess: () => Effect.undefined
      })
    )
    if (Exit.isFailure(exit)) outcome.failure ??= exit.cause
    else if (exit.value === undefined) {
      handling.monitor.handled(envelopes)
      lanes.handled(envelopes)
    } else if (envelopes.length === 1) lanes.failed(envelopes[0], exit.value)
    else lanes.failedTogether(envelopes)
    if (outcome.failure !== undefined || self.options.interruption.isThere) lanes.stop()
    // before others look, so that this one does not look busy if there is nothing more
    next = lanes.next()
    outcome.changed()
  }
})
