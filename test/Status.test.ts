import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import { temporaryFolder } from "./kit/Service.ts"
import { takeOver } from "./status/takeOver.ts"

describe("the status of a projection of other processes", () => {
  it.live("is unknown once its process is killed or halted, until another has taken over", () =>
    Effect.gen(function*() {
      yield* takeOver({ dialect: "sqlite", filename: Path.join(yield* temporaryFolder, "status.db") })
    }))
})
