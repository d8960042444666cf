import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { Shares } from "../src/internal/calls/Shares.ts"

/** Takes pieces for as long as there is room. */
const takeAll = (shares: Shares, who: string, piece: number): number => {
  let taken = 0
  for (; shares.hasRoom(who, piece); taken += piece) shares.take(who, piece)
  return taken
}

describe("room that several share", () => {
  it("is left by each as it is taken by it", () => {
    const shares = new Shares(120)
    assert.strictEqual(takeAll(shares, "a", 1), 60)
    assert.strictEqual(takeAll(shares, "b", 1), 30)
    assert.strictEqual(takeAll(shares, "c", 1), 15)
    shares.give("a", 60)
    assert.strictEqual(takeAll(shares, "b", 1), 23)
    assert.strictEqual(shares.taken, 68)
  })

  it("may be taken by one that has nothing, but not more than there is", () => {
    const shares = new Shares(10)
    assert.isTrue(shares.hasRoom("a", 10))
    assert.isFalse(shares.hasRoom("a", 11))
    shares.take("a", 6)
    assert.isTrue(shares.hasRoom("b", 4))
    assert.isFalse(shares.hasRoom("b", 5))
    assert.isFalse(shares.hasRoom("a", 1))
  })

  const Step = Schema.Struct({
    who: Schema.Literals(["a", "b", "c", "d", "e"]),
    amount: Schema.Literals([0, 1, 7, 40]),
    gives: Schema.Boolean
  })

  it.prop(
    "is never overdrawn, and whoever comes finds some",
    [Arbitrary.array(Arbitrary.schema(Step), { minLength: 50, maxLength: 300 })],
    ([steps]) => {
      const shares = new Shares(1_000)
      const held: Array<readonly [string, number]> = []
      for (const { amount, gives, who } of steps) {
        const last = held.at(-1)
        if (gives && last !== undefined) {
          held.pop()
          shares.give(...last)
        } else if (shares.hasRoom(who, amount)) {
          shares.take(who, amount)
          held.push([who, amount])
        }
        assert.strictEqual(shares.taken, held.reduce((sum, [, amount]) => sum + amount, 0))
        assert.isTrue(shares.hasRoom("new", 1_000 / 6))
      }
      for (const one of held) shares.give(...one)
      assert.strictEqual(shares.taken, 0)
      for (const who of ["a", "b", "c", "d", "e"]) assert.isTrue(shares.hasRoom(who, 1_000))
    }
  )
})
