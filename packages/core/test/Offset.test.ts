import { assert, describe, it } from "@effect/vitest"
import * as Offset from "@sluice/core/Offset"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Schema from "effect/Schema"

const offsets = (places: Readonly<Record<number, number>>): Offset.Offsets =>
  new Map(
    Object.entries(places).map(([slice, position]) => [Slice.make(Number(slice)), Offset.make(position, position)])
  )

describe("the lag of offsets", () => {
  it("is what lies between them and the heads, slice by slice", () => {
    assert.strictEqual(Offset.lag(offsets({ 1: 10, 2: 4 }), Offset.none), 14)
    assert.strictEqual(Offset.lag(offsets({ 1: 10, 2: 4 }), offsets({ 1: 7 })), 7)
    assert.strictEqual(Offset.lag(offsets({ 1: 10, 2: 4 }), offsets({ 1: 10, 2: 4 })), 0)
    assert.strictEqual(Offset.lag(Offset.none, Offset.none), 0)
  })

  it("is never negative, as heads may have been asked for before", () => {
    assert.strictEqual(Offset.lag(offsets({ 1: 10, 2: 4 }), offsets({ 1: 12, 2: 3, 9: 100 })), 1)
  })
})

describe("numbers that count events, and microseconds", () => {
  const numbers = [
    ["position", Position.make, Position.Position],
    ["sequence number", SequenceNumber.make, SequenceNumber.SequenceNumber],
    ["timestamp", Timestamp.make, Timestamp.Timestamp]
  ] as const
  for (const [what, make, schema] of numbers) {
    it(`are safe integers from 0: a ${what}`, () => {
      const is = Schema.is(schema)
      for (const right of [0, 1, 2 ** 31, Number.MAX_SAFE_INTEGER]) {
        assert.strictEqual<number>(make(right), right)
        assert.isTrue(is(right))
      }
      for (const wrong of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
        assert.throws(() => make(wrong), RangeError, what)
        assert.isFalse(is(wrong))
      }
    })
  }

  it("become milliseconds, and come from them", () => {
    assert.strictEqual<number>(Timestamp.fromMillis(1_700_000_000_123), 1_700_000_000_123_000)
    assert.strictEqual(Timestamp.toMillis(Timestamp.make(1_700_000_000_123_999)), 1_700_000_000_123)
    assert.strictEqual<number>(Timestamp.fromMillis(12.7), 12_000)
  })
})
