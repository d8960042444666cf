import { assert, describe, it } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { LogCursor } from "@sluice/core/LogCursor"
import * as Offset from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Schema from "effect/Schema"
import { Follower } from "../src/internal/reading/Follower.ts"
import { JournalTail } from "../src/internal/reading/JournalTail.ts"
import { eventAt } from "./readingKit.ts"

const slice = Slice.make(5)
const elsewhere = Slice.make(9)
const range = SliceRange.make(4, 6)
const event = (position: number, timestamp = position * 10) => eventAt(slice, position, timestamp)
const at = (position: number): Offset.Offsets => new Map([[slice, Offset.make(position, position * 10)]])

/** A follower that has taken everything up to a position, and goes on with a tail that begins there. */
const atTail = (position: number) => {
  const follower = new Follower(range, at(position))
  const tail = new JournalTail<never>(at(position))
  assert.strictEqual(follower.afterPage([], tail), "takeTail")
  return { follower, tail }
}
const take = (follower: Follower, tail: JournalTail<unknown>, limit = 500) => {
  const { events, fork, isBehind } = follower.take(tail, limit)
  return { positions: events.map(({ position }) => Number(position)), isBehind, fork }
}

describe("a follower that reads the journal", () => {
  it("delivers a page, however far the tail is", () => {
    const follower = new Follower(range, at(3))
    assert.strictEqual(follower.afterPage([event(4)], new JournalTail(at(3))), "deliver")
  })

  it("looks twice for what the tail has, and then with another reader, each time anew", () => {
    const follower = new Follower(range, at(3))
    const tail = new JournalTail<never>(at(4))
    const next = (page: ReadonlyArray<EncodedEnvelope>) => follower.afterPage(page, tail)
    assert.deepStrictEqual([next([]), next([])], ["lookAgain", "openReader"])
    assert.deepStrictEqual([next([]), next([event(4)]), next([]), next([])], [
      "lookAgain",
      "deliver",
      "lookAgain",
      "openReader"
    ])
    follower.cursor.take(slice, 4, 40)
    assert.strictEqual(next([]), "takeTail")
  })

  it("takes the tail where that has nothing more in its range, or nothing as young as it asks for", () => {
    const tail = new JournalTail<never>(new Map([...at(3), [elsewhere, Offset.make(7, 70)]]))
    assert.strictEqual(new Follower(range, at(3)).afterPage([], tail), "takeTail")
    assert.strictEqual(new Follower(range, at(5)).afterPage([], tail), "takeTail")
    assert.strictEqual(new Follower(range, Offset.none).afterPage([], tail), "lookAgain")
    const since = (timestamp: number) => new Follower(range, new Map([[slice, Offset.make(0, timestamp)]]))
    assert.strictEqual(since(31).afterPage([], tail), "takeTail")
    assert.strictEqual(since(30).afterPage([], tail), "lookAgain")
  })
})

describe("a follower whose journal is forked", () => {
  const tail = new JournalTail<never>(at(5))
  const cases: ReadonlyArray<readonly [position: number, timestamp: number]> = [[5, 51], [4, 50], [6, 50]]
  for (const [position, timestamp] of cases) {
    it(`is not up to date with a tail at (5, 50) that stands at (${position}, ${timestamp}) itself`, () => {
      const follower = new Follower(range, new Map([[slice, Offset.make(position, timestamp)]]))
      assert.strictEqual(follower.forkedFrom(tail), slice)
      assert.deepStrictEqual([follower.afterPage([], tail), follower.afterPage([], tail)], ["lookAgain", "fail"])
    })
  }

  it("is one whose tail has another history, and no other", () => {
    for (const position of [0, 3, 5, 7]) assert.isUndefined(new Follower(range, at(position)).forkedFrom(tail))
  })
})

