import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import { temporaryFolder } from "./kit/Service.ts"
import { rebuild } from "./rebuild/rebuild.ts"

describe("a projection that is built anew", () => {
  it.live(
    "is complete to its readers at any moment, and in the end exact, though its process is killed at every step",
    () =>
      Effect.gen(function*() {
        yield* rebuild({ dialect: "sqlite", filename: Path.join(yield* temporaryFolder, "rebuild.db") })
      }),
    600_000
  )
})
