/**
 * Waiting for what other fibers, processes or databases bring about, without guessing how long that takes.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/**
 * Asks again and again until the condition holds. If it does not hold after `atMost` (a minute), dies with an error
 * that says what it waited for.
 *
 * **Details**
 *
 * The time is real time, under a `TestClock` as well. The pauses between the questions grow with the time waited, from 2 to 25 milliseconds.
 * A question that takes longer than that is followed by a pause of twice its time, of 250 milliseconds at most.
 *
 * **Example** (Waiting for another fiber)
 *
 * ```ts
 * import * as Wait from "@sluice/testing/Wait"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const seen: Array<string> = []
 *   yield* Effect.forkChild(Effect.sync(() => seen.push("hello")))
 *   yield* Wait.until("the fiber to say hello", () => seen.length === 1)
 *   return seen
 * })
 * await Effect.runPromise(program) // => ["hello"]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const until = <E = never, R = never>(
  what: string,
  condition: (() => boolean) | Effect.Effect<boolean, E, R>,
  options?: { readonly atMost?: Duration.Input | undefined }
): Effect.Effect<void, E, R> =>
  Effect.gen(function*() {
    const limit = Duration.toMillis(Duration.fromInputUnsafe(options?.atMost ?? defaultAtMost))
    const holds = Effect.isEffect(condition) ? condition : Effect.sync(condition)
    const start = realClock.monotonicTimeNanosUnsafe()
    const elapsed = () => Number(realClock.monotonicTimeNanosUnsafe() - start) / 1e6
    for (let polls = 0, asked = 0; !(yield* holds); polls++) {
      const waited = elapsed()
      if (waited > limit) return yield* Effect.die(new Error(`Waited ${limit} ms in vain for ${what}`))
      // what takes long is asked for less often: asking can be most of the work that others wait for
      const answering = Math.min(2 * (waited - asked), 250)
      yield* polls < yields && waited < 2
        ? Effect.yieldNow
        : pause(Math.max(Math.min(Math.max(waited / 5, 2), 25), answering))
      asked = elapsed()
    }
  })

/** A busy machine may need long; a condition that never holds is still noticed. */
const defaultAtMost = "1 minute"

/**
 * Runs the effect to its end. When it has not ended after `atMost` (a minute), interrupts it, and dies with an error that says what it
 * waited for.
 *
 * **Example** (Waiting for what another fiber brings about)
 *
 * ```ts
 * import * as Wait from "@sluice/testing/Wait"
 * import { Deferred, Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const greeting = yield* Deferred.make<string>()
 *   yield* Effect.forkChild(Deferred.succeed(greeting, "hello"))
 *   return yield* Wait.end("the greeting", Deferred.await(greeting))
 * })
 * await Effect.runPromise(program) // => "hello"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const end = <A, E, R>(
  what: string,
  effect: Effect.Effect<A, E, R>,
  options?: { readonly atMost?: Duration.Input | undefined }
): Effect.Effect<A, E, R> =>
  Effect.raceFirst(
    effect,
    Effect.suspend(() => {
      const limit = Duration.toMillis(Duration.fromInputUnsafe(options?.atMost ?? defaultAtMost))
      return Effect.andThen(pause(limit), Effect.die(new Error(`Waited ${limit} ms in vain for ${what}`)))
    })
  )

/** Most conditions hold as soon as other fibers have had a turn. */
const yields = 50

/** A test clock would wait until somebody moves it. */
const realClock = Clock.Clock.defaultValue()

const pause = (millis: number) => Effect.provideService(Effect.sleep(millis), Clock.Clock, realClock)
