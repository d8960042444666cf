import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import { entities } from "./entities/entities.ts"
import { temporaryFolder } from "./kit/Service.ts"

describe("entities of several processes on one database", () => {
  it.live(
    "are killed and stopped: each command that was acknowledged is executed once, and its reply is what it has led to",
    () =>
      Effect.gen(function*() {
        const filename = Path.join(yield* temporaryFolder, "entities.db")
        yield* entities({ dialect: "sqlite", filename }, ["active", "active", "plain"], { commands: 500 })
      }),
    600_000
  )
})
