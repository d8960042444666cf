/**
 * What event sourced entities promise in every way to run them, and on every storage: the suites that each of both passes.
 *
 * @since 0.1.0
 */
import type { Journal } from "@sluice/core/Journal"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type { EntityWay } from "./EntityWay.ts"
import { badInputTests } from "./internal/entities/badInputTests.ts"
import { commandIdTests } from "./internal/entities/commandIdTests.ts"
import { commandTests } from "./internal/entities/commandTests.ts"
import { conflictTests } from "./internal/entities/conflictTests.ts"
import { inTransactionTests } from "./internal/entities/inTransactionTests.ts"
import { recoveryTests } from "./internal/entities/recoveryTests.ts"
import { sharing } from "./internal/sharing.ts"

/**
 * Runs entities on a storage in one of the ways. The tests share what the storage's layer makes, which may have been there before and may stay.
 *
 * **Example** (The suite of a way to run entities)
 *
 * ```ts skip
 * import * as MemoryStorage from "@sluice/core/MemoryStorage"
 * import * as EventSourced from "@sluice/entity/EventSourced"
 * import * as EventSourcedTest from "@sluice/testing/EventSourcedTest"
 *
 * EventSourcedTest.suite("plain, in memory", MemoryStorage.layer, EventSourced.layerPlain)
 * ```
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = (name: string, storage: Layer.Layer<Journal | SnapshotStore, unknown>, way: EntityWay): void => {
  sharing(`${name}: event sourced entities`, Layer.merge(storage, quiet), (it) => {
    commandTests(it, way)
    commandIdTests(it, way)
    badInputTests(it, way)
    recoveryTests(it, way)
    conflictTests(it, way)
  })
}

/**
 * Sends commands in transactions of the journal, where the way to run entities has them take part.
 *
 * @category suites
 * @since 0.1.0
 */
export const suiteInTransaction = (
  name: string,
  storage: Layer.Layer<Journal | SnapshotStore, unknown>,
  way: EntityWay
): void => {
  sharing(`${name}: event sourced entities in a transaction`, Layer.merge(storage, quiet), (it) => {
    inTransactionTests(it, way)
  })
}

/** What is expected to go wrong is not printed. */
const quiet = Layer.succeed(References.MinimumLogLevel, "None")
