import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { TestClock } from "effect/testing/TestClock"

/** How patient it is. */
interface Pace {
  /** How often it only lets others go on, before time passes. */
  readonly yields: number
  /** For how many milliseconds the time of a test clock stands still. */
  readonly still: number
  /** How much faster than real time the time of a test clock passes then. */
  readonly speed: number
  /** The longest pause between two tries, in milliseconds. */
  readonly pause: number
}

/** @internal */
export const Pace = Context.Reference<Pace>("@sluice/testing/internal/Pace", {
  defaultValue: () => ({ yields: 200, still: 100, speed: 10, pause: 25 })
})

/** @internal For what is tried many times, where nothing depends on what time it is. */
export const quick: Pace = { yields: 60, still: 0, speed: 100, pause: 2 }

/** A test clock would wait until somebody moves it. */
const realClock = Clock.Clock.defaultValue()

const isTestClock = (clock: Clock.Clock): clock is TestClock => "adjust" in clock

/**
 * @internal
 * Runs an attempt again and again until it succeeds. Fails as the last attempt did, once `timeout` is over, or `over` has said before that attempt why no
 * further one is of use; `late` says at the time-out what else is known. The time-out is real time under a test clock, which is moved on while it waits; and else the clock's.
 */
export const eventually = <A, E, R>(attempt: Effect.Effect<A, E, R>, options: {
  readonly timeout: Duration.Input
  readonly over: Effect.Effect<Cause.Cause<never> | undefined>
  readonly late: Effect.Effect<Cause.Cause<never>>
}): Effect.Effect<A, E, R> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const { pause, speed, still, yields } = yield* Pace
    const timer = isTestClock(clock) ? realClock : clock
    const limit = Duration.toMillis(Duration.fromInputUnsafe(options.timeout))
    const start = timer.monotonicTimeNanosUnsafe()
    for (let yielded = 0;;) {
      // before the attempt, which then sees everything that had happened
      const over = yield* options.over
      const exit = yield* Effect.exit(attempt)
      if (Exit.isSuccess(exit)) return exit.value
      if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.failCause(exit.cause)
      const waited = Number(timer.monotonicTimeNanosUnsafe() - start) / 1e6
      if (over !== undefined) return yield* Effect.failCause(Cause.combine(exit.cause, over))
      if (waited > limit) return yield* Effect.failCause(Cause.combine(exit.cause, yield* options.late))
      if (yielded < yields) {
        // an attempt can be more work than what it waits for
        for (const until = 2 * yielded + 1; yielded < until; yielded++) yield* Effect.yieldNow
        continue
      }
      const millis = Math.min(Math.max(waited / 5, 1), pause)
      yield* Effect.provideService(Effect.sleep(millis), Clock.Clock, timer)
      if (isTestClock(clock) && waited >= still) yield* clock.adjust(Math.ceil(millis * speed))
    }
  })
