import { assert, describe, it } from "@effect/vitest"
import * as LwwRegister from "@sluice/replication/LwwRegister"
import * as LwwTime from "@sluice/replication/LwwTime"
import * as MvRegister from "@sluice/replication/MvRegister"
import * as Schema from "effect/Schema"
import { type Op, type Order, runMany } from "./kit/deliveries.ts"

const Value = Schema.Struct({ text: Schema.String })
type Value = typeof Value.Type

describe("the time of a write", () => {
  it("is after the one before it, whatever the clock says", () => {
    const before = { time: 10, replica: "us" }
    assert.deepStrictEqual(LwwTime.increase(before, "eu", 20), { time: 20, replica: "eu" })
    for (const time of [0, 9, 10]) {
      const next = LwwTime.increase(before, "eu", time)
      assert.deepStrictEqual(next, { time: 11, replica: "eu" })
      assert.isTrue(LwwTime.isAfter(next, before))
      assert.isFalse(LwwTime.isAfter(before, next))
    }
  })

  it("is that of the smaller replica where two are the same", () => {
    assert.isTrue(LwwTime.isAfter({ time: 1, replica: "eu" }, { time: 1, replica: "us" }))
    assert.isFalse(LwwTime.isAfter({ time: 1, replica: "us" }, { time: 1, replica: "eu" }))
    assert.isFalse(LwwTime.isAfter({ time: 1, replica: "eu" }, { time: 1, replica: "eu" }))
  })

  it("is a number that stays exact", () => {
    for (const time of [-1, 0.5, Number.NaN, 2 ** 53]) {
      assert.throws(() => LwwTime.increase(LwwTime.first, "eu", time), "no time")
    }
    const last = { time: Number.MAX_SAFE_INTEGER, replica: "eu" }
    assert.throws(() => LwwTime.increase(last, "us", 1), "Nothing comes after")
  })
})

describe("an LwwRegister", () => {
  it("has the write of the greatest time and, of those, of the smallest replica, in whatever order and however often they come", () => {
    runMany(
      {
        state: LwwRegister.schema(Value),
        delta: LwwRegister.delta(Value),
        empty: LwwRegister.make<Value>({ text: "initial" }),
        apply: LwwRegister.apply,
        // clocks of few times, so that many writes are at the same one
        write: (state, replica, draw) =>
          LwwRegister.write(state, replica, draw.below(12), { text: `${draw.below(99)}` })
      },
      { order: "any", repeats: true },
      (state, ops, seed) => {
        const [last] = ops.map(({ delta }) => delta).toSorted((a, b) =>
          b.written.time - a.written.time || (a.written.replica < b.written.replica ? -1 : 1)
        )
        assert.deepStrictEqual(state.value, last?.value ?? { text: "initial" }, `seed ${seed}`)
      }
    )
  })

  it("refuses the second of two writes that were made from one register", () => {
    const register = LwwRegister.make("a")
    const written = LwwRegister.apply(register, LwwRegister.write(register, "eu", 5, "b"))
    assert.throws(
      () => LwwRegister.apply(written, LwwRegister.write(register, "eu", 5, "c")),
      "made from the same value"
    )
    // the same one is a repetition
    assert.deepStrictEqual(LwwRegister.apply(written, LwwRegister.write(register, "eu", 5, "b")), written)
  })

  it("is not read from what is no register", () => {
    const decode = Schema.decodeUnknownSync(LwwRegister.delta(Value))
    const good = { _tag: "LwwRegisterWritten", written: { time: 1, replica: "eu" }, value: { text: "a" } }
    assert.deepStrictEqual(decode(good), good as LwwRegister.Delta<Value>)
    for (
      const bad of [
        { ...good, written: { time: -1, replica: "eu" } },
        { ...good, written: { time: 0.5, replica: "eu" } },
        { ...good, written: { time: 2 ** 60, replica: "eu" } },
        { ...good, written: { time: 1, replica: 7 } },
        { ...good, value: "a" },
        { ...good, _tag: "MvRegisterWritten" }
      ]
    ) assert.throws(() => decode(bad))
  })
})

/** The writes that no other one has seen, directly or through others. */
const maximal = (ops: ReadonlyArray<Op<MvRegister.Delta<Value>>>): ReadonlyArray<Value> => {
  const before = ops.map(() => new Set<number>())
  for (const { id, seen } of ops) {
    for (const other of seen) before[id]!.add(other)
    for (const other of seen) for (const further of before[other]!) before[id]!.add(further)
  }
  return ops.filter(({ id }) => !before.some((_) => _.has(id)))
    .toSorted((a, b) => a.replica < b.replica ? -1 : 1).map(({ delta }) => delta.value)
}

describe("an MvRegister", () => {
  for (const order of ["causal", "origin", "any"] satisfies ReadonlyArray<Order>) {
    it(`has the writes that no other has seen, in ${order} order and however often they come`, () => {
      runMany(
        {
          state: MvRegister.schema(Value),
          delta: MvRegister.delta(Value),
          empty: MvRegister.empty,
          apply: MvRegister.apply,
          write: (state, replica, draw) => MvRegister.write(state, replica, { text: `${draw.below(99)}` })
        },
        { order, repeats: true },
        (state, ops, seed) => {
          assert.deepStrictEqual(MvRegister.values(state), maximal(ops), `seed ${seed}`)
          assert.isAtMost(state.vector.size, 4)
        }
      )
    })
  }

  it("refuses the second of two writes that were made from one register", () => {
    const written = MvRegister.apply(MvRegister.empty, MvRegister.write(MvRegister.empty, "eu", "a"))
    assert.throws(
      () => MvRegister.apply(written, MvRegister.write(MvRegister.empty, "eu", "b")),
      "made from the same value"
    )
    assert.strictEqual(MvRegister.apply(written, MvRegister.write(MvRegister.empty, "eu", "a")), written)
  })

  it("is not read from what is no register", () => {
    const decode = Schema.decodeUnknownSync(MvRegister.schema(Schema.String))
    const write = { replica: "eu", version: 2, value: "a" }
    const good = { vector: [["eu", 2], ["us", 1]], writes: [write] }
    assert.deepStrictEqual(MvRegister.values(decode(good)), ["a"])
    for (
      const bad of [
        { ...good, vector: [["eu", 1]] },
        { ...good, vector: [["eu", 2], ["eu", 3]] },
        { ...good, vector: [["eu", 0]] },
        { ...good, vector: { eu: 2 } },
        { ...good, writes: [write, write] },
        { ...good, writes: [{ ...write, replica: "us", version: 1 }, write] },
        { ...good, writes: [{ ...write, value: 1 }] }
      ]
    ) assert.throws(() => decode(bad))
    const delta = Schema.decodeUnknownSync(MvRegister.delta(Schema.String))
    assert.throws(() => delta({ _tag: "MvRegisterWritten", replica: "eu", vector: [["us", 1]], value: "a" }), "itself")
  })
})
