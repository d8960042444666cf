import { assert, describe } from "@effect/vitest"
import type * as EntityType from "@sluice/core/EntityType"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Wait from "../../Wait.ts"
import type { It } from "../kit.ts"
import {
  append,
  assertByTime,
  assertComplete,
  assertWakes,
  bySlice,
  drain,
  fresh,
  idsIn,
  idsOfSlice,
  offsetsAfter,
  readAll,
  textOf,
  texts
} from "../kit.ts"
import { hostile } from "./hostile.ts"

const placeOf = ({ position, slice }: EncodedEnvelope): string => `${slice} ${position}`

/** 300 entities all over the slices, with one to four events each, in appends of one or two. */
const scattered = Effect.gen(function*() {
  const type = fresh("reader")
  for (let round = 0; round < 2; round++) {
    yield* Effect.forEach(
      Array.from({ length: 300 }, (_, i) => i).filter((i) => round === 0 || i % 2 === 0),
      (i) => append(type, `${i}`, texts(1 + i % 3, `${i} ${round} `)),
      { concurrency: 50 }
    )
  }
  return type
})
const scatteredEvents = 600 + 300

const open = (
  type: EntityType.EntityType<string>,
  offsets: Offset.Offsets,
  range = SliceRange.full
) => Effect.flatMap(Journal.Journal, (journal) => Effect.scoped(journal.reader(type.name, range, offsets)))

const forked = (type: EntityType.EntityType<string>, offsets: Offset.Offsets, slice: number) =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(open(type, offsets))
    assert.instanceOf(error, Journal.JournalForked)
    assert.strictEqual(error.entityType, type.name)
    assert.strictEqual(error.slice, slice)
    assert.deepInclude(error.offset, offsets.get(Slice.make(slice))!)
    assert.include(error.message, `slice ${slice}`)
  })