describe("a follower that takes the tail", () => {
  it("takes what comes in its range from then on, once", () => {
    const { follower, tail } = atTail(3)
    tail.push([event(4), eventAt(elsewhere, 1, 1), event(5)])
    assert.deepStrictEqual(take(follower, tail), { positions: [4, 5], isBehind: false, fork: undefined })
    assert.deepStrictEqual(take(follower, tail), { positions: [], isBehind: false, fork: undefined })
    tail.push([event(6)])
    assert.deepStrictEqual(take(follower, tail).positions, [6])
    assert.deepStrictEqual(follower.cursor.offsets(), at(6))
  })

  it("takes as many as it is asked for, and no more bytes than a page has", () => {
    const { follower, tail } = atTail(3)
    const payload = { manifest: "", bytes: new Uint8Array(1024 * 1024) }
    tail.push([4, 5, 6, 7, 8, 9, 10, 11, 12].map((position) => ({ ...event(position), payload })))
    assert.deepStrictEqual(take(follower, tail, 1).positions, [4])
    const { positions } = take(follower, tail)
    assert.isAbove(positions.length, 1)
    assert.isBelow(positions.length, 8)
    while (take(follower, tail).positions.length > 0);
    assert.deepStrictEqual(follower.cursor.offsets(), at(12))
  })

  it("goes past what it has read already", () => {
    const follower = new Follower(range, at(5))
    const tail = new JournalTail<never>(at(3))
    assert.strictEqual(follower.afterPage([], tail), "takeTail")
    tail.push([event(4), event(5), event(6)])
    assert.deepStrictEqual(take(follower, tail), { positions: [6], isBehind: false, fork: undefined })
  })

  it("is behind where the tail has forgotten what comes next, and not what came before", () => {
    const { follower, tail } = atTail(0)
    tail.push([event(1), event(2)])
    for (let position = 1; position <= 8192; position++) tail.push([eventAt(elsewhere, position, position)])
    assert.deepStrictEqual(take(follower, tail), { positions: [], isBehind: true, fork: undefined })
    follower.cursor.takeAll([event(1), event(2)])
    assert.strictEqual(follower.afterPage([], tail), "takeTail")
    assert.deepStrictEqual(take(follower, tail), { positions: [], isBehind: false, fork: undefined })
  })

  it("is behind where the tail has a gap for it", () => {
    const follower = new Follower(range, at(7))
    const tail = new JournalTail<never>(at(9))
    tail.push([event(10)])
    assert.deepStrictEqual(take(follower, tail), { positions: [], isBehind: true, fork: undefined })
    follower.cursor.moveTo(slice, 9, 90)
    assert.deepStrictEqual(take(follower, tail).positions, [10])
  })

  it("stops at what is of another history, after what is not", () => {
    const follower = new Follower(SliceRange.full, new Map([...at(3), [elsewhere, Offset.make(3, 30)]]))
    const tail = new JournalTail<never>(new Map([...at(3), [elsewhere, Offset.make(2, 20)]]))
    const other = eventAt(elsewhere, 3, 31)
    tail.push([event(4), other, event(5)])
    assert.deepStrictEqual(take(follower, tail), { positions: [4], isBehind: false, fork: other })
    assert.deepStrictEqual(take(follower, tail), { positions: [], isBehind: false, fork: other })
  })
})

const upTo = (n: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: n }))
const steps = Schema.Array(Schema.Union([
  Schema.Struct({ append: upTo(3) }),
  /** The tail is shown that many events that it has not seen, or one of them is kept from it for now. */
  Schema.Struct({ show: upTo(4), skip: Schema.Boolean }),
  /** So many more events can be read. */
  Schema.Struct({ reveal: upTo(4) }),
  Schema.Literals(["pull", "pull again"])
]))

it.prop(
  "whatever readers and the tail are shown, and when, a follower delivers each log whole, in order, once",
  [steps],
  ([steps]) => {
    const slices = SliceRange.slices(SliceRange.make(3, 6))
    const journal: Array<EncodedEnvelope> = []
    const tail = new JournalTail<never>(Offset.none)
    const follower = new Follower(range, Offset.none)
    const delivered: Array<EncodedEnvelope> = []
    let shown = 0
    let visible = 0
    const open = () => ({ cursor: new LogCursor(range, follower.cursor.offsets()), visible })
    let reader: ReturnType<typeof open> | undefined = open()

    const pull = (limit: number) => {
      if (reader === undefined) {
        const { events, fork, isBehind } = follower.take(tail, limit)
        assert.isUndefined(fork)
        delivered.push(...events)
        if (events.length === 0 && isBehind) reader = open()
        return
      }
      const { cursor } = reader
      const page = journal.slice(0, reader.visible)
        .filter((_) => SliceRange.contains(range, _.slice) && cursor.next(_.slice)! <= _.position!).slice(0, limit)
      assert.isUndefined(cursor.takeAll(page))
      assert.isUndefined(follower.cursor.takeAll(page))
      switch (follower.afterPage(page, tail)) {
        case "deliver":
          delivered.push(...page)
          break
        case "lookAgain":
          break
        case "openReader":
          reader = open()
          break
        case "takeTail":
          reader = undefined
          break
        case "fail":
          assert.fail("one history is no fork")
      }
    }

    for (const step of steps) {
      if (step === "pull" || step === "pull again") pull(3)
      else if ("append" in step) {
        const slice = slices[step.append]!
        const position = journal.filter((event) => event.slice === slice).length + 1
        journal.push(eventAt(slice, position, journal.length + 1))
      } else if ("reveal" in step) visible = Math.min(journal.length, visible + step.reveal)
      else {
        // the tail sees what it was not shown when it reads the journal again
        const chunk = journal.slice(shown, shown + step.show)
        tail.push(step.skip ? chunk.slice(1) : chunk)
        if (!step.skip) shown += chunk.length
      }
    }
    tail.push(journal)
    visible = journal.length
    for (let i = 0; i < journal.length + 10; i++) pull(3)
    for (const slice of SliceRange.slices(range)) {
      const of = (events: ReadonlyArray<EncodedEnvelope>) => events.filter((event) => event.slice === slice)
      assert.deepStrictEqual(of(delivered), of(journal))
    }
    assert.isUndefined(reader)
  },
  { arbitrary: { runs: 1000 } }
)
