import { assert, describe, it } from "@effect/vitest"
import * as Offset from "@sluice/core/Offset"
import type { Position } from "@sluice/core/Position"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Schema from "effect/Schema"
import { type Change, type Read, StateLogPlan } from "../src/internal/StateLogPlan.ts"

const range = SliceRange.make(0, 3)
const [a, b] = [Slice.make(0), Slice.make(1)]

const change = (slice: number, position: number, timestamp: number): Change => ({
  slice: Slice.make(slice),
  position: position as Position,
  timestamp: Timestamp.make(timestamp)
})

/** The newest changes of entities in a database, each at its place, and a reader that reads them as its plan says. */
class Database {
  readonly marks = new Float64Array(Slice.count)
  /** By entity, the newest. */
  readonly changes = new Map<string, Change>()
  readonly heads = new Map<Slice.Slice, Offset.Offset>()
  /** So many changes have room in a page. */
  room = Infinity
  readonly asked: Array<Read["_tag"]> = []

  commit(entity: string, at: Change): void {
    this.changes.set(entity, at)
    this.heads.set(at.slice, Offset.make(at.position, at.timestamp))
    this.marks[at.slice]!++
  }

  plan(options: { readonly byTime?: boolean; readonly start?: Offset.Offsets } = {}): StateLogPlan {
    const { byTime = false, start = Offset.none } = options
    return new StateLogPlan({ range, start, byTime, marks: this.marks, maxRows: 64 })
  }

  /** What comes next; undefined where the history is another one. */
  read(plan: StateLogPlan, limit = 100): ReadonlyArray<Change> | undefined {
    for (let steps = 0; steps < 1000; steps++) {
      const read = plan.next(limit)
      this.asked.push(read._tag)
      switch (read._tag) {
        case "Nothing":
          return []
        case "Fork":
          return undefined
        case "Heads":
          plan.heads(new Map(this.heads))
          break
        case "Firsts":
          plan.firsts(
            read.after.map(([slice, { position }]) =>
              Math.min(...this.sorted.filter((_) => _.slice === slice && _.position > position).map((_) => _.timestamp))
            )
          )
          break
        case "Window": {
          const found = this.sorted.filter(({ slice, timestamp }) =>
            timestamp > read.after.timestamp || timestamp === read.after.timestamp && slice > read.after.slice
          ).slice(0, read.count)
          const page = this.cut(plan.unread(found))
          if (plan.window(read, found, page) && page.rows.length > 0) return page.rows
          break
        }
        case "Logs": {
          const found = read.after.flatMap(([slice, { position, timestamp }]) =>
            this.sorted.filter((_) =>
              _.slice === slice && _.position > position && _.timestamp >= (position === 0 ? timestamp : 0)
            )
              .slice(0, read.each)
          ).toSorted((a, b) => a.timestamp - b.timestamp)
          const page = this.cut(found)
          if (plan.logs(read, page) && page.rows.length > 0) return page.rows
        }
      }
    }
    return assert.fail("reads on and on")
  }

  readAll(plan: StateLogPlan, limit?: number): ReadonlyArray<Change> {
    const all: Array<Change> = []
    while (true) {
      const page = this.read(plan, limit)!
      if (page.length === 0) return all
      all.push(...page)
    }
  }

  private cut(found: ReadonlyArray<Change>) {
    return { rows: found.slice(0, this.room), isCut: found.length > this.room }
  }

  private get sorted(): ReadonlyArray<Change> {
    return [...this.changes.values()].toSorted((a, b) => a.timestamp - b.timestamp || a.slice - b.slice)
  }
}