/** @internal */
export const readerTests = (it: It<Journal.Journal>): void => {
  describe("a reader", () => {
    it.effect("reads every event once, each log in the order of its positions, in pages of any size", () =>
      Effect.gen(function*() {
        const type = yield* scattered
        yield* append(fresh("reader"), "1", ["of another type"])
        for (const limit of [1, 7, 500, 5000]) {
          const events = yield* readAll(type, { limit })
          assert.strictEqual(events.length, scatteredEvents)
          assertComplete(events)
          assert.strictEqual(new Set(events.map(placeOf)).size, scatteredEvents)
        }
      }))

    it.effect("has pages that fit into memory, however large the events are", () =>
      Effect.gen(function*() {
        const type = fresh("reader")
        const megabyte = "x".repeat(1024 * 1024)
        const ids = [...idsOfSlice(type, 8, 2), ...idsIn(type, SliceRange.make(20, 40), 4)]
        for (const id of ids) yield* append(type, id, [megabyte, "small", megabyte])
        for (const start of [Offset.none, Offset.since(Timestamp.make(1))]) {
          const reader = yield* Journal.Journal.use((journal) => journal.reader(type.name, SliceRange.full, start))
          const events: Array<EncodedEnvelope> = []
          while (true) {
            const page = yield* reader.next(1000)
            if (page.length === 0) break
            assert.isAtMost(page.reduce((bytes, { payload }) => bytes + payload!.bytes.length, 0), 5 * 1024 * 1024)
            events.push(...page)
          }
          assert.strictEqual(events.length, 3 * ids.length)
          assertComplete(events)
        }
      }).pipe(Effect.scoped))

    it.effect("has an empty page at the end, and goes on when there is more", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("reader")
        const reader = yield* journal.reader(type.name, SliceRange.full, Offset.none)
        assert.deepStrictEqual(yield* reader.next(10), [])
        let expected = 0
        const all: Array<EncodedEnvelope> = []
        for (let round = 1; round <= 5; round++) {
          for (let i = 0; i < 20; i++) yield* append(type, `${i}`, texts(round, `${round} `))
          expected += 20 * round
          all.push(...yield* drain(reader, 9))
          assert.strictEqual(all.length, expected)
          assertComplete(all)
          assert.deepStrictEqual(yield* reader.next(10), [])
        }
      }))

    it.effect("keeps to its slices", () =>
      Effect.gen(function*() {
        const type = yield* scattered
        const all = new Set<string>()
        for (const range of [...SliceRange.split(3), SliceRange.make(100, 100), SliceRange.make(1023, 1023)]) {
          const events = yield* readAll(type, { range })
          assertComplete(events)
          for (const event of events) {
            assert.isTrue(SliceRange.contains(range, event.slice))
            all.add(placeOf(event))
          }
        }
        assert.strictEqual(all.size, scatteredEvents)
        const [id] = idsOfSlice(type, 3, 1)
        const { position } = yield* append(type, id!, ["end"])
        assert.strictEqual((yield* readAll(type, { range: SliceRange.make(3, 3) })).length, position)
      }))

    it.effect("starts exactly after the offsets of each slice", () =>
      Effect.gen(function*() {
        const type = yield* scattered
        const all = yield* readAll(type)
        const logs = bySlice(all)
        for (let attempt = 0; attempt < 12; attempt++) {
          const offsets = new Map<Slice.Slice, Offset.Offset>()
          let left = 0
          const [range] = yield* Random.shuffle([SliceRange.full, ...SliceRange.split(2)])
          for (const [slice, log] of logs) {
            const read = yield* Random.nextIntBetween(0, log.length)
            if (SliceRange.contains(range!, slice)) left += log.length - read
            if (read > 0) {
              offsets.set(slice, { position: log[read - 1]!.position!, timestamp: log[read - 1]!.timestamp })
            } else if (slice % 2 === 0) offsets.set(slice, Offset.make(0, 0))
          }
          const rest = yield* readAll(type, { range: range!, start: offsets, limit: 1 + attempt * 20 })
          assert.strictEqual(rest.length, left)
          assertComplete(rest, offsets)
        }
        // at the end there is nothing, until something is appended
        const end = offsetsAfter(all)
        assert.deepStrictEqual(yield* readAll(type, { start: end }), [])
        yield* append(type, "1", ["new"])
        assert.deepStrictEqual((yield* readAll(type, { start: end })).map(textOf), ["new"])
      }))

    it.effect("starts with the first event of each log that is not older than a timestamp", () =>
      Effect.gen(function*() {
        const type = yield* scattered
        const all = yield* readAll(type)
        const times = all.map(({ timestamp }) => timestamp).toSorted((a, b) => a - b)
        const middle = times[Math.floor(times.length / 2)]!
        for (const start of [times[0]!, middle, Timestamp.make(middle + 1), times.at(-1)!]) {
          const events = yield* readAll(type, { start: Offset.since(start) })
          assert.sameMembers(events.map(placeOf), all.filter(({ timestamp }) => timestamp >= start).map(placeOf))
          const before = offsetsAfter(all.filter(({ timestamp }) => timestamp < start))
          assertComplete(events, before)
        }
        const range = SliceRange.make(0, 511)
        const half = yield* readAll(type, { start: Offset.since(middle), range })
        assert.sameMembers(
          half.map(placeOf),
          all.filter(({ slice, timestamp }) => timestamp >= middle && SliceRange.contains(range, slice)).map(placeOf)
        )
        assert.strictEqual((yield* readAll(type, { start: Offset.since(Timestamp.make(0)) })).length, scatteredEvents)
      }))

    it.effect("starts at a timestamp in some logs, and after an event in others", () =>
      Effect.gen(function*() {
        const type = yield* scattered
        const all = yield* readAll(type)
        const times = all.map(({ timestamp }) => timestamp).toSorted((a, b) => a - b)
        const middle = times[Math.floor(times.length / 2)]!
        const start = new Map<Slice.Slice, Offset.Offset>()
        const before: Array<EncodedEnvelope> = []
        for (const [slice, log] of bySlice(all)) {
          // from the middle on; after its first event; from far ahead; or from its beginning
          const later = slice % 4 === 0 ? middle : times.at(-1)! + 3_600_000_000
          const skipped = slice % 4 === 3
            ? []
            : log.filter((event, i) => slice % 4 === 1 ? i === 0 : event.timestamp < later)
          before.push(...skipped)
          if (slice % 4 === 1) start.set(slice, Offset.make(1, log[0]!.timestamp))
          else if (slice % 4 !== 3) start.set(slice, Offset.make(0, later))
        }
        const events = yield* readAll(type, { start, limit: 100 })
        const expected = new Set(all.map(placeOf))
        for (const event of before) expected.delete(placeOf(event))
        assert.sameMembers(events.map(placeOf), [...expected])
        assertComplete(events, offsetsAfter(before))
      }))

    it.effect("by time has the order of the timestamps, over all slices, wherever it starts and in pages of any size", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = yield* scattered
        const all = yield* readAll(type)
        const times = all.map(({ timestamp }) => timestamp).toSorted((a, b) => a - b)
        const middle = times[times.length / 2]!
        const starts = [
          Offset.none,
          Offset.since(Timestamp.make(1)),
          Offset.since(middle),
          offsetsAfter(all.filter(({ timestamp }) => timestamp < middle))
        ]
        for (const [i, start] of starts.entries()) {
          const expected = i < 2 ? all : all.filter(({ timestamp }) => timestamp >= middle)
          for (const range of [SliceRange.full, ...SliceRange.split(2)]) {
            for (const limit of [7, 500, 5000]) {
              const reader = yield* journal.reader(type.name, range, start, { byTime: true })
              const events = yield* drain(reader, limit)
              assertByTime(events)
              assert.sameMembers(
                events.map(placeOf),
                expected.filter(({ slice }) => SliceRange.contains(range, slice)).map(placeOf)
              )
            }
          }
        }
      }).pipe(Effect.scoped))

    it.effect("by time keeps that order with what is appended later", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = yield* scattered
        const reader = yield* journal.reader(type.name, SliceRange.full, Offset.none, { byTime: true })
        let count = (yield* drain(reader, 200)).length
        assert.strictEqual(count, scatteredEvents)
        const ids = idsIn(type, SliceRange.full, 5)
        // more of the same few logs than a page has
        for (const [limit, rounds] of [[10, 20], [500, 20], [500, 3]] as const) {
          for (let round = 0; round < rounds; round++) {
            for (const id of ids) yield* append(type, id, texts(3))
          }
          const events = yield* drain(reader, limit)
          assertByTime(events)
          count += events.length
        }
        assert.strictEqual(count, scatteredEvents + 43 * 15)
      }).pipe(Effect.scoped))

    it.effect("that starts at a timestamp goes on with what is appended later", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("reader")
        const { timestamp } = yield* append(type, "a", texts(3))
        const reader = yield* journal.reader(type.name, SliceRange.full, Offset.since(Timestamp.make(timestamp + 1)))
        assert.deepStrictEqual(yield* reader.next(10), [])
        yield* append(type, "a", ["new", "newer"])
        assert.deepStrictEqual((yield* drain(reader, 1)).map(textOf), ["new", "newer"])
      }))

    it.effect("does not disturb another", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("reader")
        for (let i = 0; i < 10; i++) yield* append(type, `${i}`, texts(3))
        const readers = yield* Effect.forEach(
          [1, 2, 3],
          () => journal.reader(type.name, SliceRange.full, Offset.none)
        )
        const found = readers.map((): Array<EncodedEnvelope> => [])
        for (let round = 0; round < 40; round++) {
          for (const [i, reader] of readers.entries()) {
            found[i]!.push(...(yield* reader.next(i + 1)))
          }
        }
        for (const events of found) {
          assert.strictEqual(events.length, 30)
          assertComplete(events)
        }
      }))

    describe("of a journal that lost the events of an offset", () => {
      const three = Effect.gen(function*() {
        const type = fresh("reader")
        const [a] = idsOfSlice(type, 40, 1)
        yield* append(type, a!, texts(3))
        const [b] = idsOfSlice(type, 41, 1)
        yield* append(type, b!, texts(1))
        const all = yield* readAll(type)
        return { type, offsets: offsetsAfter(all), log: all.filter(({ slice }) => slice === 40) }
      })
      it.effect("fails when another event is there", () =>
        Effect.gen(function*() {
          const { log, offsets, type } = yield* three
          yield* open(type, offsets)
          for (const { position, timestamp } of log) {
            yield* open(type, new Map(offsets).set(Slice.make(40), { position: position!, timestamp }))
            for (const other of [timestamp - 1, timestamp + 1]) {
              yield* forked(type, new Map(offsets).set(Slice.make(40), Offset.make(position!, other)), 40)
            }
          }
        }))

      it.effect("fails when no event is there", () =>
        Effect.gen(function*() {
          const { offsets, type } = yield* three
          const { timestamp } = offsets.get(Slice.make(41))!
          yield* forked(type, new Map(offsets).set(Slice.make(41), Offset.make(2, timestamp)), 41)
          yield* forked(type, new Map(offsets).set(Slice.make(41), Offset.make(2, timestamp + 1)), 41)
          yield* forked(type, new Map(offsets).set(Slice.make(42), Offset.make(1, timestamp)), 42)
        }))

      it.effect("does not, when it does not read that slice", () =>
        Effect.gen(function*() {
          const { offsets, type } = yield* three
          const wrong = new Map(offsets).set(Slice.make(41), Offset.make(77, 77))
          yield* open(type, wrong, SliceRange.make(0, 40))
          yield* open(type, wrong, SliceRange.make(42, 1023))
        }))
    })

    it.effect("sees every event once and in order, whatever its writers do", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        yield* hostile([journal])
      }))
  })

  describe("the entity types of a journal", () => {
    it.effect("are those that have events, as many as are asked for", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const types = ["types", "types 🛒", "types ' \" \\ %"].map(fresh)
        const names = types.map(({ name }) => name)
        // a database that has been asked for a type need not have events of it
        for (const { name } of types) yield* journal.heads(name, SliceRange.full)
        const before = yield* journal.entityTypes(1_000_000)
        for (const name of names) assert.notInclude(before, name)
        for (const type of types) yield* append(type, "a", texts(2))
        const after = yield* journal.entityTypes(1_000_000)
        for (const name of names) assert.include(after, name)
        assert.lengthOf(new Set(after), after.length)
        assert.lengthOf(yield* journal.entityTypes(2), 2)
        assert.lengthOf(yield* journal.entityTypes(0), 0)
      }))
  })

  describe("the heads of a journal", () => {
    it.effect("are the newest position and timestamp of each log that has events", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("heads")
        assert.strictEqual((yield* journal.heads(type.name, SliceRange.full)).size, 0)
        const ids = [
          idsOfSlice(type, 0, 2),
          idsOfSlice(type, 511, 1),
          idsOfSlice(type, 512, 1),
          idsOfSlice(type, 1023, 1)
        ]
        for (const id of ids.flat()) yield* append(type, id, texts(2))
        const all = yield* readAll(type)
        const heads = yield* journal.heads(type.name, SliceRange.full)
        assert.deepStrictEqual(new Map(heads), offsetsAfter(all))
        assert.strictEqual(heads.get(Slice.make(0))!.position, 4)
        const half = yield* journal.heads(type.name, SliceRange.make(511, 512))
        assert.sameMembers([...half.keys()], [511, 512])
        assert.strictEqual((yield* journal.heads(type.name, SliceRange.make(1, 510))).size, 0)
      }))

    it.effect("say how far a reader is behind, exactly", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = yield* scattered
        const reader = yield* journal.reader(type.name, SliceRange.full, Offset.none)
        const read: Array<EncodedEnvelope> = []
        for (let page = 0; page < 4; page++) {
          read.push(...yield* reader.next(50))
          const heads = yield* journal.heads(type.name, SliceRange.full)
          assert.strictEqual(Offset.lag(heads, offsetsAfter(read)), scatteredEvents - read.length)
        }
      }))
  })

  describe("the changes of a journal", () => {
    it.effect("wake whoever waits", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("changes")
        const seen: Array<string> = []
        const changed = yield* journal.changes(type.name)
        const reader = yield* journal.reader(type.name, SliceRange.full, Offset.none)
        const fiber = yield* Effect.forkChild(Effect.gen(function*() {
          while (seen.length < 30) {
            const page = yield* reader.next(10)
            if (page.length === 0) yield* changed
            else seen.push(...page.map(textOf))
          }
        }))
        for (let i = 0; i < 10; i++) {
          yield* append(type, `${i}`, [`${i}`])
          yield* Journal.transaction(
            Effect.andThen(append(type, `${i}`, [`${i}a`]), append(type, `x${i}`, [`${i}b`]))
          )
        }
        yield* Wait.end("all 30 events", Fiber.join(fiber))
        assert.strictEqual(new Set(seen).size, 30)
      }))

    it.effect("wake whoever waits as soon as they are committed", () =>
      Effect.gen(function*() {
        const type = fresh("changes")
        const changed = yield* Journal.Journal.use((journal) => journal.changes(type.name))
        const one = append(type, "a", ["x"])
        const two = Journal.transaction(Effect.andThen(one, Journal.transaction(append(type, "b", ["x"]))))
        yield* assertWakes(changed, [one, one, two, one])
      }))

    it.effect("wake for what was appended between the subscription and the waiting", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("changes")
        const one = yield* journal.changes(type.name)
        const two = yield* journal.changes(type.name)
        for (let round = 0; round < 3; round++) {
          yield* append(type, "a", ["x"])
          yield* Wait.end("the first subscriber to wake", one)
          yield* Wait.end("the second subscriber to wake", two)
        }
        // and one of many entities
        yield* append(type, idsIn(type, SliceRange.make(1000, 1023), 1)[0]!, ["x"])
        yield* Wait.end("both subscribers to wake", Effect.all([one, two], { concurrency: "unbounded" }))
      }))
  })
}
