import { it } from "@effect/vitest"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as StorageTest from "@sluice/testing/StorageTest"
import * as Effect from "effect/Effect"
import { inject } from "vitest"

const url = inject("mysql")

if (url === "") it("is left out: SLUICE_SKIP_MYSQL=1", () => {})
else {
  const storage = MysqlStorage.layer({ url, tablePrefix: "suites_" })
  StorageTest.suite("MySQL", storage)
  StorageTest.suiteShared("MySQL, opened twice", Effect.succeed(storage))
}
