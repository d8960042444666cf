import { assert, it } from "@effect/vitest"
import * as Offset from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import { pastHeads } from "../src/internal/reading/pastHeads.ts"

it("a reader by time begins after the head of a log that has nothing as young as the time, and at the beginning of one without events", () => {
  const [begun, older, asYoung, empty, first] = Array.from({ length: 5 }, (_, i) => Slice.make(i)) as [
    Slice.Slice,
    Slice.Slice,
    Slice.Slice,
    Slice.Slice,
    Slice.Slice
  ]
  const offsets = new Map([
    [begun, Offset.make(3, 30)],
    [older, Offset.make(0, 50)],
    [asYoung, Offset.make(0, 50)],
    [empty, Offset.make(0, 50)],
    [first, Offset.beginning]
  ])
  const heads = new Map([
    [begun, Offset.make(7, 40)],
    [older, Offset.make(4, 49)],
    [asYoung, Offset.make(4, 50)],
    [first, Offset.make(2, 10)]
  ])
  assert.deepStrictEqual(
    pastHeads(offsets, heads),
    new Map([
      [begun, Offset.make(3, 30)],
      [older, Offset.make(4, 49)],
      [asYoung, Offset.make(0, 50)],
      [first, Offset.beginning]
    ])
  )
})
