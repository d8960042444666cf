import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import { comeAndGo } from "./entityCluster/cluster.ts"
import { temporaryFolder } from "./kit/Service.ts"

describe("entities of several processes, in SQLite,", () => {
  it.live("execute each command once, while processes come, go, are killed and halted", () =>
    Effect.gen(function*() {
      yield* comeAndGo({ dialect: "sqlite", filename: Path.join(yield* temporaryFolder, "entities.db") })
    }), 900_000)
})
