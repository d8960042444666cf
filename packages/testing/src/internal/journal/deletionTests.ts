import { assert, describe } from "@effect/vitest"
import type * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { It } from "../kit.ts"
import {
  append,
  assertComplete,
  bySlice,
  drain,
  fresh,
  idsOfSlice,
  newEvent,
  number,
  offsetsAfter,
  readAll,
  request,
  sliceOf,
  textOf,
  texts
} from "../kit.ts"

type Type = EntityType.EntityType<string>

const stored = (type: Type, id: string) =>
  Effect.map(
    Stream.runCollect(Journal.readEncoded(request(type, id, [newEvent("")]).persistenceId)),
    (all) => all.map((event) => [event.sequenceNumber as number, event.payload && textOf(event)] as const)
  )

/** Appends an event of a replica. */
const appendReplicated = (type: Type, id: string, text: string, expected: Journal.ExpectedSequenceNumber = "any") => {
  const replication = {
    origin: "eu",
    originSequenceNumber: number(1),
    version: new Map([["eu", number(1)]]),
    concurrent: false
  }
  return Journal.Journal.use((journal) =>
    journal.append(request(type, id, [{ ...newEvent(text), replication }], expected))
  )
}

const floors = (type: Type) =>
  Effect.map(
    Journal.Journal.use((journal) => journal.floors(type.name, SliceRange.full)),
    (floors) => new Map(floors)
  )

const open = (type: Type, start: Offset.Offsets) =>
  Effect.scoped(Journal.Journal.use((journal) => journal.reader(type.name, SliceRange.full, start)))

/** Two generations of events of some entities, and the time between them. */
const generations = Effect.gen(function*() {
  const ids = Array.from({ length: 12 }, (_, i) => `${i}`)
  const hasOwnSlice = ({ name }: EntityType.EntityType<string>): boolean => {
    const [last, ...others] = ids.toReversed().map((id) => Slice.ofPersistenceId(`${name}|${id}`))
    return !others.includes(last!)
  }
  // or its newest event would be below the floor of its log, where a reader does not see it
  let type = fresh("deletion")
  while (!hasOwnSlice(type)) type = fresh("deletion")
  for (const id of ids) yield* append(type, id, texts(3, "old"))
  const old = yield* readAll(type)
  const last = Math.max(...old.map(({ timestamp }) => timestamp))
  const between = yield* Journal.Journal.use(({ now }) =>
    Effect.repeat(now, { until: (now) => now > last, schedule: Schedule.spaced("1 millis") })
  )
  // the last of these has no younger events
  for (const id of ids.slice(0, -1)) yield* append(type, id, texts(2, "young"))
  return { type, ids, old, between }
})

