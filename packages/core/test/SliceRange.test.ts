import { assert, describe, it } from "@effect/vitest"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"

describe("SliceRange", () => {
  it("has both of its bounds in it", () => {
    const range = SliceRange.make(256, 511)
    assert.strictEqual(SliceRange.size(range), 256)
    assert.strictEqual(SliceRange.format(range), "256-511")
    for (const inside of [256, 300, 511]) assert.isTrue(SliceRange.contains(range, Slice.make(inside)))
    for (const outside of [0, 255, 512, 1023]) assert.isFalse(SliceRange.contains(range, Slice.make(outside)))
    const slices: ReadonlyArray<number> = SliceRange.slices(range)
    assert.deepStrictEqual(slices, Array.from({ length: 256 }, (_, i) => 256 + i))
    assert.deepStrictEqual<ReadonlyArray<number>>(SliceRange.slices(SliceRange.make(7, 7)), [7])
  })

  it("is refused when it is none", () => {
    for (const [min, max] of [[5, 4], [-1, 4], [0, 1024], [0.5, 4], [0, 4.5], [NaN, 4], [0, NaN]] as const) {
      assert.throws(() => SliceRange.make(min, max), RangeError)
    }
  })

  it("of all slices is full", () => {
    assert.deepStrictEqual(SliceRange.full, SliceRange.make(0, 1023))
    assert.deepStrictEqual(SliceRange.split(1), [SliceRange.full])
  })

  it("of 4 workers has 256 slices, as in Akka", () => {
    assert.deepStrictEqual(
      SliceRange.split(4).map(SliceRange.format),
      ["0-255", "256-511", "512-767", "768-1023"]
    )
  })

  it("of any number of workers are all slices, each of them once, divided evenly", () => {
    for (let n = 1; n <= 1024; n++) {
      const ranges = SliceRange.split(n)
      const sizes = new Set(ranges.map(SliceRange.size))
      const adjacent = ranges.every((range, i) => range.min === (i === 0 ? 0 : ranges[i - 1]!.max + 1))
      if (
        ranges.length !== n || !adjacent || ranges.at(-1)!.max !== 1023 || Math.max(...sizes) - Math.min(...sizes) > 1
      ) {
        assert.fail(`${n} workers have ${ranges.map(SliceRange.format).join(", ")}`)
      }
    }
    for (const wrong of [0, 1025, -1, 1.5, NaN]) assert.throws(() => SliceRange.split(wrong), RangeError)
  })
})
