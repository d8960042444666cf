import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"

/**
 * @internal
 * Tries again for so many milliseconds since the first failure, by the monotonic clock. `Schedule.upTo` goes by the
 * time of day, which may be set.
 */
export const retryFor = <E>(options: {
  readonly atMost: number
  readonly while: (error: E) => boolean
  readonly schedule: Schedule.Schedule<unknown, E>
}) =>
<A, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  // a schedule is begun once there is something to try again
  Effect.catch(self, (error) => {
    if (!options.while(error)) return Effect.fail(error)
    let first: E | undefined = error
    const again = Effect.suspend(() => {
      if (first === undefined) return self
      const failed = Effect.fail(first)
      first = undefined
      return failed
    })
    let begun: bigint | undefined
    return Effect.retry(again, {
      schedule: options.schedule,
      while: (error) =>
        options.while(error)
          ? Effect.map(Clock.monotonicTimeNanos, (now) => Number(now - (begun ??= now)) / 1e6 < options.atMost)
          : Effect.succeed(false)
    })
  })
