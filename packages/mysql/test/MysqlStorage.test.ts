import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as JournalTest from "@sluice/testing/JournalTest"
import * as OffsetStoreTest from "@sluice/testing/OffsetStoreTest"
import * as ProjectionTest from "@sluice/testing/ProjectionTest"
import * as Effect from "effect/Effect"
import { inject } from "vitest"

const storage = MysqlStorage.layer({ url: inject("mysql"), tablePrefix: "suites_" })
JournalTest.suite("MariaDB", storage)
OffsetStoreTest.suite("MariaDB", storage)
ProjectionTest.suite("MariaDB", storage)
JournalTest.suiteShared("MariaDB, opened twice", Effect.succeed(storage))
ProjectionTest.suiteShared("MariaDB, opened twice", Effect.succeed(storage))
