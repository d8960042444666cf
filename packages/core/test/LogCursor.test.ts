import { assert, describe, it } from "@effect/vitest"
import * as LogCursor from "@sluice/core/LogCursor"
import * as Offset from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Schema from "effect/Schema"

const slice = Slice.make(5)
const range = SliceRange.make(4, 6)
const at = (position: number, timestamp: number) =>
  new LogCursor.LogCursor(range, new Map([[slice, Offset.make(position, timestamp)]]))

describe("a cursor at a position", () => {
  it("takes what comes next, once", () => {
    const cursor = at(7, 70)
    assert.strictEqual(cursor.take(slice, 8, 80), "next")
    assert.strictEqual(cursor.take(slice, 8, 80), "alreadyDelivered")
    assert.strictEqual(cursor.take(slice, 3, 30), "alreadyDelivered")
    assert.strictEqual(cursor.take(slice, 9, 81), "next")
    assert.deepStrictEqual(cursor.offsets(), new Map([[slice, Offset.make(9, 81)]]))
  })

  it("stays where it is at a gap", () => {
    const cursor = at(7, 70)
    assert.strictEqual(cursor.take(slice, 9, 90), "gap")
    assert.deepStrictEqual(cursor.offset(slice), Offset.make(7, 70))
    assert.strictEqual(cursor.next(slice), 8)
  })

  it("goes past a gap when it is told to, as where positions are sparse", () => {
    const cursor = at(7, 70)
    cursor.moveTo(slice, 9, 90)
    assert.strictEqual(cursor.take(slice, 8, 80), "alreadyDelivered")
    assert.strictEqual(cursor.take(slice, 10, 95), "next")
  })

  it("begins at 1 in a log without an offset, which is told apart from others", () => {
    const cursor = at(7, 70)
    const other = Slice.make(4)
    assert.strictEqual(cursor.take(other, 2, 20), "gap")
    assert.strictEqual(cursor.take(other, 1, 10), "next")
    assert.deepStrictEqual(cursor.offsets(), new Map([[other, Offset.make(1, 10)], [slice, Offset.make(7, 70)]]))
  })

  it("knows nothing of slices outside its range", () => {
    const cursor = new LogCursor.LogCursor(range, new Map([[Slice.make(7), Offset.make(7, 70)]]))
    assert.deepStrictEqual(cursor.offsets(), Offset.none)
    assert.throws(() => cursor.take(Slice.make(7), 8, 80), "slice 7 is not in 4-6")
  })
})

describe("another history", () => {
  const places: ReadonlyArray<readonly [why: string, position: number, timestamp: number, LogCursor.Verdict]> = [
    ["another event at the last position", 7, 71, "fork"],
    ["an older event at the last position", 7, 69, "fork"],
    ["an earlier position, not older than the last", 6, 70, "fork"],
    ["a later position, not younger than the last", 8, 70, "fork"],
    ["a gap that is not younger than the last", 12, 70, "fork"],
    ["an earlier position, older than the last, which any history may have", 6, 69, "alreadyDelivered"],
    ["the last event", 7, 70, "alreadyDelivered"]
  ]
  for (const [why, position, timestamp, verdict] of places) {
    it(`${why}: ${verdict}`, () => {
      const cursor = at(7, 70)
      assert.strictEqual(cursor.take(slice, position, timestamp), verdict)
      assert.deepStrictEqual(cursor.offset(slice), Offset.make(7, 70))
    })
  }

  it("shows also where the cursor was set back behind what it remembers", () => {
    const cursor = at(7, 70)
    cursor.moveTo(slice, 5, undefined)
    for (const timestamp of [70, 71]) {
      assert.strictEqual(cursor.verdict(slice, 6, timestamp), "fork")
      assert.strictEqual(cursor.take(slice, 6, timestamp), "fork")
    }
    assert.strictEqual(cursor.take(slice, 6, 69), "next")
  })

  it("is not known before anything is read", () => {
    assert.strictEqual(at(0, 0).take(slice, 1, 1), "next")
    assert.strictEqual(at(0, 50).take(slice, 9, 50), "next")
  })
})

