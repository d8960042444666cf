/**
 * What goes wrong while a projection is tested: values, put together by `pipe`.
 *
 * @since 0.1.0
 */
import * as ExpectedError from "@sluice/core/ExpectedError"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Schema from "effect/Schema"

const n = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

/**
 * The point at which a process is killed, of all those that an event passes: the handler is not called yet; it is in the middle of its work; it is done, and
 * nothing is stored of that by the projection, nor by an exactly-once handler; the offset is stored.
 *
 * @category schemas
 * @since 0.1.0
 */
export const CrashPoint = Schema.Literals(["beforeHandler", "inHandler", "afterHandler", "afterCommit"])

/**
 * The point at which a process is killed.
 *
 * @category models
 * @since 0.1.0
 */
export type CrashPoint = typeof CrashPoint.Type

/**
 * Something that goes wrong, at the nth `event`: those of handlers count events as the handler is given them first, those of sources as the source shows
 * them first.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Fault = Schema.Union([
  Schema.TaggedStruct("Fail", { event: n, times: n }),
  Schema.TaggedStruct("FailAfterCommit", { event: n }),
  Schema.TaggedStruct("Duplicate", { event: n }),
  Schema.TaggedStruct("Drop", { event: n }),
  Schema.TaggedStruct("Reorder", { seed: Schema.Int }),
  Schema.TaggedStruct("Crash", { event: n, at: CrashPoint, step: n })
])

/**
 * Something that goes wrong.
 *
 * @category models
 * @since 0.1.0
 */
export type Fault = typeof Fault.Type

/**
 * What goes wrong. Each happens once, unless it says otherwise.
 *
 * @category models
 * @since 0.1.0
 */
export interface Faults extends Pipeable {
  readonly faults: ReadonlyArray<Fault>
}

const Proto = {
  pipe() {
    return pipeArguments(this, arguments)
  }
}

/**
 * The faults, of which each can be made by one of the functions here. Throws a `RangeError` for an event that is no integer from 1.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (faults: ReadonlyArray<Fault>): Faults => {
  for (const fault of faults) {
    if (!Schema.is(Fault)(fault)) {
      throw new RangeError(`${JSON.stringify(fault)} is no fault: events, times and steps are integers from 1`)
    }
  }
  return Object.assign(Object.create(Proto), { faults })
}

/**
 * Nothing goes wrong.
 *
 * **Example** (Several faults)
 *
 * ```ts
 * import { Faults } from "@sluice/testing"
 *
 * const faults = Faults.none.pipe(
 *   Faults.fail(2, { times: 3 }),
 *   Faults.crash(5, { at: "afterHandler" }),
 *   Faults.duplicate(7)
 * )
 * Faults.describe(faults) // => "fails at event 2, 3 times; crashes at event 5, afterHandler; repeats event 7"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const none: Faults = make([])

const add = (fault: Fault) => (self: Faults): Faults => make([...self.faults, fault])

/**
 * The handler is not called for the nth event, and fails with {@link InjectedFault}, so many `times` (1). The recovery strategy of the projection says
 * what comes next: with `times: Infinity` the event is poison.
 *
 * @category combinators
 * @since 0.1.0
 */
export const fail = (event: number, options?: { readonly times?: number | undefined }): (self: Faults) => Faults =>
  add({ _tag: "Fail", event, times: Math.min(options?.times ?? 1, Number.MAX_SAFE_INTEGER) })

/**
 * The handler has handled the nth event, and the answer is lost. What an exactly-once handler has written is committed, and the worker, which is not told,
 * must not have it handled again. Others fail with {@link InjectedFault} after their work is done, and are called again if the recovery strategy says so.
 *
 * @category combinators
 * @since 0.1.0
 */
export const failAfterCommit = (event: number): (self: Faults) => Faults => add({ _tag: "FailAfterCommit", event })

/**
 * The nth event comes twice. An at-least-once handler is called twice. Otherwise the source shows the event twice, and the handler must not see that.
 *
 * @category combinators
 * @since 0.1.0
 */
export const duplicate = (event: number): (self: Faults) => Faults => add({ _tag: "Duplicate", event })

/**
 * The source leaves out the nth event, once. The worker notices that with the next event of its slice, and opens the source again, which shows all.
 *
 * @category combinators
 * @since 0.1.0
 */
export const drop = (event: number): (self: Faults) => Faults => add({ _tag: "Drop", event })

/**
 * Events that are read together come in another order, which depends on the seed. Those of one entity, and of one slice, stay in order.
 *
 * @category combinators
 * @since 0.1.0
 */
export const reorder = (seed = 1): (self: Faults) => Faults => add({ _tag: "Reorder", seed })

/**
 * The process of the projection is killed at the nth event, and started again. What it had in hand is interrupted, and it stores nothing any more.
 *
 * **Details**
 *
 * With `inHandler` (and any group of which the event is part) the handler is interrupted after about so many of its own steps as `step` says, by default
 * one: each effect that it runs is a step. A handler that has fewer is killed once it is done. Its finalizers run, which a real kill would not let them.
 * `afterCommit` is when an offset that includes the event was stored. At most once, that comes before the handler: it is killed when the handler is done.
 * A flow has no calls: it is killed once it has emitted the event (`afterHandler`), or `afterCommit`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const crash = (
  event: number,
  options: { readonly at: CrashPoint; readonly step?: number | undefined }
): (self: Faults) => Faults => add({ _tag: "Crash", event, at: options.at, step: options.step ?? 1 })

/**
 * The faults in one line.
 *
 * @category getters
 * @since 0.1.0
 */
export const describe = ({ faults }: Pick<Faults, "faults">): string => faults.map(describeOne).join("; ") || "none"

const describeOne = (fault: Fault): string => {
  switch (fault._tag) {
    case "Fail":
      return `fails at event ${fault.event}${timesOf(fault.times)}`
    case "FailAfterCommit":
      return `loses the answer to event ${fault.event}`
    case "Duplicate":
      return `repeats event ${fault.event}`
    case "Drop":
      return `leaves out event ${fault.event}`
    case "Reorder":
      return `reorders with seed ${fault.seed}`
    case "Crash":
      return `crashes at event ${fault.event}, ${fault.at}${fault.at === "inHandler" ? `, step ${fault.step}` : ""}`
  }
}

const timesOf = (times: number): string =>
  times === 1 ? "" : times === Number.MAX_SAFE_INTEGER ? ", always" : `, ${times} times`

/**
 * A test has asked for faults, and has come to its end without them: they are at events that did not come, or its projection was not waited for until
 * they were stored. Such a test shows nothing of them.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnmetFaults extends ExpectedError.TaggedError<UnmetFaults>("@sluice/testing/UnmetFaults")("UnmetFaults", {
  projection: Schema.String,
  faults: Schema.Array(Fault),
  /** How many events the handler was given, repetitions aside. */
  given: Schema.Int
}) {
  override get message(): string {
    const { faults, given, projection } = this
    const events = given === 1 ? "1 event" : `${given} events`
    return `The test of projection '${projection}' has ended, and what it has asked for has not happened: ${
      describe({ faults })
    }. Its handler was given ${events}: publish as many as the faults need, and wait with 'caughtUp', or leave the faults out`
  }
}

/**
 * What a handler fails with where a fault says so.
 *
 * @category errors
 * @since 0.1.0
 */
export class InjectedFault
  extends ExpectedError.TaggedError<InjectedFault>("@sluice/testing/InjectedFault")("InjectedFault", {
    fault: Fault
  })
{
  override get message(): string {
    return `A test has asked for this failure: ${describeOne(this.fault)}`
  }
}
