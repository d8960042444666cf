import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import { comeAndGo } from "./cluster/processes.ts"
import { temporaryFolder } from "./kit/Service.ts"

describe("a projection of several processes, in SQLite,", () => {
  it.live("handles each event once, while they come, go, are killed and halted", () =>
    Effect.gen(function*() {
      yield* comeAndGo({ dialect: "sqlite", filename: Path.join(yield* temporaryFolder, "cluster.db") })
    }), 900_000)
})
