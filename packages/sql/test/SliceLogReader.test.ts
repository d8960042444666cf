import { assert, describe, it } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import { JournalForked, OffsetBelowFloor } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as SliceLogReader from "@sluice/sql/adapter/SliceLogReader"
import * as StorageSignals from "@sluice/sql/adapter/StorageSignals"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { eventAt } from "../../core/test/readingKit.ts"

const entityType = "note"
const range = SliceRange.make(0, 300)

const event = (slice: number, position: number, timestamp: number) => eventAt(Slice.make(slice), position, timestamp)

const sorted = (events: ReadonlyArray<EncodedEnvelope>) =>
  events.toSorted((a, b) => a.timestamp - b.timestamp || a.slice - b.slice)

type Query = "heads" | "timestamps" | "byTime" | "bySlices" | "floors" | "verify"

/** A database whose logs are a list of events, and that remembers what it was asked. */
class FakeDatabase {
  readonly signals = StorageSignals.make()
  /** What is committed. */
  events: ReadonlyArray<EncodedEnvelope>
  floors = new Map<Slice.Slice, Offset.Offset>()
  queries: Array<Query> = []
  verified: Array<Offset.Offsets> = []
  verifyError: JournalForked | undefined
  /** How many events a page of logs has room for. */
  room = Infinity
  /** Happens when a query has reached the database, before it looks. */
  before: (query: Query) => void = () => {}

  constructor(events: ReadonlyArray<EncodedEnvelope> = []) {
    this.events = events
  }

  commit(...events: ReadonlyArray<EncodedEnvelope>): void {
    this.events = [...this.events, ...events]
    this.signals.events.signal(entityType, new Set(events.map(({ slice }) => slice)))
  }

  /** The queries since they were asked for last. */
  get asked(): ReadonlyArray<Query> {
    return this.queries.splice(0)
  }

  reader(
    options: { readonly start?: Offset.Offsets; readonly byTime?: boolean; readonly range?: SliceRange.SliceRange }
  ) {
    const answer = <A>(query: Query, look: () => A) =>
      Effect.sync(() => {
        this.queries.push(query)
        this.before(query)
        return look()
      })
    return SliceLogReader.make({
      dialect: {
        heads: (_, range) =>
          answer("heads", () => {
            const heads = new Map<Slice.Slice, Offset.Offset>()
            for (const { position, slice, timestamp } of this.events) {
              if (SliceRange.contains(range, slice) && position! > (heads.get(slice)?.position ?? 0)) {
                heads.set(slice, Offset.make(position!, timestamp))
              }
            }
            return heads
          }),
        timestamps: (_, places) =>
          answer(
            "timestamps",
            () =>
              new Map(places.flatMap(([slice, position]) =>
                this.events.filter((event) => event.slice === slice && event.position === position)
                  .map(({ timestamp }) => [slice, timestamp] as const)
              ))
          ),
        byTime: (_, range, after, limit) =>
          answer(
            "byTime",
            () =>
              sorted(this.events).filter(({ slice, timestamp }) =>
                SliceRange.contains(range, slice) &&
                (timestamp > after.timestamp || timestamp === after.timestamp && slice > after.slice)
              ).slice(0, limit)
          ),
        bySlices: (_, after, limit) =>
          answer("bySlices", () => {
            const events = sorted(after.flatMap(([slice, last]) =>
              this.events.filter((event) => event.slice === slice && event.position! > last)
                .toSorted((a, b) => a.position! - b.position!).slice(0, limit)
            ))
            return { events: events.slice(0, this.room), isFull: events.length >= this.room }
          })
      },
      deletion: {
        floors: () => answer("floors", () => this.floors)
      },
      verify: (offsets) =>
        Effect.andThen(
          answer("verify", () => this.verified.push(offsets)),
          Effect.suspend(() => this.verifyError === undefined ? Effect.void : Effect.fail(this.verifyError))
        ),
      signals: this.signals,
      entityType,
      range: options.range ?? range,
      start: options.start ?? Offset.none,
      byTime: options.byTime ?? false
    })
  }
}

