import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import { comeAndGo, withCertificates } from "./entityCluster/cluster.ts"
import { available } from "./kit/Certificates.ts"
import { temporaryFolder } from "./kit/Service.ts"

describe("entities of several processes, in SQLite,", () => {
  it.live("execute each command once, while processes come, go, are killed and halted", () =>
    Effect.gen(function*() {
      yield* comeAndGo({ dialect: "sqlite", filename: Path.join(yield* temporaryFolder, "entities.db") })
    }), 900_000)

  it.live.runIf(available)(
    "know each other by certificates, and refuse those of another authority",
    () =>
      Effect.gen(function*() {
        yield* withCertificates({ dialect: "sqlite", filename: Path.join(yield* temporaryFolder, "entities.db") })
      }),
    900_000
  )
})