/** @internal */
export const deletionTests = (it: It<Journal.Journal>): void => {
  describe("deleting an entity's events", () => {
    it.effect("leaves their places, and goes on counting", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        const [a, b] = idsOfSlice(type, 5, 2) as [string, string]
        yield* append(type, a, texts(4))
        yield* append(type, b, texts(2))
        const before = yield* readAll(type)
        yield* Journal.deleteEvents(type, a, { to: number(3) })
        assert.deepStrictEqual(yield* stored(type, a), [[1, undefined], [2, undefined], [3, undefined], [4, "e4"]])
        assert.deepStrictEqual(yield* stored(type, b), [[1, "e1"], [2, "e2"]])
        const after = yield* readAll(type)
        assertComplete(after)
        assert.deepStrictEqual(
          after.map(({ persistenceId, position, sequenceNumber, timestamp }) => [
            persistenceId,
            sequenceNumber,
            position,
            timestamp
          ]),
          before.map(({ persistenceId, position, sequenceNumber, timestamp }) => [
            persistenceId,
            sequenceNumber,
            position,
            timestamp
          ])
        )
        yield* Journal.deleteEvents(type, a)
        const written = yield* append(type, a, ["new"], number(4))
        assert.strictEqual(written.sequenceNumber, 5)
        const left = yield* Stream.runCollect(Journal.read(type, a))
        assert.deepStrictEqual(left.map(({ event }) => event), ["new"])
      }))

    it.effect("deletes what was said about them, too", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        yield* Journal.append(type, { id: "a", events: ["secret"], tags: ["secret"], metadata: { secret: "yes" } })
        yield* Journal.deleteEvents(type, "a")
        const [event] = yield* readAll(type)
        assert.deepStrictEqual([event!.tags, event!.metadata, event!.payload], [[], {}, undefined])
      }))

    it.effect("is undone with the transaction", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        yield* append(type, "a", texts(2))
        yield* Effect.ignore(Journal.transaction(Effect.gen(function*() {
          yield* Journal.deleteEvents(type, "a")
          yield* append(type, "a", ["new"])
          assert.deepStrictEqual(yield* stored(type, "a"), [[1, undefined], [2, undefined], [3, "new"]])
          return yield* Effect.fail("no")
        })))
        assert.deepStrictEqual(yield* stored(type, "a"), [[1, "e1"], [2, "e2"]])
      }))

    it.effect("does not make an append forget that it was written", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        const journal = yield* Journal.Journal
        const sent = request(type, "a", [newEvent("1"), newEvent("2")], "none")
        const written = yield* journal.append(sent)
        yield* Journal.deleteEvents(type, "a")
        assert.deepStrictEqual(yield* journal.append({ ...sent, recheck: true }), written)
      }))

    it.effect("of an entity that has none does nothing", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        yield* Journal.deleteEvents(type, "a")
        assert.deepStrictEqual(yield* readAll(type), [])
      }))

    it.effect("is refused where the entity is replicated, unless that is wanted", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        // as one from before it was replicated
        yield* append(type, "a", ["one"])
        yield* appendReplicated(type, "a", "two")
        const inTransaction = Journal.transaction(Effect.flip(Journal.deleteEvents(type, "a")))
        for (const refused of [Effect.flip(Journal.deleteEvents(type, "a", { to: 1 })), inTransaction]) {
          const error = yield* refused
          assert.strictEqual(error._tag, "ReplicatedEvents")
          assert.include(error.message, "ReplicatedJournal.deleteEvents")
        }
        assert.deepStrictEqual(yield* stored(type, "a"), [[1, "one"], [2, "two"]])
        yield* Journal.deleteEvents(type, "a", { evenReplicated: true })
        assert.deepStrictEqual(yield* stored(type, "a"), [[1, undefined], [2, undefined]])
        // what it says is none of Sluice's
        const like = `"~sluice":{"replication":{}}`
        yield* Journal.append(type, { id: "b", events: ["one"], metadata: { key: like, [like]: "value" } })
        yield* Journal.deleteEvents(type, "b")
        assert.deepStrictEqual(yield* stored(type, "b"), [[1, undefined]])
      }))
  })

  describe("pruning", () => {
    it.effect("removes what is older than a time, but each entity's and each log's newest", () =>
      Effect.gen(function*() {
        const { between, ids, type } = yield* generations
        assert.strictEqual((yield* floors(type)).size, 0)
        const removed = yield* Journal.prune(type, { before: between })
        // the entity without younger events keeps its newest
        assert.strictEqual(removed, 3 * (ids.length - 1) + 2)
        assert.deepStrictEqual(yield* stored(type, "0"), [[4, "young1"], [5, "young2"]])
        assert.deepStrictEqual(yield* stored(type, "11"), [[3, "old3"]])
        for (const id of ids) {
          const { sequenceNumber } = yield* append(type, id, ["new"], "exists")
          assert.strictEqual(sequenceNumber, id === "11" ? 4 : 6)
        }
        assert.strictEqual(yield* Journal.prune(type, { before: between }), 1)
        assert.deepStrictEqual(yield* stored(type, "11"), [[4, "new"]])
        assert.strictEqual(yield* Journal.prune(type, { before: between }), 0)
        const other = yield* generations
        assert.strictEqual((yield* readAll(other.type)).length, 12 * 3 + 11 * 2)
      }))

    it.effect("keeps what it is told that entities need", () =>
      Effect.gen(function*() {
        const { between, ids, type } = yield* generations
        const asked: Array<string> = []
        const last = new Map([["0", 2], ["1", 5], ["2", 6]])
        const removed = yield* Journal.prune(type, {
          before: between,
          included: (persistenceIds) =>
            Effect.sync(() => {
              asked.push(...persistenceIds)
              return new Map(persistenceIds.flatMap((id) => {
                const number = last.get(PersistenceId.entityId(id))
                return number === undefined ? [] : [[id, SequenceNumber.make(number)] as const]
              }))
            })
        })
        assert.sameMembers([...new Set(asked)], ids.map((id) => `${type.name}|${id}`))
        assert.strictEqual(removed, 1 + 3)
        // that of the snapshot stays, too, as it tells whether that is of this journal
        const ofSnapshot = [2, "old2"] as const
        assert.deepStrictEqual(yield* stored(type, "0"), [ofSnapshot, [3, "old3"], [4, "young1"], [5, "young2"]])
        assert.deepStrictEqual(yield* stored(type, "1"), [[4, "young1"], [5, "young2"]])
        // what is told is of other events, or nothing is told, and what is emptied is needed by nobody
        yield* Journal.deleteEvents(type, "4", { to: 2 })
        assert.strictEqual(
          yield* Journal.prune(type, { before: between, included: () => Effect.succeed(new Map()) }),
          2
        )
        assert.deepStrictEqual((yield* stored(type, "4")).map(([number]) => number), [3, 4, 5])
        for (const id of ["2", "3"]) assert.strictEqual((yield* stored(type, id)).length, 5)
        const error = yield* Effect.flip(Journal.prune(type, {
          before: between,
          included: () => Effect.fail(new StorageError({ operation: "ask", reason: "Failed", cause: "no" }))
        }))
        assert.deepInclude(error, { _tag: "StorageError", operation: "ask" })
        assert.strictEqual((yield* stored(type, "3")).length, 5)
      }))

    it.effect("is noticed by nobody who has come as far as what was removed", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        const [a, b] = idsOfSlice(type, 5, 2) as [string, string]
        const [c] = idsOfSlice(type, 6, 1) as [string]
        for (const id of [a, b, c]) yield* append(type, id, texts(3))
        const all = yield* readAll(type)
        const now = yield* Journal.Journal.use((journal) => journal.now)
        const prune = (last: ReadonlyMap<string, number>) =>
          Journal.prune(type, {
            before: Timestamp.make(now + 3_600_000_000),
            included: (ids) =>
              Effect.succeed(
                new Map(ids.flatMap((id) => {
                  const number = last.get(PersistenceId.entityId(id))
                  return number === undefined ? [] : [[id, SequenceNumber.make(number)] as const]
                }))
              )
          })
        assert.strictEqual(yield* prune(new Map()), 0)
        assert.strictEqual((yield* floors(type)).size, 0)
        assert.deepStrictEqual(yield* readAll(type), all)
        assert.strictEqual(yield* prune(new Map([[a, 3]])), 2)
        const lastRemoved = all.find(({ persistenceId, sequenceNumber }) =>
          persistenceId === `${type.name}|${a}` && sequenceNumber === 2
        )!
        const start = offsetsAfter([lastRemoved])
        assert.deepStrictEqual(yield* floors(type), new Map(start))
        assertComplete(yield* readAll(type, { start }), start)
        const error = yield* Effect.flip(open(type, offsetsAfter([all.find(({ slice }) => slice === 5)!])))
        assert.instanceOf(error, Journal.OffsetBelowFloor)
      }))

    it.effect("is refused where entities are replicated, unless that is wanted", () =>
      Effect.gen(function*() {
        const { between, old, type } = yield* generations
        yield* appendReplicated(type, "0", "replicated")
        const error = yield* Effect.flip(Journal.prune(type, { before: between }))
        assert.strictEqual(error._tag, "ReplicatedEvents")
        assert.include(error.message, "ReplicatedJournal.prune")
        assert.deepStrictEqual((yield* readAll(type)).slice(0, old.length), old)
        assert.isAbove(yield* Journal.prune(type, { before: between, evenReplicated: true }), 0)
      }))

    it.effect("is refused before anything is removed, also where the newest events do not tell that they were of replicas", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        const [plain, replicated, emptied] = [4, 5, 6].map((slice) => idsOfSlice(type, slice, 1)[0]!) as [
          string,
          string,
          string
        ]
        yield* append(type, plain, texts(3))
        for (const text of ["one", "two"]) yield* appendReplicated(type, replicated, text)
        const { timestamp } = yield* append(type, emptied, texts(110))
        yield* Journal.deleteEvents(type, emptied, { evenReplicated: true })
        const error = yield* Effect.flip(Journal.prune(type, { before: Timestamp.make(timestamp + 1) }))
        assert.strictEqual(error._tag, "ReplicatedEvents")
        assert.strictEqual((yield* stored(type, plain)).length, 3)
        assert.strictEqual((yield* stored(type, emptied)).length, 110)
      }))

    it.effect("removes nothing beyond a position", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        const [a, b] = idsOfSlice(type, 5, 2) as [string, string]
        const [c] = idsOfSlice(type, 6, 1) as [string]
        for (const id of [a, c]) yield* append(type, id, texts(4))
        const { timestamp } = yield* append(type, b, texts(1))
        const upTo = new Map([[Slice.make(5), Offset.make(2, 2)]])
        assert.strictEqual(yield* Journal.prune(type, { before: Timestamp.make(timestamp + 1), upTo }), 2)
        assert.deepStrictEqual(yield* stored(type, a), [[3, "e3"], [4, "e4"]])
        assert.strictEqual((yield* stored(type, c)).length, 4)
      }))

    it.effect("leaves an entity's newest, though its log has younger events of others", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        const [a, b] = idsOfSlice(type, 5, 2) as [string, string]
        yield* append(type, a, texts(3))
        const { timestamp } = yield* append(type, b, texts(2))
        assert.strictEqual(yield* Journal.prune(type, { before: Timestamp.make(timestamp - 1) }), 2)
        assert.deepStrictEqual(yield* stored(type, a), [[3, "e3"]])
        assert.deepStrictEqual(yield* stored(type, b), [[1, "e1"], [2, "e2"]])
      }))

    it.effect("leaves no place before a time where there were events that are not older", () =>
      Effect.gen(function*() {
        const { between, type } = yield* generations
        const logs = bySlice(yield* readAll(type))
        const before = (time: Timestamp.Timestamp) =>
          Effect.map(
            Journal.Journal.use((journal) => journal.before(type.name, SliceRange.full, time)),
            (offsets) => new Map(offsets)
          )
        const lastOlder = new Map(
          logs.entries().flatMap(([slice, log]) => {
            const last = log.findLast(({ timestamp }) => timestamp < between)
            return last === undefined ? [] : [[slice, Offset.make(last.position!, last.timestamp)] as const]
          })
        )
        assert.deepStrictEqual(yield* before(between), lastOlder)
        const first = Timestamp.make(Math.min(...logs.values().map(([first]) => first!.timestamp)))
        assert.strictEqual((yield* before(first)).size, 0)
        yield* Journal.prune(type, { before: between })
        assert.deepStrictEqual(yield* before(between), lastOlder)
        const removed = yield* floors(type)
        assert.deepStrictEqual(
          yield* before(first),
          new Map(removed.keys().map((slice) => [slice, Offset.make(0, first)] as const))
        )
      }))

    it.effect("of everything leaves the newest of each log", () =>
      Effect.gen(function*() {
        const { ids, type } = yield* generations
        const before = yield* Journal.Journal.use((journal) => journal.heads(type.name, SliceRange.full))
        const now = yield* Journal.Journal.use((journal) => journal.now)
        yield* Journal.prune(type, { before: Timestamp.make(now + 3_600_000_000) })
        const after = yield* Journal.Journal.use((journal) => journal.heads(type.name, SliceRange.full))
        assert.deepStrictEqual(new Map(after), new Map(before))
        for (const id of ids) assert.strictEqual((yield* stored(type, id)).length, 1)
      }))

    it.effect("is noticed by a reader that has not come as far, and by no other", () =>
      Effect.gen(function*() {
        const { between, old, type } = yield* generations
        const all = yield* readAll(type)
        yield* Journal.prune(type, { before: between })
        const removed = yield* floors(type)
        assert.isAbove(removed.size, 0)
        for (const start of [Offset.none, offsetsAfter(old.slice(0, 1)), Offset.since(Timestamp.make(1))]) {
          const error = yield* Effect.flip(open(type, start))
          assert.instanceOf(error, Journal.OffsetBelowFloor)
          assert.deepStrictEqual(error.floor, removed.get(error.slice))
          assert.include(error.message, `position ${error.floor.position} of slice ${error.slice}`)
        }
        // after the floor, and exactly at it
        for (const start of [offsetsAfter(old), Offset.since(between), new Map([...offsetsAfter(all), ...removed])]) {
          const rest = yield* readAll(type, { start })
          const seen = new Map(
            bySlice(all).entries().map(([slice, log]) => {
              const first = rest.find((event) => event.slice === slice)?.position ?? Infinity
              return [slice, log.filter(({ position }) => position! < first)] as const
            })
          )
          assertComplete(rest, offsetsAfter([...seen.values()].flat()))
        }
        const [[slice, floor]] = [...removed] as [[Slice.Slice, Offset.Offset]]
        const start = new Map([
          ...offsetsAfter(old),
          [slice, Offset.make(floor.position, floor.timestamp + 1)] as const
        ])
        assert.instanceOf(yield* Effect.flip(open(type, start)), Journal.JournalForked)
      }))

    it.effect("is noticed by a reader that is open, before it goes past what was removed", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        const [a, b] = idsOfSlice(type, 77, 2) as [string, string]
        for (let i = 0; i < 10; i++) yield* append(type, i % 2 === 0 ? a : b, texts(1, `${i}`))
        const reader = yield* Journal.Journal.use((journal) => journal.reader(type.name, SliceRange.full, Offset.none))
        const first = yield* reader.next(3)
        assertComplete(first)
        const now = yield* Journal.Journal.use((journal) => journal.now)
        yield* Journal.prune(type, { before: Timestamp.make(now + 1_000_000) })
        const rest: Array<unknown> = []
        const error = yield* Effect.flip(Effect.gen(function*() {
          while (true) {
            const page = yield* reader.next(3)
            if (page.length === 0) return
            rest.push(...page)
          }
        }))
        assert.instanceOf(error, Journal.OffsetBelowFloor)
        // what it had in its hands already
        assertComplete([...first, ...rest as typeof first])
      }))

    it.effect("is passed by a source that is told to", () =>
      Effect.gen(function*() {
        const { between, type } = yield* generations
        yield* Journal.prune(type, { before: between })
        const start = { journal: undefined, offsets: Offset.none }
        const failing = Source.toStream(Source.journal(type), { start })
        assert.instanceOf(yield* Effect.flip(Stream.runDrain(failing)), Journal.OffsetBelowFloor)
        const left = yield* Source.toStream(Source.journal(type), { start: { ...start, pastDeleted: true } }).pipe(
          Stream.take(23),
          Stream.runCollect
        )
        assert.deepStrictEqual(new Set(left.map(({ event }) => event)), new Set(["old3", "young1", "young2"]))
      }))

    it.effect("disturbs neither those who append nor those who are up to date", () =>
      Effect.gen(function*() {
        const type = fresh("deletion")
        const ids = [...idsOfSlice(type, 3, 3), ...idsOfSlice(type, 900, 3)]
        const journal = yield* Journal.Journal
        const reader = yield* journal.reader(type.name, SliceRange.full, Offset.none)
        const seen = yield* Effect.sync((): Array<Effect.Success<ReturnType<typeof drain>>[number]> => [])
        const pruning = yield* Effect.forkChild(
          Effect.gen(function*() {
            // up to what was seen
            const times = [3, 900].map((slice) => seen.findLast((event) => event.slice === slice)?.timestamp ?? 0)
            yield* Journal.prune(type, { before: Timestamp.make(Math.min(...times)) })
            yield* Effect.yieldNow
          }).pipe(Effect.forever)
        )
        for (let round = 0; round < 30; round++) {
          yield* Effect.forEach(ids, (id) => append(type, id, texts(2, `${round}-`)), { concurrency: "unbounded" })
          seen.push(...yield* drain(reader, 5))
          // storage in memory never does
          yield* Effect.yieldNow
        }
        yield* Fiber.interrupt(pruning)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(pruning)))
        assert.strictEqual(seen.length, 30 * 2 * ids.length)
        assertComplete(seen)
        for (const id of ids) {
          assert.strictEqual((yield* append(type, id, ["last"])).sequenceNumber, 61)
          assert.strictEqual(sliceOf(type, id), seen.find((event) => event.persistenceId.endsWith(`|${id}`))!.slice)
        }
        assert.isAbove((yield* floors(type)).get(Slice.make(3))?.position ?? 0, 0)
      }))
  })
}
