import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { TestClock } from "effect/testing/TestClock"

/** How often it only lets others go on, before time passes. */
const yields = 200

/** For how many milliseconds the time of a test clock stands still. */
const still = 100

/** How much faster than real time the time of a test clock passes then. */
const speed = 10

/** A test clock would wait until somebody moves it. */
const realClock = Clock.Clock.defaultValue()

const isTestClock = (clock: Clock.Clock): clock is TestClock => "adjust" in clock

/**
 * @internal
 * Runs an attempt again and again until it succeeds. Fails as the last attempt did, once `timeout` is over, or `over` has said before that attempt why no
 * further one is of use. The time-out is real time under a test clock, which is moved on while it waits; and else the clock's.
 */
export const eventually = <A, E, R>(attempt: Effect.Effect<A, E, R>, options: {
  readonly timeout: Duration.Input
  readonly over: Effect.Effect<Cause.Cause<never> | undefined>
}): Effect.Effect<A, E, R> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const timer = isTestClock(clock) ? realClock : clock
    const limit = Duration.toMillis(Duration.fromInputUnsafe(options.timeout))
    const start = timer.monotonicTimeNanosUnsafe()
    for (let tries = 0;; tries++) {
      // before the attempt, which then sees everything that had happened
      const over = yield* options.over
      const exit = yield* Effect.exit(attempt)
      if (Exit.isSuccess(exit)) return exit.value
      if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.failCause(exit.cause)
      const waited = Number(timer.monotonicTimeNanosUnsafe() - start) / 1e6
      if (over !== undefined) return yield* Effect.failCause(Cause.combine(exit.cause, over))
      if (waited > limit) return yield* Effect.failCause(exit.cause)
      if (tries < yields) {
        yield* Effect.yieldNow
        continue
      }
      const millis = Math.min(Math.max(waited / 5, 2), 25)
      yield* Effect.provideService(Effect.sleep(millis), Clock.Clock, timer)
      if (isTestClock(clock) && waited > still) yield* clock.adjust(millis * speed)
    }
  })
