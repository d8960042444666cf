import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { comeAndGo, halted } from "../entityCluster/cluster.ts"
import { serversOfAdapters } from "./databases.ts"

const timeout = 900_000

describe.each(serversOfAdapters)("entities of several processes, in $name,", ({ place }) => {
  it.live("execute each command once, while processes come, go, are killed and halted", () =>
    Effect.gen(function*() {
      yield* comeAndGo((yield* place).where)
    }), timeout)
})

describe("a process that was halted until others have its entities", () => {
  const { place } = serversOfAdapters.find(({ name }) => name === "PostgreSQL")!

  it.live("is fenced by the journal, even where it does not know that it has lost them", () =>
    Effect.gen(function*() {
      const { violations } = yield* halted((yield* place).where, { isUnguarded: true })
      assert.deepStrictEqual(violations.slice(0, 10), [])
    }), timeout)

  it.live("would write what is wrong without that, which the test sees", () =>
    Effect.gen(function*() {
      // on a busy machine the halted process may have too little in hand to write
      const { violations } = yield* Effect.repeat(
        Effect.flatMap(place, ({ where }) => halted(where, { isUnguarded: true, isUnfenced: true })),
        { until: ({ violations }) => violations.length > 0, times: 5 }
      )
      assert.isNotEmpty(violations)
    }), timeout)
})
