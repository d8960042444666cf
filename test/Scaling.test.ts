import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import { temporaryFolder } from "./kit/Service.ts"
import { scaling } from "./scaling/scaling.ts"

describe("a projection of several processes", () => {
  it.live(
    "is scaled while events come, and a process is killed: each is handled once and in order",
    () =>
      Effect.gen(function*() {
        yield* scaling({ dialect: "sqlite", filename: Path.join(yield* temporaryFolder, "scaling.db") })
      }),
    600_000
  )
})
