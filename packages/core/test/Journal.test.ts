import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import { InvalidInput } from "@sluice/core/InvalidInput"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import { StorageError } from "@sluice/core/StorageError"
import { Transaction } from "@sluice/core/Transaction"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String }) {}
const Cart = EntityType.make("cart", { event: ItemAdded })
const Note = EntityType.make("note", { codec: EventCodec.string })
const number = SequenceNumber.make

describe("Journal.append", () => {
  it.effect("fails with an event that cannot be encoded, and appends none", () =>
    Effect.gen(function*() {
      const wrong: ItemAdded = { _tag: "ItemAdded", sku: 17 } as any
      const error = yield* Effect.flip(
        Journal.append(Cart, { id: "c-1", events: [new ItemAdded({ sku: "tea" }), wrong] })
      )
      assert.instanceOf(error, EventCodec.EventEncodeError)
      assert.include(error.message, "cart|c-1")
      assert.deepStrictEqual(yield* Stream.runCollect(Journal.read(Cart, "c-1")), [])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("says of a plain object, which has the type of a class, that it is to be made by that", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Journal.append(Cart, { id: "c-1", events: [{ _tag: "ItemAdded", sku: "tea" }] }))
      assert.strictEqual(
        error.message,
        "An event for 'cart|c-1' cannot be encoded: it is no instance of its class, though it has the type: make it with 'new'"
      )
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("gives every event an id of its own", () =>
    Effect.gen(function*() {
      const journal = yield* Journal.Journal
      const ids: Array<string> = []
      const spying = Journal.Journal.of({
        ...journal,
        append: (request) => {
          ids.push(...request.events.map(({ id }) => id))
          return journal.append(request)
        }
      })
      const append = Journal.append(Note, { id: "a", events: ["1", "2"] })
      yield* Effect.provideService(Effect.andThen(append, append), Journal.Journal, spying)
      assert.strictEqual(new Set(ids).size, 4)
      for (const id of ids) assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

const holes = (length: number): ReadonlyArray<string> => Object.assign([], { length })

describe("Journal.append of what are no events", () => {
  it.effect.each([
    ["undefined", undefined, "they are no array"],
    ["a text", "event", "they are no array"],
    ["an array of holes", holes(2), "the array has a hole"],
    ["an array with a hole", Object.assign(holes(2), { 1: "2" }), "the array has a hole"]
  ])("fails with %s, and appends none", ([, events, problem]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Journal.append(Note, { id: "a", events: events as any }))
      assert.instanceOf(error, InvalidInput)
      assert.deepStrictEqual([error.input, error.problem], ["events", problem])
      assert.deepStrictEqual(yield* Stream.runCollect(Journal.read(Note, "a")), [])
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

describe("Journal.read", () => {
  it.effect("fails at an event that cannot be decoded, after those before it", () =>
    Effect.gen(function*() {
      yield* Journal.append(Note, { id: "a", events: ["1", "2"] })
      const Other = EntityType.make("note", { event: ItemAdded })
      yield* Journal.append(Other, { id: "a", events: [new ItemAdded({ sku: "tea" })] })
      const seen: Array<string> = []
      const error = yield* Effect.flip(
        Stream.runForEach(Journal.read(Note, "a"), ({ event }) => Effect.sync(() => seen.push(event)))
      )
      assert.instanceOf(error, EventCodec.EventDecodeError)
      assert.strictEqual(error.sequenceNumber, 3)
      assert.deepStrictEqual(seen, ["1", "2"])
    }).pipe(Effect.provide(MemoryStorage.layer)))

  it.effect("has as many pages as an entity's events need", () =>
    Effect.gen(function*() {
      const journal = yield* Journal.Journal
      const limits: Array<number> = []
      const spying = Journal.Journal.of({
        ...journal,
        entity: (persistenceId, from, to, limit) => {
          limits.push(limit)
          return journal.entity(persistenceId, from, to, limit)
        }
      })
      const events = Array.from({ length: 1200 }, (_, i) => `${i}`) as [string, ...Array<string>]
      yield* Journal.append(Note, { id: "a", events })
      const found = yield* Stream.runCollect(Journal.read(Note, "a")).pipe(
        Effect.provideService(Journal.Journal, spying)
      )
      assert.deepStrictEqual(found.map(({ event }) => event), events)
      assert.isAtMost(Math.max(...limits), 1000)
      // the first of a long entity does not read the rest
      limits.length = 0
      yield* Stream.runCollect(Stream.take(Journal.read(Note, "a"), 1)).pipe(
        Effect.provideService(Journal.Journal, spying)
      )
      assert.strictEqual(limits.length, 1)
      // where all events up to a number have come, there is nothing more to ask for
      limits.length = 0
      const to = number(100)
      const read = Stream.runCollect(Journal.read(Note, "a", { to }))
      const encoded = Stream.runCollect(Journal.readEncoded(PersistenceId.make("note", "a"), { to }))
      const both = yield* Effect.provideService(Effect.all([read, encoded]), Journal.Journal, spying)
      assert.deepStrictEqual(both.map(({ length }) => length), [100, 100])
      assert.strictEqual(limits.length, 2)
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

describe("Journal.append", () => {
  it.effect("gives each event the tags and the metadata that are computed from it", () =>
    Effect.gen(function*() {
      yield* Journal.append(Note, {
        id: "a",
        events: ["one", "two"],
        tags: (event, index) => [`${index}:${event}`],
        metadata: (event, index): Record<string, string> => index === 1 ? { last: event } : {}
      })
      const read = yield* Stream.runCollect(Journal.read(Note, "a"))
      assert.deepStrictEqual(read.map(({ metadata, tags }) => [tags, metadata]), [
        [["0:one"], {}],
        [["1:two"], { last: "two" }]
      ])
      const error = yield* Effect.flip(Journal.append(Note, {
        id: "a",
        events: ["never"],
        metadata: () => {
          throw new Error("no")
        }
      }))
      assert.deepInclude(error, { _tag: "InvalidInput", input: "metadata" })
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

describe("Journal.make", () => {
  it.effect("has a limit that an adapter may set", () =>
    Effect.gen(function*() {
      const journal = yield* Journal.Journal
      assert.strictEqual(journal.maxEventBytes, Journal.defaultMaxEventBytes)
      const narrow = Journal.make({
        ...journal,
        maxEventBytes: 100,
        append: (request) => Effect.orDie(journal.append(request))
      })
      const error = yield* Journal.append(Note, { id: "a", events: ["x".repeat(101)] }).pipe(
        Effect.flip,
        Effect.provideService(Journal.Journal, narrow)
      )
      assert.deepInclude(error, { _tag: "EventTooLarge", limit: 100 })
    }).pipe(Effect.provide(MemoryStorage.layer)))
})

describe("the errors of a journal", () => {
  const persistenceId = PersistenceId.make("cart", "c-17")

  it("say what was expected, and what is there", () => {
    const conflict = (expected: Journal.SequenceConflict["expected"], actual: number) =>
      new Journal.SequenceConflict({ persistenceId, expected, actual: number(actual) }).message
    assert.strictEqual(
      conflict(number(3), 5),
      "The writer of 'cart|c-17' expected event 3 to be its last, but its last event is 5"
    )
    assert.strictEqual(
      conflict("none", 5),
      "The writer of 'cart|c-17' expected no events yet, but its last event is 5"
    )
    assert.strictEqual(conflict("exists", 0), "The writer of 'cart|c-17' expected events, but it has no events")
  })

  it("say which event of which journal was lost, and which journal is another, and what to do", () => {
    const forked = new Journal.JournalForked({ entityType: "cart", slice: Slice.make(7), offset: Offset.make(3, 99) })
    for (const part of ["'cart'", "position 3", "slice 7", "timestamp 99"]) assert.include(forked.message, part)
    assert.match(
      forked.message,
      /\. Restore the database, or rewind the projection to a time before the loss\. A region of replicated entities begins anew/
    )
    const replaced = new Journal.JournalReplaced({ expected: "one", actual: "two", entityType: "cart" })
    for (const part of ["'cart'", "journal one", "journal two"]) assert.include(replaced.message, part)
    assert.match(
      replaced.message,
      /\. Correct the address or restore the database, or rewind the projection to read the new journal$/
    )
  })

  it("pass a schema, as they may have to travel", () => {
    const error = new Journal.SequenceConflict({ persistenceId, expected: "none", actual: number(5) })
    const codec = Schema.toCodecJson(Journal.SequenceConflict)
    const json = JSON.parse(JSON.stringify(Schema.encodeUnknownSync(codec)(error)))
    const decoded = Schema.decodeUnknownSync(codec)(json)
    assert.instanceOf(decoded, Journal.SequenceConflict)
    assert.strictEqual(decoded.message, error.message)
  })
})

describe("MemoryStorage.layer", () => {
  it.effect("is empty and new each time", () =>
    Effect.gen(function*() {
      const build = Effect.provide(
        Effect.gen(function*() {
          const journal = yield* Journal.Journal
          const { sequenceNumber } = yield* Journal.append(Note, { id: "a", events: ["1"] })
          assert.strictEqual(sequenceNumber, 1)
          return journal.identity
        }),
        Layer.fresh(MemoryStorage.layer)
      )
      assert.notStrictEqual(yield* build, yield* build)
    }))

  it.effect("has no tables, and says so", () =>
    Effect.gen(function*() {
      const store = yield* OffsetStore
      const execute = Transaction.use((transaction) => transaction.execute({ sql: "SELECT 1", parameters: [] }))
      const key = { projection: "p", source: "s" }
      yield* ProjectionManagement.use((management) => management.register(key))
      const error = yield* Effect.flip(store.transact(key, { journal: "journal", revision: 0 }, [], execute))
      assert.instanceOf(error, StorageError)
      assert.strictEqual(error.reason, "Unsupported")
      assert.isFalse(error.isRetryable)
      assert.include(error.message, "MemoryStorage has no tables")
    }).pipe(Effect.provide(MemoryStorage.layer)))
})
