import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { leases } from "../../packages/cluster/test/leases.ts"
import { servers } from "./databases.ts"

describe.each(servers)("leases in $name:", ({ place }) => {
  it.live.each(leases)("%s", ([, test]) =>
    Effect.scoped(Effect.gen(function*() {
      yield* Effect.provide(Effect.scoped(test), (yield* place).layer())
    })))
})
