import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { takeOver } from "../status/takeOver.ts"
import { serversOfAdapters } from "./databases.ts"

describe.concurrent.each(serversOfAdapters)("the status of a projection of other processes, in $name", ({ place }) => {
  it.live("is unknown once its process is killed or halted, until another has taken over", () =>
    Effect.gen(function*() {
      yield* takeOver((yield* place).where)
    }))
})
