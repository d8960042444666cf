/** A clock whose time of day somebody sets, back or ahead. Its monotonic time goes on as it did. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

export interface JumpingClock {
  /** Provides the clock. */
  readonly provide: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Sets its time of day so many milliseconds ahead, or back. */
  readonly jump: (millis: number) => void
}

/** As the clock that there is, until it jumps. */
export const make: Effect.Effect<JumpingClock> = Effect.clockWith((clock) => {
  let shift = 0
  const jumping: Clock.Clock = Object.assign(Object.create(clock), {
    currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + shift,
    currentTimeMillis: Effect.suspend(() => Effect.map(clock.currentTimeMillis, (now) => now + shift)),
    currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe() + BigInt(shift) * 1_000_000n,
    currentTimeNanos: Effect.suspend(() =>
      Effect.map(clock.currentTimeNanos, (now) => now + BigInt(shift) * 1_000_000n)
    )
  })
  return Effect.succeed({
    provide: Effect.provideService(Clock.Clock, jumping),
    jump: (millis) => {
      shift += millis
    }
  })
})
