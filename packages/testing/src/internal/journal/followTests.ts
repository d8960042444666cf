import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as Wait from "../../Wait.ts"
import type { It } from "../kit.ts"
import {
  append,
  assertByTime,
  assertComplete,
  following,
  fresh,
  idsIn,
  idsOfSlice,
  inexact,
  laterThan,
  offsetsAfter,
  readAll,
  textOf,
  texts
} from "../kit.ts"

/** More than are kept in memory for readers that follow. */
const many = 9000

interface Options {
  readonly range?: SliceRange.SliceRange
  readonly start?: Offset.Offsets
  readonly byTime?: boolean
  /** What the follower waits for before it takes another chunk. */
  readonly gate?: Latch.Latch
}

/** Follows the journal in the background, and returns what it has seen so far. */
const follow = (type: EntityType.EntityType<string>, options: Options = {}) =>
  Effect.gen(function*() {
    const seen: Array<EncodedEnvelope> = []
    const { byTime, gate, range = SliceRange.full, start = Offset.none } = options
    const envelopes = yield* following(type, range, start, byTime)
    yield* envelopes.pipe(
      Stream.runForEachArray((chunk) => {
        seen.push(...chunk)
        return gate === undefined ? Effect.void : gate.await
      }),
      Effect.forkScoped
    )
    return seen
  })

const untilSeen = (seen: ReadonlyArray<unknown>, n: number) => Wait.until(`${n} events`, () => seen.length >= n)

/** As data that can be compared, whatever the classes of the bytes. */
const plain = (event: EncodedEnvelope) => ({
  ...event,
  payload: { manifest: event.payload?.manifest, text: textOf(event) },
  tags: [...event.tags],
  metadata: { ...event.metadata }
})

const byPlace = (events: ReadonlyArray<EncodedEnvelope>) =>
  events.map(plain).toSorted((a, b) => a.slice - b.slice || a.position! - b.position!)

/** A journal that counts its readers, the events that they read, and how many of them have come to the end. */
const counting = (journal: Journal.Journal["Service"]) => {
  const counts = { readers: 0, events: 0, atEnd: 0 }
  const counted: Journal.Journal["Service"] = {
    ...journal,
    reader: (...args) =>
      Effect.map(journal.reader(...args), (reader) => {
        counts.readers++
        let isAtEnd = false
        return {
          ...reader,
          next: (limit) =>
            Effect.tap(reader.next(limit), (page) =>
              Effect.sync(() => {
                counts.events += page.length
                if (page.length === 0 && !isAtEnd) counts.atEnd++
                isAtEnd ||= page.length === 0
              }))
        }
      })
  }
  return { counts, counted }
}

/**
 * Reads like a consumer that keeps only the timestamp of the newest event that it has seen. It is cut off after every
 * `cut` events, and begins again at that time. Returns what it has seen.
 */
const readByTimestamp = (
  type: EntityType.EntityType<string>,
  stored: ReadonlyArray<EncodedEnvelope>,
  range: SliceRange.SliceRange,
  cut: number
) =>
  Effect.gen(function*() {
    const seen = new Set<string>()
    let timestamp = 0
    const isNew = (event: EncodedEnvelope) => event.timestamp >= timestamp - inexact && !seen.has(nameOf(event))
    while (true) {
      const left = stored.filter((event) => SliceRange.contains(range, event.slice) && isNew(event)).length
      if (left === 0) return [...seen]
      const start = timestamp === 0 ? Offset.none : Offset.since(Timestamp.make(timestamp - inexact), range)
      const events = yield* Stream.unwrap(following(type, range, start, true)).pipe(
        Stream.filter(isNew),
        Stream.take(Math.min(cut, left)),
        Stream.runCollect
      )
      for (const event of events) {
        seen.add(nameOf(event))
        timestamp = Math.max(timestamp, event.timestamp)
      }
    }
  })

