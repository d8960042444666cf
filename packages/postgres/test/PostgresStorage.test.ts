import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as StorageTest from "@sluice/testing/StorageTest"
import * as Effect from "effect/Effect"
import { inject } from "vitest"

const storage = PostgresStorage.layer({ url: inject("postgres"), schema: "suites" })
StorageTest.suite("PostgreSQL", storage)
StorageTest.suiteShared("PostgreSQL, opened twice", Effect.succeed(storage))
