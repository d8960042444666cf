import { it } from "@effect/vitest"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as DurableStateStoreTest from "@sluice/testing/DurableStateStoreTest"
import * as JournalTest from "@sluice/testing/JournalTest"
import * as OffsetStoreTest from "@sluice/testing/OffsetStoreTest"
import * as SnapshotStoreTest from "@sluice/testing/SnapshotStoreTest"
import * as StorageTest from "@sluice/testing/StorageTest"
import * as Effect from "effect/Effect"
import { inject } from "vitest"
import { isFull } from "../../testing/src/internal/isFull.ts"

const url = inject("mysql")

if (url === "") it("is left out: SLUICE_SKIP_MYSQL=1", () => {})
else {
  const storage = MysqlStorage.layer({ url, tablePrefix: "suites_" })
  if (isFull) StorageTest.suite("MySQL", storage)
  else {
    JournalTest.suite("MySQL", storage)
    SnapshotStoreTest.suite("MySQL", storage)
    DurableStateStoreTest.suite("MySQL", storage)
    OffsetStoreTest.suite("MySQL", storage)
    // what projections make of the same adapter is seen on MariaDB; here several processes of them are run, whose locks are the server's
  }
  StorageTest.suiteShared("MySQL, opened twice", Effect.succeed(storage))
}