describe("a reader of changes", () => {
  it("asks for nothing as long as no slice of its range was signalled", () => {
    const database = new Database()
    const plan = database.plan()
    assert.deepStrictEqual(database.readAll(plan), [])
    assert.deepStrictEqual(database.readAll(plan), [])
    database.marks[4]!++
    assert.deepStrictEqual(database.readAll(plan), [])
    assert.deepStrictEqual(database.asked, ["Heads", "Nothing", "Nothing", "Nothing"])
  })

  it("reads the logs that have more by themselves, and goes over the gaps of what has changed again", () => {
    const database = new Database()
    const plan = database.plan({ start: new Map([[a, Offset.make(1, 10)]]) })
    database.commit("a1", change(0, 1, 10))
    database.commit("a2", change(0, 4, 40))
    database.commit("b", change(1, 7, 70))
    assert.deepStrictEqual(database.readAll(plan), [change(0, 4, 40), change(1, 7, 70)])
    assert.deepStrictEqual(database.asked.slice(0, 2), ["Heads", "Logs"])
    assert.deepStrictEqual(plan.cursor.offsets(), new Map([[a, Offset.make(4, 40)], [b, Offset.make(7, 70)]]))
  })

  it("reads fewer at a time where there is no room for more, and more again afterwards", () => {
    const database = new Database()
    database.commit("a", change(0, 1, 10))
    const plan = database.plan()
    plan.next(100)
    plan.heads(new Map(database.heads))
    const each = () => {
      const read = plan.next(100)
      if (read._tag !== "Logs") return assert.fail(read._tag)
      return read
    }
    assert.strictEqual(each().each, 64)
    plan.logs(each(), { rows: [change(0, 1, 10), change(0, 2, 20)], isCut: true })
    assert.strictEqual(each().each, 4)
    plan.logs(each(), { rows: [3, 4, 5, 6].map((position) => change(0, position, position * 10)), isCut: false })
    assert.strictEqual(each().each, 16)
  })

  for (const byTime of [false, true]) {
    it(`${byTime ? "by time " : ""}finds out that its history is gone by the heads, and says so from then on`, () => {
      for (const head of [Offset.make(3, 30), Offset.make(5, 51), Offset.make(6, 50)]) {
        const database = new Database()
        const plan = database.plan({ byTime, start: new Map([[a, Offset.make(5, 50)]]) })
        database.heads.set(a, head)
        assert.isUndefined(database.read(plan))
        assert.deepStrictEqual(plan.next(10), { _tag: "Fork", slice: a, offset: Offset.make(5, 50) })
      }
    })
  }

  it("shows nothing of a page in which the history is another one", () => {
    const database = new Database()
    const plan = database.plan({ start: new Map([[a, Offset.make(5, 50)]]) })
    database.commit("b", change(1, 1, 45))
    database.commit("a", change(0, 6, 60))
    plan.next(10)
    plan.heads(new Map(database.heads))
    database.changes.set("a", change(0, 6, 49))
    assert.isUndefined(database.read(plan))
  })

  it("by time reads what was committed before it has asked for the heads, and the rest in the next window", () => {
    const database = new Database()
    const plan = database.plan({ byTime: true })
    database.commit("a", change(0, 1, 30))
    plan.next(10)
    plan.heads(new Map(database.heads))
    database.commit("b", change(1, 1, 20))
    assert.deepStrictEqual(database.read(plan), [change(0, 1, 30)])
    assert.deepStrictEqual(database.readAll(plan), [change(1, 1, 20)])
  })
})

const key = ({ position, slice }: Change) => `${slice}.${position}`

const upTo = (n: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: n }))
const Happenings = Schema.Array(Schema.Union([
  Schema.Struct({ commit: upTo(7), later: upTo(3) }),
  Schema.Struct({ read: upTo(6) }),
  Schema.Struct({ room: upTo(3) })
])).check(Schema.isMaxLength(60))

describe("whatever is committed while a reader reads", () => {
  for (const byTime of [false, true]) {
    it.prop(
      `the newest change of each entity is read once, and those of a log in order${byTime ? ", by time" : ""}`,
      [Happenings, upTo(40)],
      ([happenings, since]) => {
        const database = new Database()
        const start = since % 2 === 0 ? Offset.none : Offset.since(Timestamp.make(since), range)
        const plan = database.plan({ byTime, start })
        const seen: Array<Change> = []
        let now = 0
        for (const happening of happenings) {
          if ("commit" in happening) {
            // two entities of each slice
            const slice = Slice.make(happening.commit % 4)
            const { position, timestamp } = database.heads.get(slice) ?? Offset.beginning
            now += happening.later
            database.commit(`${happening.commit}`, change(slice, position + 1, Math.max(timestamp + 1, now)))
          } else if ("room" in happening) database.room = happening.room + 1
          else seen.push(...database.read(plan, happening.read + 1)!)
        }
        // what is committed while a window is read comes with the next one
        let window: Array<Change> = []
        while (true) {
          const before = database.asked.length
          const page = database.read(plan, 3)!
          if (page.length === 0) break
          if (database.asked.slice(before).includes("Heads")) window = []
          window.push(...page)
          seen.push(...page)
          if (!byTime) continue
          assert.deepStrictEqual(
            window,
            window.toSorted((a, b) => a.timestamp - b.timestamp || a.slice - b.slice)
          )
        }
        assert.strictEqual(new Set(seen.map(key)).size, seen.length)
        for (const slice of SliceRange.slices(range)) {
          const positions = seen.filter((_) => _.slice === slice).map(({ position }) => position)
          assert.deepStrictEqual(positions, positions.toSorted((a, b) => a - b))
        }
        for (const newest of database.changes.values()) {
          const isAsked = start === Offset.none || newest.timestamp >= since
          assert.strictEqual(seen.some((_) => key(_) === key(newest)), isAsked, key(newest))
        }
      },
      { arbitrary: { runs: 500 } }
    )
  }
})
