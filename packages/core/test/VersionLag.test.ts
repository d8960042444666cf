import { assert, describe, it } from "@effect/vitest"
import * as Offset from "@sluice/core/Offset"
import type { Progress } from "@sluice/core/ProjectionManagement"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import { type Ends, versionLag as lagOf } from "../src/internal/projection/versionLag.ts"

const offsets = (...of: ReadonlyArray<readonly [slice: number, position: number, timestamp: number]>): Offset.Offsets =>
  new Map(of.map(([slice, position, timestamp]) => [Slice.make(slice), Offset.make(position, timestamp)]))

const ends = (source: string, heads: Offset.Offsets): Ends => ({ source, heads })

/** Where events wait in this process from a time on, if they do. */
const versionLag = (ends: ReadonlyArray<Ends>, progress: ReadonlyArray<Progress>, waitsFrom?: number): number =>
  lagOf(ends, progress, () => waitsFrom === undefined ? undefined : Timestamp.make(waitsFrom))

const progress = (source: string, of: Offset.Offsets, change?: Partial<Progress>): Progress => ({
  source,
  isPaused: false,
  phase: "Building",
  hasDeadLetters: false,
  journal: undefined,
  slices: new Map(
    Array.from(of, ([slice, offset]) => [slice, {
      offset,
      journal: undefined,
      completeUpTo: undefined,
      rewinds: [],
      pastLag: 0
    }])
  ),
  ...change
})

const at = (time: number) => [progress("a", offsets([5, 3, 20], [7, 1, time]))]

const since = (time: number) => [progress("a", offsets([1, 0, time], [2, 0, time]))]

const heads = offsets([1, 10, 1000], [2, 4, 1001])

describe("how far a version is behind its sources", () => {
  it("is the events that it has not passed, in all of its sources and slices", () => {
    assert.strictEqual(versionLag([ends("a", heads)], [progress("a", offsets([1, 7, 900]))]), 7)
    assert.strictEqual(
      versionLag(
        [ends("a", heads), ends("b", heads)],
        [progress("a", offsets([1, 10, 1000], [2, 5, 1002])), progress("b", offsets([1, 10, 1000], [2, 3, 1000]))]
      ),
      1
    )
    assert.strictEqual(versionLag([ends("a", new Map())], [progress("a", new Map())]), 0)
  })

  it("is all before it while it is paused, has dead letters, or is not known in a source", () => {
    for (const change of [{ isPaused: true }, { hasDeadLetters: true }]) {
      assert.strictEqual(versionLag([ends("a", heads)], [progress("a", heads, change)]), Infinity)
    }
    assert.strictEqual(versionLag([ends("a", heads), ends("b", heads)], [progress("a", heads)]), Infinity)
    // one that it reads no more
    assert.strictEqual(
      versionLag([ends("a", heads)], [progress("a", heads), progress("old", new Map(), { hasDeadLetters: true })]),
      0
    )
  })

  it("is all before it while anything is to be looked through once more, by whatever worker", () => {
    const [one] = [progress("a", heads)]
    const slices = new Map(
      Array.from(one.slices, ([slice, row]) => [slice, slice === 2 ? { ...row, pastLag: 1 } : row])
    )
    assert.strictEqual(versionLag([ends("a", heads)], [{ ...one, slices }]), Infinity)
  })

  it("counts nothing before a time that it was rewound to", () => {
    assert.strictEqual(versionLag([ends("a", heads)], since(1001)), 4)
    assert.strictEqual(versionLag([ends("a", heads)], since(1002)), 0)
    assert.strictEqual(versionLag([ends("a", heads)], since(1000)), 14)
  })

  it("is none or not known in a source without positions", () => {
    const newest = offsets([0, 0, 1000])
    assert.strictEqual(versionLag([ends("a", newest)], at(1000)), 0)
    assert.strictEqual(versionLag([ends("a", newest)], at(999)), Infinity)
    assert.strictEqual(versionLag([ends("a", newest)], at(1000), 900), Infinity)
  })
})
