/**
 * What durable states promise in every way to run them, and on every storage: the suite that each of both passes.
 *
 * @since 0.1.0
 */
import type { DurableStateStore } from "@sluice/core/DurableStateStore"
import type { Journal } from "@sluice/core/Journal"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type { DurableStateWay } from "./EntityWay.ts"
import { durableStateEntityTests } from "./internal/entities/durableStateEntityTests.ts"
import { durableStateInTransactionTests } from "./internal/entities/durableStateInTransactionTests.ts"
import { sharing } from "./internal/sharing.ts"

/**
 * Runs durable states on a storage in one of the ways. The tests share what the storage's layer makes, which may have been there before and may stay.
 *
 * **Example** (The suite of a way to run durable states)
 *
 * ```ts skip
 * import * as MemoryStorage from "@sluice/core/MemoryStorage"
 * import * as DurableState from "@sluice/entity/DurableState"
 * import * as DurableStateTest from "@sluice/testing/DurableStateTest"
 *
 * DurableStateTest.suite("plain, in memory", MemoryStorage.layer, DurableState.layerPlain)
 * ```
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = (
  name: string,
  storage: Layer.Layer<Journal | DurableStateStore, unknown>,
  way: DurableStateWay
): void => {
  sharing(`${name}: durable states`, Layer.merge(storage, quiet), (it) => durableStateEntityTests(it, way))
}

/**
 * Sends commands in transactions of the journal, where the way to run durable states has them take part.
 *
 * @category suites
 * @since 0.1.0
 */
export const suiteInTransaction = (
  name: string,
  storage: Layer.Layer<Journal | DurableStateStore, unknown>,
  way: DurableStateWay
): void => {
  sharing(
    `${name}: durable states in a transaction`,
    Layer.merge(storage, quiet),
    (it) => durableStateInTransactionTests(it, way)
  )
}

/** What is expected to go wrong is not printed. */
const quiet = Layer.succeed(References.MinimumLogLevel, "None")
