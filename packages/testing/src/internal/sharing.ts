import { describe, layer } from "@effect/vitest"
import type * as Layer from "effect/Layer"
import type { It } from "./kit.ts"

/** How long the storage may take to open, and each test to run: only what never ends takes so long. */
const limit = { seconds: 180 }

/**
 * @internal
 * Tests that share what the layer makes, in real time: each group of them has one of its own. They set their own time limit. That of the
 * project that runs them is meant for its own tests: it is 5 seconds by default, which a busy machine may exceed.
 */
export const sharing = <R>(
  name: string,
  shared: Layer.Layer<R, unknown>,
  ...groups: ReadonlyArray<(it: It<NoInfer<R>>) => void>
): void => {
  describe(name, { timeout: limit.seconds * 1000 }, () => {
    for (const tests of groups) {
      // in a block of its own: without one, the layer is closed after the last test that is in no block
      layer(shared, { excludeTestServices: true, timeout: `${limit.seconds} seconds` })("on one storage", tests)
    }
  })
}