describe("a cursor at a time", () => {
  it("begins at any position, with the first event that is not older", () => {
    const cursor = at(0, 50)
    assert.strictEqual(cursor.next(slice), undefined)
    assert.deepStrictEqual(cursor.offset(slice), Offset.make(0, 50))
    assert.strictEqual(cursor.take(slice, 9, 49), "alreadyDelivered")
    assert.deepStrictEqual(cursor.offset(slice), Offset.make(0, 50))
    assert.strictEqual(cursor.take(slice, 10, 50), "next")
    assert.deepStrictEqual(cursor.offset(slice), Offset.make(10, 50))
    assert.strictEqual(cursor.take(slice, 12, 52), "gap")
  })

  it("knows what comes next where an older event was seen", () => {
    const cursor = at(0, 50)
    cursor.take(slice, 9, 40)
    assert.strictEqual(cursor.next(slice), 10)
    assert.strictEqual(cursor.verdict(slice, 11, 60), "gap")
    assert.strictEqual(cursor.verdict(slice, 12, 45), "alreadyDelivered")
    assert.strictEqual(cursor.verdict(slice, 9, 41), "fork")
  })
})

it("a cursor goes back to what came next before, at a position or a time, and its offset stays", () => {
  for (const cursor of [at(7, 70), at(0, 50)]) {
    const next = cursor.next(slice)
    cursor.take(slice, 8, 80)
    cursor.setNext(slice, next)
    assert.strictEqual(cursor.next(slice), next)
    assert.deepStrictEqual(cursor.offset(slice), Offset.make(8, 80))
    assert.strictEqual(cursor.take(slice, 8, 80), "next")
  }
})

describe("a part that was skipped", () => {
  it("is next if it goes beyond what was read", () => {
    const cursor = at(7, 70)
    assert.strictEqual(cursor.take(slice, 12, 120, 9), "gap")
    assert.strictEqual(cursor.take(slice, 7, 70, 5), "alreadyDelivered")
    assert.strictEqual(cursor.take(slice, 12, 120, 6), "next")
    assert.deepStrictEqual(cursor.offset(slice), Offset.make(12, 120))
  })

  it("does not move the offset without a timestamp, and comes again from another reader", () => {
    const cursor = at(7, 70)
    assert.strictEqual(cursor.take(slice, 12, undefined, 8), "next")
    assert.strictEqual(cursor.take(slice, 12, undefined, 8), "alreadyDelivered")
    assert.strictEqual(cursor.take(slice, 14, 140), "gap")
    assert.deepStrictEqual(cursor.offset(slice), Offset.make(7, 70))
    cursor.reopen()
    assert.strictEqual(cursor.take(slice, 12, undefined, 8), "next")
    assert.strictEqual(cursor.take(slice, 13, 130), "next")
    assert.deepStrictEqual(cursor.offset(slice), Offset.make(13, 130))
  })

  it("says where a log begins that is read from a time on", () => {
    const cursor = at(0, 50)
    assert.strictEqual(cursor.take(slice, 12, undefined, 8), "next")
    assert.strictEqual(cursor.take(slice, 14, 140), "gap")
    cursor.reopen()
    assert.strictEqual(cursor.take(slice, 14, 140), "next")
  })
})

it("a cursor that is set to another stands where it stood", () => {
  const cursor = at(7, 70)
  const before = at(0, 0)
  before.set(cursor)
  cursor.take(slice, 8, 80)
  cursor.take(slice, 10, undefined, 9)
  assert.strictEqual(before.take(slice, 8, 80), "next")
  cursor.set(before)
  assert.strictEqual(cursor.take(slice, 9, 90), "next")
})

it("events are taken up to the first that is not next", () => {
  const cursor = at(7, 70)
  const event = (position: number) => ({ slice, position, timestamp: position * 10 }) as any
  assert.strictEqual(cursor.takeAll([event(8), event(9)]), undefined)
  const torn = [event(10), event(12), event(13)]
  assert.strictEqual(cursor.takeAll(torn), torn[1])
  assert.strictEqual(cursor.next(slice), 11)
})

