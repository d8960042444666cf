import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import { temporaryFolder } from "./kit/Service.ts"
import { automatic, handovers, scaling } from "./scaling/scaling.ts"

// each in a file of its own; they wait for handlers that take seconds, and for processes
describe.concurrent("a projection of several processes", () => {
  it.live(
    "is scaled while events come, and a process is killed: each is handled once and in order",
    () =>
      Effect.gen(function*() {
        yield* scaling({ dialect: "sqlite", filename: Path.join(yield* temporaryFolder, "scaling.db") })
      }),
    600_000
  )

  it.live(
    "is scaled while calls of its handler last: those of an entity come one after the other, at most once",
    () =>
      Effect.gen(function*() {
        yield* handovers({ dialect: "sqlite", filename: Path.join(yield* temporaryFolder, "handovers.db") })
      }),
    600_000
  )

  it.live(
    "has more workers where its lag takes too long",
    () =>
      Effect.gen(function*() {
        yield* automatic({ dialect: "sqlite", filename: Path.join(yield* temporaryFolder, "automatic.db") })
      }),
    600_000
  )
})
