import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { compare, run } from "./chaos/Chaos.ts"

it.live("loses, doubles and reorders nothing when either process is killed", () =>
  Effect.gen(function*() {
    const result = yield* run({ consumerKills: 3, producerKills: 2, entities: 50, rate: 300, log: () => {} })
    assert.isAbove(result.appended, 0)
    assert.deepStrictEqual(
      { lost: result.lost, doubled: result.doubled, reordered: result.reordered, forgotten: result.forgotten },
      { lost: 0, doubled: 0, reordered: 0, forgotten: 0 }
    )
  }), 600_000)

const row = (persistence_id: string, n: number) => ({ persistence_id, n })

it("counts what is lost, doubled, reordered and forgotten", () => {
  const events = [row("a|1", 1), row("a|1", 2), row("a|1", 3), row("a|2", 1)]
  const result = compare(["a|1 1", "a|3 1"], events, [row("a|1", 2), row("a|1", 1), row("a|1", 2)])
  assert.deepStrictEqual(result, {
    acknowledged: 2,
    appended: 4,
    projected: 3,
    lost: 2,
    doubled: 1,
    reordered: 1,
    forgotten: 1
  })
})
