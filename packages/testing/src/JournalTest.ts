/**
 * What every journal promises: the suite that each storage adapter passes.
 *
 * @since 0.1.0
 */
import type { Journal } from "@sluice/core/Journal"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { appendTests } from "./internal/journal/appendTests.ts"
import { contentTests } from "./internal/journal/contentTests.ts"
import { deletionTests } from "./internal/journal/deletionTests.ts"
import { followTests } from "./internal/journal/followTests.ts"
import { readerTests } from "./internal/journal/readerTests.ts"
import { layerInstances, sharedJournalTests } from "./internal/journal/sharedJournalTests.ts"
import { transactionTests } from "./internal/journal/transactionTests.ts"
import { sharing } from "./internal/sharing.ts"

/**
 * Tests a journal. All tests run on the journal that the layer provides. It may have been used before, and can be used
 * afterwards: each test uses entity types of its own.
 *
 * **Example** (The suite of an adapter)
 *
 * ```ts skip
 * import * as MemoryStorage from "@sluice/core/MemoryStorage"
 * import * as JournalTest from "@sluice/testing/JournalTest"
 *
 * JournalTest.suite("MemoryStorage", MemoryStorage.layer)
 * ```
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = (name: string, journal: Layer.Layer<Journal, unknown>): void => {
  sharing(`${name}: journal`, journal, (it) => {
    appendTests(it)
    transactionTests(it)
    readerTests(it)
    contentTests(it)
    deletionTests(it)
    followTests(it)
  })
}

/**
 * Tests what a journal promises in addition when several instances, of one process or many, open its database.
 *
 * **Details**
 *
 * `database` makes a database, or names one, and returns a layer that opens it. The layer is built anew for each instance.
 *
 * **Example** (The suite of an adapter on a file)
 *
 * ```ts skip
 * import { SqliteStorage } from "@sluice/sqlite"
 * import { JournalTest } from "@sluice/testing"
 * import { Effect } from "effect"
 * import * as Fs from "node:fs"
 *
 * const temporaryFile = Effect.map(
 *   Effect.acquireRelease(
 *     Effect.sync(() => Fs.mkdtempSync("journal-")),
 *     (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
 *   ),
 *   (folder) => `${folder}/journal.db`
 * )
 *
 * JournalTest.suiteShared("SqliteStorage", Effect.map(temporaryFile, (filename) => SqliteStorage.layer({ filename })))
 * ```
 *
 * @category suites
 * @since 0.1.0
 */
export const suiteShared = (
  name: string,
  database: Effect.Effect<Layer.Layer<Journal, unknown>, unknown, Scope.Scope>
): void => {
  sharing(`${name}: journal shared by instances`, layerInstances(database), sharedJournalTests)
}
