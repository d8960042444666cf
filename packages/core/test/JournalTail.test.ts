import { assert, describe, it } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Cause from "effect/Cause"
import * as Schema from "effect/Schema"
import { JournalTail } from "../src/internal/reading/JournalTail.ts"
import { eventAt } from "./readingKit.ts"

const nobody = { disrupted: () => {}, restored: () => {} }

const slice = Slice.make(5)
const event = (position: number, timestamp = position * 10) => eventAt(slice, position, timestamp)
const events = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => event(from + i))

/** A tail that begins after position 3. */
const make = () => new JournalTail<string>(new Map([[slice, Offset.make(3, 30)]]))
const contents = (tail: JournalTail<unknown>): ReadonlyArray<EncodedEnvelope> =>
  Array.from({ length: tail.end - tail.start }, (_, i) => tail.at(tail.start + i))
const positions = (tail: JournalTail<unknown>) => contents(tail).map(({ position }) => Number(position))

describe("a tail", () => {
  it("takes what comes next in each log, and nothing else", () => {
    const tail = make()
    assert.isUndefined(tail.push([event(2), event(3), event(4), event(6), event(5), event(5)]))
    assert.isUndefined(tail.push([eventAt(Slice.make(9), 2, 1), eventAt(Slice.make(9), 1, 1)]))
    assert.deepStrictEqual(positions(tail), [4, 5, 1])
    assert.deepStrictEqual(tail.heads.offset(slice), Offset.make(5, 50))
    assert.isTrue(tail.has(event(5)))
    assert.isFalse(tail.has(event(6)))
  })

  it("forgets the oldest where there are too many", () => {
    const tail = make()
    for (let from = 4; from < 20_004; from += 500) tail.push(events(from, from + 499))
    assert.deepStrictEqual([tail.start, tail.end], [20_000 - 8192, 20_000])
    assert.deepStrictEqual([tail.at(tail.start).position, tail.at(tail.end - 1).position].map(Number), [
      20_003 - 8191,
      20_003
    ])
  })

  it("forgets the oldest where they are too large, and holds none that is larger than all may be", () => {
    const tail = make()
    const large = (position: number, bytes: number): EncodedEnvelope => ({
      ...event(position),
      payload: { manifest: "", bytes: new Uint8Array(bytes) }
    })
    const mebibyte = 1024 * 1024
    tail.push(Array.from({ length: 40 }, (_, i) => large(4 + i, mebibyte)))
    assert.deepStrictEqual(positions(tail), Array.from({ length: 15 }, (_, i) => 29 + i))
    assert.strictEqual(tail.size(tail.start), mebibyte + 200)
    tail.push([large(44, 17 * mebibyte)])
    assert.strictEqual(tail.start, tail.end)
    tail.push([event(45)])
    assert.deepStrictEqual(positions(tail), [45])
  })
})

describe("what does not go with what a tail has taken", () => {
  const cases: ReadonlyArray<readonly [why: string, event: EncodedEnvelope, known: Offset.Offset]> = [
    ["another event at the last position", event(6, 61), Offset.make(6, 60)],
    ["an earlier position that is newer than the last", event(5, 60), Offset.make(6, 60)],
    ["a later position that is not newer than the last", event(9, 60), Offset.make(6, 60)],
    ["another event at an earlier position that it still has", event(5, 49), Offset.make(5, 50)]
  ]
  for (const [why, other, offset] of cases) {
    it(`is a fork where the known event stands: ${why}`, () => {
      const tail = make()
      tail.push(events(4, 6))
      assert.deepStrictEqual(tail.push([other, event(7)]), { slice, offset })
      // what comes after it is of the other history
      assert.deepStrictEqual(positions(tail), [4, 5, 6])
    })
  }

  it("is not known of earlier positions that it does not have", () => {
    const tail = make()
    tail.push(events(4, 6))
    assert.isUndefined(tail.push([event(2, 15), event(7)]))
    assert.deepStrictEqual(positions(tail), [4, 5, 6, 7])
  })
})

describe("those who follow a tail", () => {
  it("are woken by events of their range, before a fork as well, and by its failure", () => {
    const tail = make()
    const mine = tail.subscribe(SliceRange.make(5, 9), nobody)
    const other = tail.subscribe(SliceRange.make(6, 9), nobody)
    const gone = tail.subscribe(SliceRange.full, nobody)
    tail.unsubscribe(gone)
    const woken = () => [mine, other, gone].map(({ latch }) => latch.closeUnsafe())
    tail.push([event(3), event(6)])
    assert.deepStrictEqual(woken(), [false, false, false])
    tail.push([event(4), event(4, 41)])
    assert.deepStrictEqual(woken(), [true, false, false])
    const cause = Cause.fail("away")
    tail.fail(cause)
    assert.deepStrictEqual(woken(), [true, true, false])
    assert.strictEqual(tail.failure, cause)
  })

  it("are woken by whichever events of a push are theirs, and not by the first alone", () => {
    const tail = make()
    const last = tail.subscribe(SliceRange.make(9, 9), nobody)
    const between = tail.subscribe(SliceRange.make(6, 8), nobody)
    tail.push([event(4), eventAt(Slice.make(9), 1, 1)])
    assert.deepStrictEqual([last, between].map(({ latch }) => latch.closeUnsafe()), [true, false])
  })
})

const upTo = (n: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: n }))

it.prop(
  "whatever it is shown of the logs, a tail has each of them in order, without gaps, up to its head",
  [Schema.Array(Schema.Struct({ slice: upTo(2), from: upTo(12), count: upTo(4) }))],
  ([chunks]) => {
    const tail = new JournalTail<never>(Offset.none)
    const shown = new Map<number, Set<number>>()
    for (const { count, from, slice } of chunks) {
      const chunk = Array.from({ length: count }, (_, i) => eventAt(Slice.make(slice), from + i + 1, from + i + 1))
      assert.isUndefined(tail.push(chunk))
      for (const { position } of chunk) shown.set(slice, (shown.get(slice) ?? new Set()).add(position!))
    }
    for (const slice of [0, 1, 2].map(Slice.make)) {
      const log = contents(tail).filter((event) => event.slice === slice).map(({ position }) => Number(position))
      const head = tail.heads.position(slice)
      assert.deepStrictEqual(log, Array.from({ length: head }, (_, i) => i + 1))
      assert.isTrue(log.every((position) => shown.get(slice)!.has(position)))
    }
  },
  { arbitrary: { runs: 500 } }
)
