/**
 * What every offset store promises: the suite that each storage adapter passes.
 *
 * @since 0.1.0
 */
import type { Journal } from "@sluice/core/Journal"
import type { Stores } from "@sluice/core/Projection"
import type * as Layer from "effect/Layer"
import { entityOffsetTests } from "./internal/offsets/entityOffsetTests.ts"
import { filterTests } from "./internal/offsets/filterTests.ts"
import { givenUpTests } from "./internal/offsets/givenUpTests.ts"
import { healthTests } from "./internal/offsets/healthTests.ts"
import { heartbeatTests } from "./internal/offsets/heartbeatTests.ts"
import { managementTests } from "./internal/offsets/managementTests.ts"
import { offsetTests } from "./internal/offsets/offsetTests.ts"
import { passedOverTests } from "./internal/offsets/passedOverTests.ts"
import { sharing } from "./internal/sharing.ts"

/**
 * Tests an offset store, beside it the management of projections, the filters of streams and the heartbeats of processes, and a journal that shares
 * their transactions. All tests run on what the layer provides. It may have been used before, and can be used afterwards.
 *
 * **Example** (The suite of an adapter)
 *
 * ```ts skip
 * import * as MemoryStorage from "@sluice/core/MemoryStorage"
 * import * as OffsetStoreTest from "@sluice/testing/OffsetStoreTest"
 *
 * OffsetStoreTest.suite("MemoryStorage", MemoryStorage.layer)
 * ```
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = (name: string, storage: Layer.Layer<Journal | Stores, unknown>): void => {
  sharing(`${name}: offset store`, storage, (it) => {
    offsetTests(it)
    entityOffsetTests(it)
    managementTests(it)
    filterTests(it)
    passedOverTests(it)
    givenUpTests(it)
    heartbeatTests(it)
    healthTests(it)
  })
}
