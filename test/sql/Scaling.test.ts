import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { handovers, scaling } from "../scaling/scaling.ts"
import { servers } from "./databases.ts"

describe.concurrent.each(servers.filter(({ dialect }) => dialect === "postgres"))(
  "a projection of several processes, in $name",
  ({ place }) => {
    it.live(
      "is scaled while events come, and a process is killed: each is handled once and in order",
      () =>
        Effect.gen(function*() {
          yield* scaling((yield* place).where)
        }),
      600_000
    )

    it.live(
      "is scaled while calls of its handler last: those of an entity come one after the other, at most once",
      () =>
        Effect.gen(function*() {
          yield* handovers((yield* place).where)
        }),
      600_000
    )
  }
)
