/**
 * What every durable state store promises: the suite that each storage adapter passes.
 *
 * @since 0.1.0
 */
import type { DurableStateStore } from "@sluice/core/DurableStateStore"
import type { Journal } from "@sluice/core/Journal"
import type { Stores } from "@sluice/core/Projection"
import type * as Layer from "effect/Layer"
import { sharing } from "./internal/sharing.ts"
import { durableStateTests } from "./internal/states/durableStateTests.ts"

/**
 * Tests a durable state store, and a journal and an offset store that share its transactions. All tests run on what the
 * layer provides. It may have been used before, and can be used afterwards.
 *
 * **Example** (The suite of an adapter)
 *
 * ```ts skip
 * import * as MemoryStorage from "@sluice/core/MemoryStorage"
 * import * as DurableStateStoreTest from "@sluice/testing/DurableStateStoreTest"
 *
 * DurableStateStoreTest.suite("MemoryStorage", MemoryStorage.layer)
 * ```
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = (
  name: string,
  storage: Layer.Layer<Journal | DurableStateStore | Stores, unknown>
): void => {
  sharing(`${name}: durable state`, storage, durableStateTests)
}
