import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as JournalTest from "@sluice/testing/JournalTest"
import * as OffsetStoreTest from "@sluice/testing/OffsetStoreTest"
import * as ProjectionTest from "@sluice/testing/ProjectionTest"
import * as Effect from "effect/Effect"
import { inject } from "vitest"

const storage = PostgresStorage.layer({ url: inject("postgres"), schema: "suites" })
JournalTest.suite("PostgreSQL", storage)
OffsetStoreTest.suite("PostgreSQL", storage)
ProjectionTest.suite("PostgreSQL", storage)
JournalTest.suiteShared("PostgreSQL, opened twice", Effect.succeed(storage))
ProjectionTest.suiteShared("PostgreSQL, opened twice", Effect.succeed(storage))
