import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as StorageTest from "@sluice/testing/StorageTest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { quickFile } from "./files.ts"

// what is called in memory is a file, too, and its tests would be the same again: `SqliteFile.test.ts` says that it is one
const file = Effect.map(quickFile, (filename) => SqliteStorage.layer({ filename }))

StorageTest.suite("SQLite file", Layer.unwrap(file))
StorageTest.suiteShared("SQLite file, opened twice", file)
