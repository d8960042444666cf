import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

/** @internal How often a command is decided, where others write to the entity each time. */
export const maxAttempts = 10

/** The longest wait between two attempts, in milliseconds. */
const longest = 100

/** @internal Waits after an attempt: others are to come first, and not all of them at once again. */
export const pauseAfter = (attempt: number): Effect.Effect<void> =>
  attempt < 3
    ? Effect.yieldNow
    : Effect.flatMap(Random.next, (random) => Effect.sleep(Math.min(longest, 2 ** attempt) * random))
