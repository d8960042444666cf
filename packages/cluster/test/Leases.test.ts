import { describe, it } from "@effect/vitest"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Effect from "effect/Effect"
import { leases } from "./leases.ts"

describe("leases in SQLite:", () => {
  it.live.each(leases)(
    "%s",
    ([, test]) => Effect.provide(Effect.scoped(test), SqliteStorage.layer({ filename: ":memory:" }))
  )
})