const upTo = (n: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: n }))
const length = 12
/** How far apart the timestamps of a log are. */
const steps = Schema.Array(upTo(3)).check(Schema.isMinLength(length), Schema.isMaxLength(length))
const logOf = (steps: ReadonlyArray<number>, first = 0): ReadonlyArray<number> => {
  let timestamp = first
  return steps.map((step) => timestamp += step + 1)
}
const starts = Schema.Union([
  Schema.Struct({ position: upTo(length) }),
  Schema.Struct({ time: upTo(30) })
])
/** Events from `from` on are shown, or one element says that they were skipped. */
const scripts = Schema.Array(Schema.Union([
  Schema.Struct({ show: upTo(2), from: upTo(length - 1), count: upTo(5) }),
  Schema.Struct({ skip: upTo(2), from: upTo(length - 1), count: upTo(5), isTimed: Schema.Boolean }),
  Schema.Literal("reopen")
])).check(Schema.isMaxLength(40))

/** What a cursor ought to say: it keeps a list of everything that was taken, and reads through all of it every time. */
class NaiveCursor {
  read: Array<{ readonly from: number; readonly position: number; readonly timestamp: number | undefined }> = []
  readonly since: number
  constructor({ position, timestamp }: Offset.Offset) {
    this.since = position === 0 ? timestamp : 0
    if (position > 0) this.read.push({ from: 1, position, timestamp })
  }
  take(position: number, timestamp: number | undefined, from: number): LogCursor.Verdict {
    const has = (place: number) => this.read.some((_) => _.from <= place && place <= _.position)
    const last = this.read.findLast((_) => _.timestamp !== undefined)
    if (
      last !== undefined && timestamp !== undefined &&
      Math.sign(position - last.position) !== Math.sign(timestamp - last.timestamp!)
    ) return "fork"
    if (timestamp !== undefined && timestamp < this.since) {
      // whatever is before it is older still
      if (!has(position)) this.read.push({ from: 1, position, timestamp })
      return "alreadyDelivered"
    }
    if (has(position)) return "alreadyDelivered"
    const begins = this.read.length === 0 && this.since > 0
    if (!begins && from > 1 && !has(from - 1)) return "gap"
    this.read.push({ from: begins ? 1 : from, position, timestamp })
    return "next"
  }
  reopen(): void {
    this.read = this.read.slice(0, this.read.findLastIndex((_) => _.timestamp !== undefined) + 1)
  }
  get offset(): Offset.Offset {
    const last = this.read.findLast((_) => _.timestamp !== undefined)
    if (last === undefined || last.timestamp! < this.since) return Offset.make(0, this.since)
    return Offset.make(last.position, last.timestamp!)
  }
}

const startOf = (log: ReadonlyArray<number>, start: typeof starts.Type): Offset.Offset =>
  "time" in start
    ? Offset.make(0, start.time)
    : Offset.make(start.position, start.position === 0 ? 0 : log[start.position - 1]!)

/** Places of the log, as the script shows them. */
const elementsOf = (
  log: ReadonlyArray<number>,
  step: Exclude<typeof scripts.Type[number], "reopen">
): ReadonlyArray<{ readonly from: number; readonly position: number; readonly timestamp: number | undefined }> => {
  const to = Math.min(step.from + step.count, length - 1)
  if ("skip" in step) {
    return [{ from: step.from + 1, position: to + 1, timestamp: step.isTimed ? log[to]! : undefined }]
  }
  return log.slice(step.from, to + 1).map((timestamp, i) => ({
    from: step.from + i + 1,
    position: step.from + i + 1,
    timestamp
  }))
}
const sliceOf = (step: Exclude<typeof scripts.Type[number], "reopen">) =>
  Slice.make(range.min + ("skip" in step ? step.skip : step.show))

const threeOf = <S extends Schema.Schema<any>>(schema: S) => Schema.Tuple([schema, schema, schema])

