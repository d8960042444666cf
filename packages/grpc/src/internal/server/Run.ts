import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/** @internal Runs an effect in the server's scope. */
export type Run = (effect: Effect.Effect<void>) => Fiber.Fiber<void>