const nameOf = ({ persistenceId, sequenceNumber }: EncodedEnvelope): string => `${persistenceId} ${sequenceNumber}`

/** @internal Those who follow a journal as it grows. */
export const followTests = (it: It<Journal.Journal>): void => {
  describe("those who follow a journal", () => {
    it.effect("are given what this process appends as the journal has it", () =>
      Effect.gen(function*() {
        const type = fresh("followed")
        const before = yield* append(type, "a", texts(3))
        const seen = yield* follow(type)
        const since = yield* follow(type, { start: Offset.since(before.timestamp) })
        const sinceLater = yield* follow(type, { start: Offset.since(Offset.make(1, before.timestamp + 1).timestamp) })
        yield* untilSeen(seen, 3)
        yield* laterThan(before.timestamp)
        yield* Journal.append(type, { id: "a", events: ["x", "y"], tags: ["t", "u"], metadata: { m: "1" } })
        yield* Journal.append(type, { id: "b", events: ["z"] })
        yield* Journal.transaction(Effect.gen(function*() {
          yield* append(type, "c", texts(2))
          yield* Effect.ignore(Journal.transaction(Effect.andThen(append(type, "c", ["undone"]), Effect.fail("no"))))
          yield* append(type, "a", ["w"])
        }))
        yield* Effect.ignore(Journal.transaction(Effect.andThen(append(type, "a", ["undone"]), Effect.fail("no"))))
        yield* append(type, "a", ["last"])
        yield* untilSeen(seen, 10)
        const stored = yield* readAll(type)
        assert.deepStrictEqual(byPlace(seen), byPlace(stored))
        yield* untilSeen(since, 8)
        assert.deepStrictEqual(byPlace(since), byPlace(stored.filter((_) => _.timestamp >= before.timestamp)))
        yield* untilSeen(sinceLater, 7)
        assert.deepStrictEqual(byPlace(sinceLater), byPlace(stored.filter((_) => _.timestamp > before.timestamp)))
      }))

    it.effect("are given an entity's events again when they ask for them, in between and while they wait", () =>
      Effect.gen(function*() {
        const type = fresh("followed")
        yield* append(type, "a", texts(1_200))
        yield* append(type, "b", texts(3))
        const { envelopes, replay } = yield* Source.journal(type).provider.open(SliceRange.full, {
          journal: undefined,
          offsets: Offset.none
        })
        const ask = (id: string, from: number) =>
          replay!({ persistenceId: EntityType.persistenceId(type, id), from: SequenceNumber.make(from) })
        // before anything was read: it is all yet to come
        assert.isTrue(yield* ask("a", 1_000))
        const seen: Array<EncodedEnvelope> = []
        yield* envelopes.pipe(
          Stream.runForEachArray((chunk) => Effect.sync(() => seen.push(...chunk as ReadonlyArray<EncodedEnvelope>))),
          Effect.forkScoped
        )
        const numbersOf = (id: string) =>
          seen.filter(({ persistenceId }) => persistenceId === EntityType.persistenceId(type, id))
            .map(({ sequenceNumber }) => sequenceNumber as number)
        yield* untilSeen(seen, 1_203)
        assert.isTrue(yield* ask("a", 1_000))
        yield* untilSeen(seen, 1_404)
        assert.deepStrictEqual(numbersOf("a").slice(0, 1_200), Array.from({ length: 1_200 }, (_, i) => 1 + i))
        assert.deepStrictEqual(numbersOf("a").slice(1_200), Array.from({ length: 201 }, (_, i) => 1_000 + i))
        // while it waits for what comes
        assert.isTrue(yield* ask("b", 2))
        yield* untilSeen(seen, 1_406)
        yield* append(type, "b", ["live"])
        yield* untilSeen(seen, 1_407)
        assert.deepStrictEqual(numbersOf("b"), [1, 2, 3, 2, 3, 4])
        assert.deepStrictEqual(
          byPlace(seen.slice(-3, -1)),
          byPlace(
            (yield* readAll(type)).filter(({ persistenceId, sequenceNumber }) =>
              persistenceId === EntityType.persistenceId(type, "b") && (sequenceNumber === 2 || sequenceNumber === 3)
            )
          )
        )
        // of which there is nothing
        assert.isTrue(yield* ask("nobody", 1))
        yield* append(type, "b", ["more"])
        yield* untilSeen(seen, 1_408)
      }))

    it.effect("do not wait for an entity that grows while it is given again", () =>
      Effect.gen(function*() {
        const type = fresh("followed")
        const journal = yield* Journal.Journal
        // whoever reads the entity finds another event each time
        const growing: Journal.Journal["Service"] = {
          ...journal,
          entity: (...args) =>
            append(type, "a", ["more"]).pipe(
              Effect.provideService(Journal.Journal, journal),
              Effect.orDie,
              Effect.andThen(journal.entity(...args))
            )
        }
        yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          const { envelopes, replay } = yield* Source.journal(type).provider.open(SliceRange.full, {
            journal: undefined,
            offsets: Offset.none
          })
          const seen: Array<EncodedEnvelope> = []
          yield* envelopes.pipe(
            Stream.runForEachArray((chunk) => Effect.sync(() => seen.push(...chunk as ReadonlyArray<EncodedEnvelope>))),
            Effect.forkScoped
          )
          yield* untilSeen(seen, 3)
          const from = SequenceNumber.make(2)
          assert.isTrue(yield* replay!({ persistenceId: EntityType.persistenceId(type, "a"), from }))
          yield* append(type, "b", texts(1))
          yield* Wait.until("another entity's event", () =>
            seen.some(({ persistenceId }) => persistenceId === EntityType.persistenceId(type, "b")))
          const numbers = seen.flatMap(({ persistenceId, sequenceNumber }) =>
            persistenceId === EntityType.persistenceId(type, "a") ? [sequenceNumber as number] : []
          )
          assert.deepStrictEqual(numbers.slice(0, 5), [1, 2, 3, 2, 3])
        }).pipe(Effect.provideService(Journal.Journal, growing))
      }))

    it.effect("read the journal once, and then no more", () =>
      Effect.gen(function*() {
        const type = fresh("followed")
        const { counted, counts } = counting(yield* Journal.Journal)
        yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          const followers = yield* Effect.forEach(Array.from({ length: 100 }), () => follow(type))
          const narrow = yield* follow(type, { range: SliceRange.make(0, 0) })
          yield* Effect.forEach(followers, (seen) => untilSeen(seen, 3))
          // a reader of their own each, and one that all share: one that is not at the end yet still reads
          yield* Wait.until("102 readers to come to the end", () => counts.atEnd === 102)
          const [other] = idsOfSlice(type, 0, 1) as [string]
          for (let i = 0; i < 20; i++) {
            yield* append(type, "a", texts(2, `${i}`))
            yield* append(type, other, texts(2, `${i}`))
          }
          yield* Effect.forEach(followers, (seen) => untilSeen(seen, 83))
          yield* untilSeen(narrow, 40)
          for (const seen of [...followers, narrow]) assertComplete(seen)
          const { events, ...others } = counts
          assert.deepStrictEqual(others, { readers: 102, atEnd: 102 })
          // the one that all share finds only what is committed just while it looks, and has not been handed on yet
          assert.isBelow(events - 100 * 3, 80 / 2)
        }).pipe(Effect.provideService(Journal.Journal, counted))
      }).pipe(Effect.scoped))

    it.effect(
      "lose nothing though they keep one timestamp for all slices, and are cut again and again",
      () =>
        Effect.gen(function*() {
          for (const [count, cuts] of [[40, [1, 3, 30]], [1000, [300, 77]], [5000, [1999]]] as const) {
            const type = fresh("followed")
            const ids = idsIn(type, SliceRange.full, Math.min(count / 2, 200))
            // one entity after the other, so that some slices are old and others young
            const appends = Math.min(count, 500)
            for (let i = 0; i < appends; i++) {
              yield* append(type, ids[Math.floor(i * ids.length / appends)]!, texts(count / appends, `${i} `))
            }
            const stored = yield* readAll(type)
            for (const cut of cuts) {
              for (const ranges of [[SliceRange.full], SliceRange.split(4)]) {
                const seen = yield* Effect.forEach(ranges, (range) => readByTimestamp(type, stored, range, cut))
                assert.sameMembers(
                  seen.flat(),
                  stored.map(nameOf),
                  `${count} events, cut after ${cut}, ${ranges.length} ranges`
                )
              }
            }
          }
        }).pipe(Effect.scoped)
    )

    it.effect("by time are given what is committed after they began, though it is older than where they began", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("followed")
        const [a, b] = idsIn(type, SliceRange.full, 2) as [string, string]
        yield* append(type, a, ["first"])
        const appended = yield* Latch.make()
        const commit = yield* Latch.make()
        // one log has events, and the other has none yet
        const late = Effect.andThen(append(type, a, ["late"]), append(type, b, ["late"]))
        yield* Journal.transaction(Effect.andThen(late, Effect.andThen(appended.open, commit.await))).pipe(
          Effect.forkScoped
        )
        yield* appended.await
        const now = yield* journal.now
        const seen = yield* follow(type, { start: Offset.since(Timestamp.make(now + 1000)), byTime: true })
        yield* commit.open
        yield* untilSeen(seen, 2)
        assert.deepStrictEqual(seen.map(textOf), ["late", "late"])
      }).pipe(Effect.scoped))

    it.effect("by time keep that order when they fall behind, and afterwards", () =>
      Effect.gen(function*() {
        const type = fresh("followed")
        const gate = yield* Latch.make(true)
        const slow = yield* follow(type, { gate, byTime: true })
        const ids = idsIn(type, SliceRange.full, 30)
        for (const id of ids) yield* append(type, id, ["first"])
        yield* untilSeen(slow, ids.length)
        yield* gate.close
        for (let i = 0; i < many / 100; i++) yield* append(type, ids[i * 7 % ids.length]!, texts(100))
        yield* gate.open
        yield* untilSeen(slow, ids.length + many)
        for (const id of ids) yield* append(type, id, ["last"])
        yield* untilSeen(slow, 2 * ids.length + many)
        assertComplete(slow)
        assertByTime(slow)
      }).pipe(Effect.scoped))

    it.effect("read it again when they fall behind", () =>
      Effect.gen(function*() {
        const type = fresh("followed")
        const gate = yield* Latch.make(true)
        const slow = yield* follow(type, { gate })
        const ids = idsIn(type, SliceRange.full, 30)
        for (const id of ids) yield* append(type, id, ["first"])
        yield* untilSeen(slow, ids.length)
        yield* gate.close
        const quick = yield* follow(type, { start: offsetsAfter(slow) })
        yield* Effect.forEach(
          Array.from({ length: many / 100 }, (_, i) => ids[i % ids.length]!),
          (id) => append(type, id, texts(100)),
          { concurrency: 10, discard: true }
        )
        yield* untilSeen(quick, many)
        assert.isBelow(slow.length, ids.length + many)
        yield* gate.open
        yield* untilSeen(slow, ids.length + many)
        yield* append(type, ids[0]!, ["last"])
        yield* untilSeen(slow, ids.length + many + 1)
        assertComplete(slow)
        const [first] = slow
        assertComplete(quick, offsetsAfter(slow.slice(0, ids.length)))
        assert.strictEqual(first!.slice, Slice.ofPersistenceId(first!.persistenceId))
      }).pipe(Effect.scoped))
  })
}