describe("however events are shown, read again, skipped and reopened", () => {
  const many = { arbitrary: { runs: 2000 } }

  it.prop(
    "a cursor says what a list of everything says, of logs that fork as well",
    [threeOf(steps), threeOf(steps), threeOf(starts), scripts, Schema.Array(Schema.Boolean)],
    ([old, young, begin, script, isYoung]) => {
      const logs = [old, young].map((both) => both.map((_) => logOf(_)))
      const start = new Map(SliceRange.slices(range).map((slice, i) => [slice, startOf(logs[0]![i]!, begin[i]!)]))
      const cursor = new LogCursor.LogCursor(range, start)
      const naive = new Map(Array.from(start, ([slice, offset]) => [slice, new NaiveCursor(offset)]))
      script.forEach((step, i) => {
        if (step === "reopen") {
          cursor.reopen()
          naive.forEach((_) => _.reopen())
          return
        }
        const slice = sliceOf(step)
        const log = logs[isYoung[i] === true ? 1 : 0]![slice - range.min]!
        for (const { from, position, timestamp } of elementsOf(log, step)) {
          const verdict = naive.get(slice)!.take(position, timestamp, from)
          assert.strictEqual(cursor.verdict(slice, position, timestamp, from), verdict)
          assert.strictEqual(cursor.take(slice, position, timestamp, from), verdict)
          assert.deepStrictEqual(cursor.offset(slice), naive.get(slice)!.offset)
        }
      })
    },
    many
  )

  it.prop(
    "what is taken is what is asked for, in order, once, and none left out",
    [threeOf(steps), threeOf(starts), scripts],
    ([steps, begin, script]) => {
      const logs = steps.map((_) => logOf(_))
      const start = new Map(SliceRange.slices(range).map((slice, i) => [slice, startOf(logs[i]!, begin[i]!)]))
      let cursor = new LogCursor.LogCursor(range, start)
      const taken = new Map(Array.from(start, ([slice]) => [slice, new Array<number>()]))
      const show = (slice: Slice.Slice, from: number, count: number) => {
        for (const { position, timestamp } of elementsOf(logs[slice - range.min]!, { show: 0, from, count })) {
          const verdict = cursor.take(slice, position, timestamp)
          assert.notStrictEqual(verdict, "fork")
          if (verdict === "next") taken.get(slice)!.push(position)
        }
      }
      for (const step of script) {
        if (step === "reopen") cursor = new LogCursor.LogCursor(range, cursor.offsets())
        else if ("show" in step) {
          // whoever reads from a time on is shown nothing without what is before it
          show(sliceOf(step), cursor.next(sliceOf(step)) === undefined ? 0 : step.from, step.count)
        }
      }
      for (const [slice, { position, timestamp }] of start) {
        show(slice, 0, length)
        const expected = logs[slice - range.min]!.flatMap((time, i) =>
          i + 1 > position && (position > 0 || time >= timestamp) ? [i + 1] : []
        )
        assert.deepStrictEqual(taken.get(slice), expected)
        const last = expected.at(-1)
        if (last !== undefined) {
          assert.deepStrictEqual(cursor.offset(slice), Offset.make(last, logs[slice - range.min]![last - 1]!))
        }
      }
    },
    many
  )

  it.prop(
    "another event at the last position is a fork, whatever is before it",
    [steps, steps, upTo(length - 1), upTo(length - 1)],
    ([steps, others, common, read]) => {
      const log = logOf(steps)
      const other = [...log.slice(0, common), ...logOf(others.slice(common), log[common - 1] ?? 0)]
      const cursor = new LogCursor.LogCursor(range, Offset.none)
      log.slice(0, read + 1).forEach((timestamp, i) => assert.strictEqual(cursor.take(slice, i + 1, timestamp), "next"))
      assert.strictEqual(
        cursor.take(slice, read + 1, other[read]),
        other[read] === log[read] ? "alreadyDelivered" : "fork"
      )
      const before = cursor.offset(slice)
      assert.deepStrictEqual(before, Offset.make(read + 1, log[read]!))
      // of what is shared nothing is one
      other.slice(0, common).forEach((timestamp, i) =>
        assert.notStrictEqual(cursor.verdict(slice, i + 1, timestamp), "fork")
      )
    },
    many
  )
})