const read = (reader: ReturnType<FakeDatabase["reader"]>, limit = 100) =>
  Effect.map(reader.next(limit), (events) => events.map(({ position, slice }) => `${slice}.${position}`))

/** Reads to the end. */
const readAll = Effect.fnUntraced(function*(reader: ReturnType<FakeDatabase["reader"]>, limit: number) {
  const events: Array<EncodedEnvelope> = []
  while (true) {
    const page = yield* reader.next(limit)
    assert.isAtMost(page.length, limit)
    if (page.length === 0) return events
    events.push(...page)
  }
})

const at = (...offsets: ReadonlyArray<readonly [slice: number, position: number, timestamp: number]>): Offset.Offsets =>
  new Map(offsets.map(([slice, position, timestamp]) => [Slice.make(slice), Offset.make(position, timestamp)]))

/** So many events in each of the logs, in turn. */
const events = (slices: number, each: number): ReadonlyArray<EncodedEnvelope> =>
  Array.from({ length: slices * each }, (_, i) => event(i % slices, Math.floor(i / slices) + 1, i + 1))

describe("the first reads", () => {
  it.effect("ask for the heads, and then for what follows where there is little", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10), event(2, 1, 20), event(1, 2, 30)])
      database.signals.signalAll()
      const reader = database.reader({ start: at([1, 1, 10]) })
      assert.deepStrictEqual(yield* read(reader), ["2.1", "1.2"])
      assert.deepStrictEqual(database.asked, ["heads", "bySlices"])
      assert.deepStrictEqual(yield* read(reader), [])
      assert.deepStrictEqual(yield* read(reader), [])
      assert.deepStrictEqual(database.asked, [])
    }))

  it.effect("ask for the heads alone where there is nothing", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10)])
      const reader = database.reader({ start: at([1, 1, 10]) })
      assert.deepStrictEqual(yield* read(reader), [])
      assert.deepStrictEqual(database.asked, ["heads"])
    }))

  it.effect("are windows of time, where there is much or where reading begins at a time", () =>
    Effect.gen(function*() {
      const much = new FakeDatabase(events(10, 5))
      assert.lengthOf(yield* readAll(much.reader({}), 10), 50)
      assert.deepStrictEqual(much.asked, ["heads", "timestamps", ...Array.from({ length: 6 }, () => "byTime" as const)])
      const since = new FakeDatabase([event(1, 1, 10), event(1, 2, 20), event(2, 1, 30)])
      const reader = since.reader({ start: at([1, 0, 20], [2, 0, 20]) })
      assert.deepStrictEqual(yield* read(reader), ["1.2", "2.1"])
      assert.deepStrictEqual(yield* read(reader), [])
      assert.deepStrictEqual(since.asked, ["heads", "byTime", "byTime"])
    }))

  it.effect("are in the order of time over all logs, for a reader by time", () =>
    Effect.gen(function*() {
      for (const limit of [1, 3, 10, 1000]) {
        const seen = yield* readAll(new FakeDatabase(events(7, 9)).reader({ byTime: true }), limit)
        assert.deepStrictEqual(seen, events(7, 9))
      }
    }))
})

