import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as JournalTest from "@sluice/testing/JournalTest"
import * as OffsetStoreTest from "@sluice/testing/OffsetStoreTest"
import * as ProjectionTest from "@sluice/testing/ProjectionTest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { temporaryFile } from "./files.ts"

const file = Effect.map(temporaryFile, (filename) => SqliteStorage.layer({ filename }))

for (
  const [name, layer] of [
    ["SQLite file", Layer.unwrap(file)],
    ["SQLite in memory", SqliteStorage.layer({ filename: ":memory:" })]
  ] as const
) {
  JournalTest.suite(name, layer)
  OffsetStoreTest.suite(name, layer)
  ProjectionTest.suite(name, layer)
}

JournalTest.suiteShared("SQLite file, opened twice", file)
ProjectionTest.suiteShared("SQLite file, opened twice", file)
