import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as StorageTest from "@sluice/testing/StorageTest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { quickFile } from "./files.ts"

const file = Effect.map(quickFile, (filename) => SqliteStorage.layer({ filename }))

for (
  const [name, layer] of [
    ["SQLite file", Layer.unwrap(file)],
    ["SQLite in memory", SqliteStorage.layer({ filename: ":memory:" })]
  ] as const
) {
  StorageTest.suite(name, layer)
}

StorageTest.suiteShared("SQLite file, opened twice", file)
