import { assert, describe, it } from "@effect/vitest"
import * as Slice from "@sluice/core/Slice"
import * as Schema from "effect/Schema"

/** As Akka computes them. */
const golden: Readonly<Record<string, number>> = {
  "p1": 449,
  "p2": 450,
  "p4": 452,
  "p5": 453,
  "p10": 655,
  "p11": 656,
  "p92": 905,
  "p108": 905,
  "p229": 905,
  "p500": 645,
  "p621": 645,
  "p742": 645,
  "p863": 645,
  "p984": 645,
  "p3080": 645,
  "p4290": 645,
  "p20180": 645,
  "p-08071": 101,
  "p-08072": 102,
  "p-08073": 103,
  "p-08074": 104,
  "p-08076": 106,
  "p-08192": 101,
  "p-0960": 576,
  "p-6009": 640,
  "p-7219": 640,
  "p-3039": 832,
  "p-2049": 896,
  "test-002|p-08071": 992,
  "deal|2186922658": 973,
  "ShoppingCart|cart1": 803,
  "cart|c1|DCA": 208,
  "é|ü": 681,
  "😀|x": 31,
  "a😀b": 862,
  "test-entity|_hb-26498e81-66ad-4aa9-b985-b34602c5f32d-1": 359,
  "": 0,
  // its hash is the smallest integer, whose absolute value is none
  "polygenelubricants": 0
}

describe("Slice", () => {
  for (const [persistenceId, slice] of Object.entries(golden)) {
    it(`of '${persistenceId}' is ${slice}`, () => {
      assert.strictEqual(Slice.ofPersistenceId(persistenceId), slice)
    })
  }

  it("are used evenly by random ids", () => {
    const sizes = Array.from({ length: 1024 }, () => 0)
    for (let i = 0; i < 51_200; i++) sizes[Slice.ofPersistenceId(`cart|${crypto.randomUUID()}`)]!++
    assert.isAbove(Math.min(...sizes), 10)
    assert.isBelow(Math.max(...sizes), 120)
  })

  it.prop("of any text is one of 1024", [Schema.String], ([text]) => {
    const slice = Slice.ofPersistenceId(text)
    assert.strictEqual(Slice.make(slice), slice)
    assert.isFalse(Object.is(slice, -0))
  })

  it("is an integer from 0 to 1023", () => {
    assert.strictEqual(Slice.make(0), 0)
    assert.strictEqual(Slice.make(1023), 1023)
    for (const wrong of [-1, 1024, 0.5, NaN, Infinity]) {
      assert.throws(() => Slice.make(wrong), RangeError)
      assert.isFalse(Schema.is(Slice.Slice)(wrong))
    }
  })
})
