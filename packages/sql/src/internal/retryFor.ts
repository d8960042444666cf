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
  Effect.suspend(() => {
    let begun: bigint | undefined
    return Effect.retry(self, {
      schedule: options.schedule,
      while: (error) =>
        options.while(error)
          ? Effect.map(Clock.monotonicTimeNanos, (now) => Number(now - (begun ??= now)) / 1e6 < options.atMost)
          : Effect.succeed(false)
    })
  })
