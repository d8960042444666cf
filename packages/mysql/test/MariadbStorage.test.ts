import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as StorageTest from "@sluice/testing/StorageTest"
import * as Effect from "effect/Effect"
import { inject } from "vitest"

const storage = MysqlStorage.layer({ url: inject("mariadb"), tablePrefix: "suites_" })
StorageTest.suite("MariaDB", storage)
StorageTest.suiteShared("MariaDB, opened twice", Effect.succeed(storage))
