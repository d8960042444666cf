import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { rebuild } from "../rebuild/rebuild.ts"
import { serversOfAdapters } from "./databases.ts"

describe.concurrent.each(serversOfAdapters)(
  "a projection that is built anew, in $name",
  ({ place }) => {
    it.live(
      "is complete to its readers at any moment, and in the end exact, though its process is killed at every step",
      () =>
        Effect.gen(function*() {
          yield* rebuild((yield* place).where)
        }),
      600_000
    )
  }
)
