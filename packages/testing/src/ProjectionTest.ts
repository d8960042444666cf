/**
 * What a projection promises on any storage: the suite that each storage adapter passes.
 *
 * @since 0.1.0
 */
import type { DurableStateStore } from "@sluice/core/DurableStateStore"
import type { Journal } from "@sluice/core/Journal"
import type { Stores } from "@sluice/core/Projection"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import { deliveryTests } from "./internal/projections/deliveryTests.ts"
import { filteredProjectionTests } from "./internal/projections/filteredProjectionTests.ts"
import { flowTests } from "./internal/projections/flowTests.ts"
import { historyTests } from "./internal/projections/historyTests.ts"
import { managedProjectionTests } from "./internal/projections/managedProjectionTests.ts"
import { mergedTests } from "./internal/projections/mergedTests.ts"
import { projectionTests } from "./internal/projections/projectionTests.ts"
import { receiptTests } from "./internal/projections/receiptTests.ts"
import { rewoundTests } from "./internal/projections/rewoundTests.ts"
import { scalingTests } from "./internal/projections/scalingTests.ts"
import { layerInstances, sharedProjectionTests } from "./internal/projections/sharedProjectionTests.ts"
import { skipTests } from "./internal/projections/skipTests.ts"
import { verificationTests } from "./internal/projections/verificationTests.ts"
import { versionTests } from "./internal/projections/versionTests.ts"
import { sharing } from "./internal/sharing.ts"

/**
 * Runs projections on a storage whose journal and offset store share their transactions. The tests share what the layer
 * makes, which may have been there before and may stay.
 *
 * **Example** (The suite of an adapter)
 *
 * ```ts skip
 * import * as MemoryStorage from "@sluice/core/MemoryStorage"
 * import * as ProjectionTest from "@sluice/testing/ProjectionTest"
 *
 * ProjectionTest.suite("MemoryStorage", MemoryStorage.layer)
 * ```
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = (name: string, storage: Layer.Layer<Journal | Stores | DurableStateStore, unknown>): void => {
  // some storage takes the longer the more others have left in it
  sharing(
    `${name}: projections`,
    Layer.merge(storage, quiet),
    (it) => {
      projectionTests(it)
      deliveryTests(it)
      flowTests(it)
      mergedTests(it)
    },
    (it) => {
      managedProjectionTests(it)
      skipTests(it)
      receiptTests(it)
    },
    (it) => {
      filteredProjectionTests(it)
      historyTests(it)
    },
    rewoundTests,
    scalingTests,
    (it) => {
      versionTests(it)
      verificationTests(it)
    }
  )
}

/**
 * Runs projections on a database that several instances, of one process or many, have open.
 *
 * **Details**
 *
 * `database` makes a database, or names one, and returns a layer that opens it. The layer is built anew for each instance.
 *
 * @category suites
 * @since 0.1.0
 */
export const suiteShared = (
  name: string,
  database: Effect.Effect<Layer.Layer<Journal | Stores, unknown>, unknown, Scope.Scope>
): void => {
  sharing(
    `${name}: projections shared by instances`,
    Layer.merge(layerInstances(database), quiet),
    sharedProjectionTests
  )
}

/** The workers' warnings are what these tests provoke. */
const quiet = Layer.succeed(References.MinimumLogLevel, "None")
