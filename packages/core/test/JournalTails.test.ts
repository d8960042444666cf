import { assert, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import { StorageError } from "@sluice/core/StorageError"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { JournalTail } from "../src/internal/reading/JournalTail.ts"
import { JournalTails, make } from "../src/internal/reading/JournalTails.ts"
import { eventAt } from "./readingKit.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })

const one = SliceRange.make(0, 0)
const nobody = { disrupted: () => {}, restored: () => {} }

const tailOf = (journal: Journal.Journal["Service"], entityType: string = Note.name) =>
  Effect.flatMap(JournalTails, (tails) => tails.get(journal, entityType))

/** A journal that counts who reads it and who listens to it. */
const counting = Effect.gen(function*() {
  const journal = yield* Journal.Journal
  const counts = { readers: 0, listeners: 0 }
  const counted: Journal.Journal["Service"] = {
    ...journal,
    reader: (...args) => Effect.tap(journal.reader(...args), () => Effect.sync(() => counts.readers++)),
    committed: (...args) =>
      Effect.andThen(
        journal.committed(...args),
        Effect.acquireRelease(Effect.sync(() => counts.listeners++), () => Effect.sync(() => counts.listeners--))
      )
  }
  return { counts, journal: counted }
})

layer(MemoryStorage.layer)("the tail of an entity type", (it) => {
  it.effect("is shared by all who follow it, and ends with the last", () =>
    Effect.gen(function*() {
      const { counts, journal } = yield* counting
      const scopes = [Scope.makeUnsafe(), Scope.makeUnsafe()]
      const [one, other] = yield* Effect.forEach(scopes, (scope) => Scope.provide(tailOf(journal), scope))
      assert.strictEqual(one, other)
      assert.deepStrictEqual(counts, { readers: 1, listeners: 1 })
      yield* Scope.close(scopes[0]!, Exit.void)
      assert.strictEqual(yield* Effect.scoped(tailOf(journal)), other)
      assert.deepStrictEqual(counts, { readers: 1, listeners: 1 })
      yield* Scope.close(scopes[1]!, Exit.void)
      assert.deepStrictEqual(counts, { readers: 1, listeners: 0 })
      assert.notStrictEqual(yield* Effect.scoped(tailOf(journal)), other)
      assert.deepStrictEqual(counts, { readers: 2, listeners: 0 })
    }))

  it.effect("is shared by those who begin together as well, wherever they take turns", () =>
    Effect.gen(function*() {
      const { counts, journal } = yield* counting
      for (let ops = 3; ops < 20; ops++) {
        const another = { ...journal }
        const tails = yield* Effect.all([tailOf(another), tailOf(another)], { concurrency: "unbounded" }).pipe(
          Effect.provideService(References.MaxOpsBeforeYield, ops)
        )
        assert.strictEqual(tails[0], tails[1], `taking turns after ${ops} operations`)
      }
      assert.deepStrictEqual(counts, { readers: 17, listeners: 17 })
    }))

  it.effect("is another for another entity type, another journal, and where other tails are provided", () =>
    Effect.gen(function*() {
      const { journal } = yield* counting
      const tails = new Set<JournalTail<any>>()
      tails.add(yield* tailOf(journal))
      tails.add(yield* tailOf(journal, "other"))
      tails.add(yield* tailOf({ ...journal }))
      tails.add(yield* Effect.provideService(tailOf(journal), JournalTails, make()))
      assert.strictEqual(tails.size, 4)
      assert.isTrue(tails.has(yield* tailOf(journal)))
    }))

  it.effect("begins after what is there, and has what is appended from then on", () =>
    Effect.gen(function*() {
      const { journal } = yield* counting
      const append = Effect.provideService(
        Journal.append(Note, { id: "a", events: ["x", "y"] }),
        Journal.Journal,
        journal
      )
      const { position } = yield* append
      const tail = yield* tailOf(journal)
      const slice = Slice.ofPersistenceId("note|a")
      assert.deepStrictEqual([tail.end, tail.heads.position(slice)], [0, position as number])
      yield* append
      assert.deepStrictEqual([tail.end, tail.heads.position(slice)], [2, position + 2])
    }))

  it.effect("passes its reader over what it has taken, and not over what comes after a gap", () =>
    Effect.gen(function*() {
      const { journal } = yield* counting
      const passed: Array<ReadonlyArray<EncodedEnvelope>> = []
      const listeners: Array<(events: ReadonlyArray<EncodedEnvelope>) => void> = []
      const commit = (...events: ReadonlyArray<EncodedEnvelope>) => listeners.forEach((listener) => listener(events))
      const tail = yield* tailOf({
        ...journal,
        committed: (_, listener) => Effect.sync(() => void listeners.push(listener)),
        reader: () => Effect.succeed({ next: () => Effect.never, pass: (events) => passed.push(events) })
      }, "gaps")
      const [first, second, third, fourth] = [1, 2, 3, 4].map((position) => eventAt(Slice.make(5), position, position))
      commit(first!)
      // the reader is to find the second: whoever passes it over the third or the fourth loses it for good
      commit(third!)
      commit(first!, fourth!)
      assert.deepStrictEqual(passed, [[first!]])
      assert.strictEqual(tail.end, 1)
      commit(second!, third!)
      assert.deepStrictEqual(passed, [[first!], [second!, third!]])
    }))

  it.effect("has what another process appends while it begins, up to the end of the first look at the journal", () =>
    Effect.gen(function*() {
      const { journal } = yield* counting
      const append = (id: string) =>
        Effect.orDie(Effect.provideService(Journal.append(Note, { id, events: ["x"] }), Journal.Journal, journal))
      let looks = 0
      const other: Journal.Journal["Service"] = {
        ...journal,
        committed: () => Effect.void,
        heads: (...args) => Effect.tap(journal.heads(...args), () => append("between")),
        reader: (...args) =>
          Effect.map(journal.reader(...args), (reader) => ({
            ...reader,
            next: (limit) =>
              Effect.tap(
                reader.next(limit),
                (page) => page.length === 0 && ++looks === 1 ? append("after") : Effect.void
              )
          }))
      }
      const tail = yield* tailOf(other)
      yield* Wait.until("both events", () => tail.end === 2)
    }))

  it.effect("tells all who follow it that the journal does not answer, and that it does again", () =>
    Effect.gen(function*() {
      const { journal } = yield* counting
      const answer = yield* Deferred.make<Array<never>>()
      const silent: Journal.Journal["Service"] = {
        ...journal,
        reader: () => Effect.succeed({ next: () => Deferred.await(answer), pass: () => {} })
      }
      const said: Array<unknown> = []
      const tail = yield* tailOf(silent)
      tail.subscribe(one, {
        disrupted: (cause) => said.push(Cause.squash(cause)),
        restored: () => said.push("restored")
      })
      yield* TestClock.adjust(3000)
      assert.deepStrictEqual(said, [])
      yield* TestClock.adjust(2000)
      const [error] = said
      assert.instanceOf(error, StorageError)
      assert.strictEqual(error.reason, "Unavailable")
      assert.include(error.message, "follow the journal of 'note'")
      // also whoever comes later
      const later: Array<string> = []
      const health = { disrupted: () => void later.push("disrupted"), restored: () => void later.push("restored") }
      tail.subscribe(one, health)
      assert.deepStrictEqual(later, ["disrupted"])
      yield* Deferred.succeed(answer, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(said.slice(1), ["restored"])
      assert.deepStrictEqual(later, ["disrupted", "restored"])
      tail.subscribe(one, health)
      assert.lengthOf(later, 2)
    }))

  it.effect("that has failed is not handed to others", () =>
    Effect.gen(function*() {
      const { journal } = yield* counting
      const away = new StorageError({ operation: "read", reason: "Unavailable", cause: new Error("away") })
      const failing = yield* Deferred.make<never, StorageError>()
      const broken = {
        ...journal,
        reader: () => Effect.succeed({ next: () => Deferred.await(failing), pass: () => {} })
      }
      const tail = yield* tailOf(broken)
      const { latch } = tail.subscribe(one, nobody)
      yield* Deferred.fail(failing, away)
      yield* latch.await
      assert.isDefined(tail.failure)
      assert.notStrictEqual(yield* tailOf(broken), tail)
    }))
})
