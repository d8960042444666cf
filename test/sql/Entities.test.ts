import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { entities } from "../entities/entities.ts"
import { serversOfAdapters } from "./databases.ts"

describe.each(serversOfAdapters)("entities of several processes, in $name", ({ place }) => {
  it.live(
    "are killed and stopped: each command that was acknowledged is executed once, and its reply is what it has led to",
    () =>
      Effect.gen(function*() {
        yield* entities((yield* place).where, ["active", "active", "plain"], { commands: 500 })
      }),
    600_000
  )
})
