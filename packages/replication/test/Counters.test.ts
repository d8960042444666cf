import { assert, describe, it } from "@effect/vitest"
import * as Counter from "@sluice/replication/Counter"
import * as GCounter from "@sluice/replication/GCounter"
import * as Schema from "effect/Schema"
import { runMany } from "./kit/deliveries.ts"

const sum = (ops: ReadonlyArray<{ readonly delta: { readonly amount: bigint } }>): bigint =>
  ops.reduce((sum, { delta }) => sum + delta.amount, BigInt(0))

const huge = BigInt(2) ** BigInt(70)

describe("a Counter", () => {
  it("has the sum of all deltas, in whatever order they come", () => {
    runMany(
      {
        state: Counter.schema,
        delta: Counter.delta,
        empty: Counter.empty,
        apply: Counter.apply,
        write: (_state, _replica, draw) =>
          draw.chance(0.2)
            ? Counter.decrement(huge + BigInt(draw.below(9)))
            : draw.chance(0.5)
            ? Counter.increment(draw.below(9))
            : Counter.decrement()
      },
      { order: "any", repeats: false },
      ({ value }, ops, seed) => assert.strictEqual(value, sum(ops), `seed ${seed}`)
    )
  })

  it("counts by 1 where nothing is said", () => {
    assert.strictEqual(Number(Counter.increment().amount), 1)
    assert.strictEqual(Number(Counter.decrement().amount), -1)
  })

  it("takes no part of a number", () => {
    for (const amount of [0.5, Number.NaN, Infinity, 2 ** 53]) {
      assert.throws(() => Counter.increment(amount), RangeError)
      assert.throws(() => Counter.decrement(amount), RangeError)
    }
  })

  it("is read from its digits, and from nothing else", () => {
    const decode = Schema.decodeUnknownSync(Schema.toCodecJson(Counter.schema))
    assert.strictEqual(decode({ value: "-12" }).value, BigInt(-12))
    for (const value of [12, "", "0x10", "1.5", "1e3", "9".repeat(1_001), null, {}]) {
      assert.throws(() => decode({ value }))
    }
  })
})

describe("a GCounter", () => {
  it("has the sum of all deltas, in whatever order they come", () => {
    runMany(
      {
        state: GCounter.schema,
        delta: GCounter.delta,
        empty: GCounter.empty,
        apply: GCounter.apply,
        write: (_state, _replica, draw) => GCounter.increment(draw.chance(0.2) ? huge : draw.below(9))
      },
      { order: "any", repeats: false },
      ({ value }, ops, seed) => assert.strictEqual(value, sum(ops), `seed ${seed}`)
    )
  })

  it("never goes down", () => {
    assert.throws(() => GCounter.increment(-1), "never goes down")
    const decode = Schema.decodeUnknownSync(Schema.toCodecJson(GCounter.delta))
    assert.throws(() => decode({ _tag: "GCounterIncremented", amount: "-1" }))
    assert.strictEqual(decode({ _tag: "GCounterIncremented", amount: "0" }).amount, BigInt(0))
  })
})
