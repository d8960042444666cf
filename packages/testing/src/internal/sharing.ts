import { describe, layer } from "@effect/vitest"
import type * as Layer from "effect/Layer"
import type { It } from "./kit.ts"

/** How long the storage may take to open, and each test to run. Nothing takes that long but what never ends. */
const limit = { seconds: 60 }

/**
 * @internal
 * Tests that share what the layer makes, in real time. They set their own time limit: that of whoever runs them is meant for their own
 * tests, and 5 seconds by default, which a busy machine may need.
 */
export const sharing = <R>(name: string, shared: Layer.Layer<R, unknown>, tests: (it: It<R>) => void): void => {
  describe(name, { timeout: limit.seconds * 1000 }, () => {
    layer(shared, { excludeTestServices: true, timeout: `${limit.seconds} seconds` })(tests)
  })
}
