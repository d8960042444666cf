/**
 * What every storage promises: all suites at once, for an adapter that provides all stores.
 *
 * @since 0.1.0
 */
import type { DurableStateStore } from "@sluice/core/DurableStateStore"
import type { Journal } from "@sluice/core/Journal"
import type { Stores } from "@sluice/core/Projection"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as DurableStateStoreTest from "./DurableStateStoreTest.ts"
import * as JournalTest from "./JournalTest.ts"
import * as OffsetStoreTest from "./OffsetStoreTest.ts"
import * as ProjectionTest from "./ProjectionTest.ts"
import * as SnapshotStoreTest from "./SnapshotStoreTest.ts"

/**
 * What a storage adapter provides.
 *
 * @category models
 * @since 0.1.0
 */
export type Storage = Journal | SnapshotStore | DurableStateStore | Stores

/**
 * Tests a storage: its journal, snapshots, durable state, offsets, and projections from its journal into itself.
 *
 * **Example** (The suite of an adapter)
 *
 * ```ts skip
 * import * as MemoryStorage from "@sluice/core/MemoryStorage"
 * import * as StorageTest from "@sluice/testing/StorageTest"
 *
 * StorageTest.suite("MemoryStorage", MemoryStorage.layer)
 * ```
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = (name: string, storage: Layer.Layer<Storage, unknown>): void => {
  JournalTest.suite(name, storage)
  SnapshotStoreTest.suite(name, storage)
  DurableStateStoreTest.suite(name, storage)
  OffsetStoreTest.suite(name, storage)
  ProjectionTest.suite(name, storage)
}

/**
 * Tests what a storage promises in addition when several instances, of one process or many, open its database.
 * `database` makes one, or names one, and returns a layer that opens it.
 *
 * @category suites
 * @since 0.1.0
 */
export const suiteShared = (
  name: string,
  database: Effect.Effect<Layer.Layer<Storage, unknown>, unknown, Scope.Scope>
): void => {
  JournalTest.suiteShared(name, database)
  ProjectionTest.suiteShared(name, database)
}