describe("what is signalled", () => {
  it.effect("is read where it is, and what it follows is looked for at the same time", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10)])
      const reader = database.reader({})
      yield* readAll(reader, 100)
      database.commit(event(1, 2, 20), event(5, 1, 20))
      database.queries = []
      assert.deepStrictEqual(yield* read(reader), ["1.2", "5.1"])
      assert.deepStrictEqual(database.asked, ["bySlices", "timestamps"])
      assert.deepStrictEqual(yield* read(reader), [])
      assert.deepStrictEqual(database.asked, [])
    }))

  it.effect("is looked for by the heads, where it may be in many logs", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10)])
      const reader = database.reader({})
      yield* readAll(reader, 100)
      database.events = [...database.events, event(7, 1, 20)]
      database.signals.signalAll()
      database.queries = []
      assert.deepStrictEqual(yield* read(reader), ["7.1"])
      assert.deepStrictEqual(database.asked, ["heads", "bySlices"])
    }))

  it.effect("is nothing new where it was passed, if nobody else signalled", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10)])
      const reader = database.reader({})
      yield* readAll(reader, 100)
      database.commit(event(1, 2, 20))
      reader.pass([event(1, 2, 20)])
      database.queries = []
      assert.deepStrictEqual(yield* read(reader), [])
      assert.deepStrictEqual(database.asked, [])
      database.commit(event(1, 3, 30))
      database.commit(event(1, 4, 40))
      reader.pass([event(1, 4, 40)])
      assert.deepStrictEqual(yield* read(reader), ["1.3", "1.4"])
    }))

  it.effect("is read by a reader from a time on only if it is not older, wherever its log begins", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10), event(1, 2, 20)])
      const reader = database.reader({ start: Offset.since(100 as Timestamp, range) })
      assert.deepStrictEqual(yield* read(reader), [])
      database.commit(event(1, 3, 99), event(2, 1, 50))
      assert.deepStrictEqual(yield* read(reader), [])
      database.commit(event(1, 4, 100), event(2, 2, 101))
      database.queries = []
      assert.deepStrictEqual(yield* read(reader), ["1.4", "2.2"])
      // the heads told where the logs go on
      assert.deepStrictEqual(database.asked, ["bySlices", "timestamps"])
    }))
})

describe("what is committed while the database is asked", () => {
  it.effect("is not taken from a window that lacks what comes before it", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase(events(4, 6))
      const reader = database.reader({ range: SliceRange.make(0, 9) })
      const seen = new Array<EncodedEnvelope>()
      seen.push(...yield* reader.next(5))
      // its timestamp lies before the window's place, and that of its successor after it
      database.commit(event(9, 1, 2), event(9, 2, 20))
      seen.push(...yield* readAll(reader, 5))
      assert.deepStrictEqual(seen.filter(({ slice }) => slice === 9), [event(9, 1, 2), event(9, 2, 20)])
      assert.lengthOf(seen, 26)
    }))

  it.effect("and passed meanwhile is not delivered again", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10)])
      const reader = database.reader({})
      yield* readAll(reader, 100)
      database.commit(event(1, 2, 20), event(2, 1, 20))
      database.before = (query) => {
        if (query === "bySlices") reader.pass([event(1, 2, 20)])
      }
      assert.deepStrictEqual(yield* read(reader), ["2.1"])
    }))

  it.effect("and passed meanwhile makes no older heads a fork", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10)])
      const reader = database.reader({})
      database.before = () => reader.pass([event(1, 1, 10), event(1, 2, 20)])
      assert.deepStrictEqual(yield* read(reader), [])
    }))
})

describe("a page without room for all", () => {
  it.effect("is followed by what it lacks", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase(events(3, 4))
      database.room = 2
      const seen = yield* readAll(database.reader({}), 100)
      assert.deepStrictEqual(seen, events(3, 4))
    }))

  it.effect("is none for a reader by time, who reads windows then", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase()
      const reader = database.reader({ byTime: true })
      yield* readAll(reader, 100)
      database.room = 2
      database.commit(...events(3, 4))
      database.queries = []
      assert.deepStrictEqual(yield* readAll(reader, 100), events(3, 4))
      assert.deepStrictEqual(database.asked.slice(0, 4), ["bySlices", "heads", "timestamps", "byTime"])
    }))
})

