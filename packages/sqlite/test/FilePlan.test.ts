import { assert, describe, it } from "@effect/vitest"
import * as Offset from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import { eventAt as event } from "../../core/test/readingKit.ts"
import { FilePlan } from "../src/internal/FilePlan.ts"

const [a, b, other] = [Slice.make(0), Slice.make(1), Slice.make(9)]
const range = SliceRange.make(0, 3)

/** Of log `a` five events were read, the last at 50. */
const plan = () => new FilePlan(range, new Map([[a, Offset.make(5, 50)]]), 10)

describe("a page of a file", () => {
  it("is delivered without what was already read, and reading goes on after its last event", () => {
    const reader = plan()
    const fresh = [event(b, 1, 30), event(a, 6, 60)]
    const outcome = reader.page([event(a, 4, 20), fresh[0]!, event(a, 5, 50), fresh[1]!], 0)
    assert.deepStrictEqual(outcome, { _tag: "Page", events: fresh })
    assert.strictEqual(reader.after, 60)
    assert.isFalse(reader.isAtEnd(0))
  })

  it("of events that were already read is followed by the next", () => {
    const reader = plan()
    assert.deepStrictEqual(reader.page([event(a, 4, 20), event(a, 5, 50)], 0), { _tag: "ReadOn" })
    assert.strictEqual(reader.after, 50)
  })

  it("is delivered up to a gap, which then is one", () => {
    const reader = plan()
    const torn = event(b, 2, 70)
    assert.deepStrictEqual(reader.page([event(a, 6, 60), torn], 0), { _tag: "Page", events: [event(a, 6, 60)] })
    assert.deepStrictEqual(reader.page([torn], 0), { _tag: "Gap", event: torn, offset: Offset.beginning })
  })

  it("shows another history", () => {
    assert.deepStrictEqual(plan().page([event(a, 5, 51)], 0), { _tag: "Fork", slice: a, offset: Offset.make(5, 50) })
  })

  it("without events is the end, until there is another signal", () => {
    const reader = plan()
    assert.deepStrictEqual(reader.page([], 3), { _tag: "Page", events: [] })
    assert.isTrue(reader.isAtEnd(3))
    assert.isFalse(reader.isAtEnd(4))
  })
})

describe("events that were read in another way", () => {
  it("are not read again where they are all that was signalled", () => {
    const reader = plan()
    reader.page([], 0)
    reader.pass([event(other, 1, 55), event(a, 6, 60)], 1)
    assert.isTrue(reader.isAtEnd(1))
    assert.strictEqual(reader.after, 60)
    assert.strictEqual(reader.cursor.position(a), 6)
  })

  it("are read again where others were signalled too, or before the end was reached", () => {
    const others = plan()
    others.page([], 0)
    others.pass([event(a, 6, 60)], 2)
    assert.isFalse(others.isAtEnd(2))
    assert.deepStrictEqual(others.page([event(b, 1, 55), event(a, 6, 60)], 2), {
      _tag: "Page",
      events: [event(b, 1, 55)]
    })
    const early = plan()
    early.pass([event(a, 6, 60)], 1)
    assert.strictEqual(early.cursor.position(a), 5)
  })

  it("are read again where they leave a gap, or where the first event of their log is not known", () => {
    const torn = plan()
    torn.page([], 0)
    torn.pass([event(a, 7, 70)], 1)
    assert.isFalse(torn.isAtEnd(1))
    const since = new FilePlan(range, Offset.since(Timestamp.make(40), range), 39)
    since.page([], 0)
    since.pass([event(a, 7, 70)], 1)
    assert.isFalse(since.isAtEnd(1))
    assert.strictEqual(since.after, 39)
  })
})
