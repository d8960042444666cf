import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { UnmetFaults } from "../../Faults.ts"

/** @internal What becomes of a test that has ended without the faults that it has asked for: it fails. */
export const OnUnmet = Context.Reference<(unmet: UnmetFaults) => Effect.Effect<void>>(
  "@sluice/testing/internal/faults/OnUnmet",
  { defaultValue: () => Effect.die }
)
