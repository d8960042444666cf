import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** @internal Milliseconds, whole ones, by a clock that nobody sets. */
export const monotonicMillis: Effect.Effect<number> = Effect.map(
  Clock.monotonicTimeNanos,
  (nanos) => Number(nanos / 1_000_000n)
)
