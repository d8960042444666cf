/**
 * What every snapshot store promises: the suite that each storage adapter passes.
 *
 * @since 0.1.0
 */
import type { Journal } from "@sluice/core/Journal"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import type * as Layer from "effect/Layer"
import { sharing } from "./internal/sharing.ts"
import { fromSnapshotsTests } from "./internal/states/fromSnapshotsTests.ts"
import { snapshotTests } from "./internal/states/snapshotTests.ts"

/**
 * Tests a snapshot store, and a journal that shares its transactions. All tests run on what the layer provides. It may
 * have been used before, and can be used afterwards.
 *
 * **Example** (The suite of an adapter)
 *
 * ```ts skip
 * import * as MemoryStorage from "@sluice/core/MemoryStorage"
 * import * as SnapshotStoreTest from "@sluice/testing/SnapshotStoreTest"
 *
 * SnapshotStoreTest.suite("MemoryStorage", MemoryStorage.layer)
 * ```
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = (name: string, storage: Layer.Layer<Journal | SnapshotStore, unknown>): void => {
  sharing(`${name}: snapshots`, storage, snapshotTests)
  sharing(`${name}: events from snapshots`, storage, fromSnapshotsTests)
}