describe("what is missing", () => {
  const cases = [["little", 1], ["much", 100]] as const
  for (const [how, more] of cases) {
    const after = () => new FakeDatabase(Array.from({ length: more }, (_, i) => event(1, 4 + i, 40 + i)))

    it.effect(`was deleted, where the floor is above, with ${how} after it`, () =>
      Effect.gen(function*() {
        const database = after()
        database.floors.set(Slice.make(1), Offset.make(3, 30))
        const error = yield* Effect.flip(read(database.reader({ start: at([1, 1, 10]) }), 10))
        assert.instanceOf(error, OffsetBelowFloor)
        assert.deepStrictEqual([error.offset, error.floor], [Offset.make(1, 10), Offset.make(3, 30)])
      }))

    it.effect(`is damage, where it ought to be there, with ${how} after it`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(read(after().reader({ start: at([1, 1, 10]) }), 10))
        assert.instanceOf(error, StorageError)
        assert.strictEqual(error.reason, "Damaged")
        assert.include(error.message, "position 4 of slice 1 (event 4 of 'note|1') follows 1")
      }))
  }

  it.effect("from a window is read by itself", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase(events(4, 6))
      const missing = event(2, 3, 11)
      database.events = database.events.filter(({ position, slice }) => slice !== 2 || position !== 3)
      database.before = (query) => {
        if (query === "bySlices") database.events = [...database.events, missing]
      }
      const seen = yield* readAll(database.reader({}), 5)
      assert.deepStrictEqual(seen.filter(({ slice }) => slice === 2).map(({ position }) => Number(position)), [
        1,
        2,
        3,
        4,
        5,
        6
      ])
      assert.lengthOf(seen, 24)
    }))
})

const forked = (error: unknown, position: number, timestamp: number) => {
  assert.instanceOf(error, JournalForked)
  assert.deepStrictEqual([error.slice, error.offset], [Slice.make(1), Offset.make(position, timestamp)])
}

describe("another history", () => {
  const lost: Record<string, ReadonlyArray<EncodedEnvelope>> = {
    "a head below what was read": [event(1, 1, 10)],
    "another event at the head": [event(1, 1, 10), event(1, 2, 21)],
    "an older head further on": [event(1, 1, 10), event(1, 2, 15), event(1, 3, 20)],
    "an empty log": []
  }
  for (const [what, events] of Object.entries(lost)) {
    it.effect(`is noticed by its heads: ${what}`, () =>
      Effect.gen(function*() {
        const reader = new FakeDatabase(events).reader({ start: at([1, 2, 20]) })
        forked(yield* Effect.flip(read(reader)), 2, 20)
        // and from then on
        forked(yield* Effect.flip(read(reader)), 2, 20)
      }))
  }

  it.effect("is noticed in a window", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase(events(4, 50))
      const reader = database.reader({})
      yield* read(reader, 10)
      database.events = database.events.map((event) =>
        event.slice === 1 ? { ...event, timestamp: event.timestamp + 1000 as Timestamp } : event
      )
      forked(yield* Effect.flip(readAll(reader, 10)), 3, 10)
    }))

  it.effect("is noticed in a log that is read by itself", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10)])
      const reader = database.reader({})
      yield* readAll(reader, 100)
      database.commit(event(1, 2, 9))
      forked(yield* Effect.flip(read(reader)), 1, 10)
    }))

  it.effect("is noticed where what was read last is gone, when something new is read", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10)])
      const reader = database.reader({})
      yield* readAll(reader, 100)
      database.events = [event(1, 1, 11)]
      database.commit(event(1, 2, 20))
      database.verifyError = new JournalForked({ entityType, slice: Slice.make(1), offset: Offset.make(1, 10) })
      forked(yield* Effect.flip(read(reader)), 1, 10)
      assert.deepStrictEqual(database.verified, [at([1, 1, 10])])
    }))

  it.effect("is noticed in events that are passed", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10)])
      const reader = database.reader({})
      yield* readAll(reader, 100)
      reader.pass([event(1, 2, 9)])
      forked(yield* Effect.flip(read(reader)), 1, 10)
    }))
})

