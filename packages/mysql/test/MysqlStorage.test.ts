import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as StorageTest from "@sluice/testing/StorageTest"
import * as Effect from "effect/Effect"
import { inject } from "vitest"

const servers = [["MariaDB", inject("mariadb")], ["MySQL", inject("mysql")]] as const

for (const [name, url] of servers) {
  if (url === "") continue
  const storage = MysqlStorage.layer({ url, tablePrefix: "suites_" })
  StorageTest.suite(name, storage)
  StorageTest.suiteShared(`${name}, opened twice`, Effect.succeed(storage))
}