describe("after a connection was made again", () => {
  it.effect("what was read before the page is verified, once", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10), event(2, 1, 20)])
      const reader = database.reader({})
      yield* readAll(reader, 100)
      database.signals.reconnected()
      database.events = [...database.events, event(1, 2, 30)]
      assert.deepStrictEqual(yield* read(reader), ["1.2"])
      assert.deepStrictEqual(database.verified, [at([1, 1, 10], [2, 1, 20])])
      yield* readAll(reader, 100)
      assert.lengthOf(database.verified, 1)
    }))

  it.effect("it is verified also if that was while the page was read", () =>
    Effect.gen(function*() {
      const database = new FakeDatabase([event(1, 1, 10)])
      const reader = database.reader({})
      yield* readAll(reader, 100)
      database.commit(event(1, 2, 20))
      database.before = (query) => {
        if (query === "bySlices") database.signals.reconnected()
      }
      const fork = new JournalForked({ entityType, slice: Slice.make(1), offset: Offset.make(1, 10) })
      database.verifyError = fork
      assert.strictEqual(yield* Effect.flip(read(reader)), fork)
      assert.deepStrictEqual(database.verified, [at([1, 1, 10])])
    }))
})

const upTo = (n: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: n }))
/** What happens while a query is under way. */
const happenings = Schema.Array(Schema.Array(Schema.Union([
  /** A writer locks a log, and stamps so many events. */
  Schema.Struct({ begin: upTo(5), count: upTo(3) }),
  /** A writer commits, and the reader is told of it, of the events as well if it was this process. */
  Schema.Struct({ commit: upTo(5), isOurs: Schema.Boolean })
])))

describe("whatever is committed, and when", () => {
  for (const byTime of [false, true]) {
    it.effect.prop(
      `a reader ${byTime ? "by time " : ""}delivers or is told of each event once, in the order of its log`,
      [happenings, upTo(20), upTo(12), upTo(1)],
      ([happenings, before, limit, since]) =>
        Effect.gen(function*() {
          const database = new FakeDatabase()
          const open = new Map<number, Array<EncodedEnvelope>>()
          const heads = new Map<number, number>()
          let clock = 0
          let reader: ReturnType<FakeDatabase["reader"]> | undefined
          const seen: Array<EncodedEnvelope> = []
          const happen = (happening: (typeof happenings)[number][number]) => {
            if ("begin" in happening) {
              if (open.has(happening.begin)) return
              const position = heads.get(happening.begin) ?? 0
              const batch = Array.from(
                { length: happening.count + 1 },
                (_, i) => event(happening.begin, position + i + 1, ++clock)
              )
              heads.set(happening.begin, position + batch.length)
              open.set(happening.begin, batch)
            } else {
              const batch = open.get(happening.commit) ?? []
              open.delete(happening.commit)
              database.commit(...batch)
              // as the tail does, which is told of what comes next in it
              if (happening.isOurs && byTime && reader !== undefined) {
                const next = seen.filter(({ slice }) => slice === happening.commit).length + 1
                if (batch[0]?.position === next) {
                  seen.push(...batch)
                  reader.pass(batch)
                }
              }
            }
          }
          for (let i = 0; i < before; i++) {
            happen({ begin: i % 6, count: i % 3 })
            happen({ commit: i % 6, isOurs: false })
          }
          reader = database.reader({ byTime, range: SliceRange.make(0, 5) })
          let query = 0
          database.before = () => happenings[query++]?.forEach(happen)
          const take = (page: ReadonlyArray<EncodedEnvelope>) => {
            const known = new Set(seen)
            seen.push(...page.filter((event) => !known.has(event)))
          }
          for (let i = 0; i < happenings.length; i++) take(yield* reader.next(limit + 1))
          database.before = () => {}
          for (let slice = 0; slice <= 5; slice++) happen({ commit: slice, isOurs: since === 1 })
          take(yield* readAll(reader, limit + 1))
          for (let slice = 0; slice <= 5; slice++) {
            const log = (events: ReadonlyArray<EncodedEnvelope>) => events.filter((event) => event.slice === slice)
            assert.deepStrictEqual(log(seen), log(database.events))
          }
          // nothing is left to be looked for
          database.queries = []
          assert.lengthOf(yield* reader.next(limit + 1), 0)
          assert.deepStrictEqual(database.queries, [])
        }),
      { arbitrary: { runs: 500 } }
    )
  }
})
