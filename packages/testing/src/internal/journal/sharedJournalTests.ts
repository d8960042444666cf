import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Wait from "../../Wait.ts"
import { type Database, type Open, open as openInstance } from "../instances.ts"
import type { It } from "../kit.ts"
import {
  append,
  assertComplete,
  drain,
  eventsOf,
  fresh,
  idsOfSlice,
  newEvent,
  number,
  readAll,
  request,
  textOf
} from "../kit.ts"
import { hostile } from "./hostile.ts"

class Instances extends Context.Service<Instances, Open<Journal.Journal>>()("@sluice/testing/JournalInstances") {}

/** @internal */
export const layerInstances = (database: Database<Journal.Journal>): Layer.Layer<Instances, unknown> =>
  Layer.effect(Instances, Effect.map(database, openInstance))

const open = Effect.map(Effect.flatMap(Instances, (open) => open), Context.get(Journal.Journal))

/** Runs an effect on one of the instances. */
const on = (journal: Journal.Journal["Service"]) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, Journal.Journal, journal)

/** @internal */
export const sharedJournalTests = (it: It<Instances>): void => {
  describe("two instances of one database", () => {
    const two = Effect.all([open, open])

    it.effect("are one journal", () =>
      Effect.gen(function*() {
        const [a, b] = yield* two
        assert.notStrictEqual(a, b)
        assert.strictEqual(a.identity, b.identity)
      }))

    it.effect("see each other's events", () =>
      Effect.gen(function*() {
        const [a, b] = yield* two
        const type = fresh("shared")
        const changed = yield* b.changes(type.name)
        const reader = yield* b.reader(type.name, SliceRange.full, Offset.none)
        for (let round = 0; round < 5; round++) {
          yield* on(a)(append(type, "x", [`a${round}`]))
          assert.strictEqual((yield* on(b)(eventsOf(type, "x"))).length, round * 2 + 1)
          let received = yield* drain(reader)
          while (received.length === 0) {
            yield* changed
            received = yield* drain(reader)
          }
          assert.deepStrictEqual(received.map(textOf), [`a${round}`])
          assert.deepStrictEqual(
            new Map(yield* b.heads(type.name, SliceRange.full)),
            new Map(yield* a.heads(type.name, SliceRange.full))
          )
          const written = yield* on(b)(append(type, "x", [`b${round}`], number(round * 2 + 1)))
          assert.strictEqual(written.position, round * 2 + 2)
          assert.deepStrictEqual((yield* drain(reader)).map(textOf), [`b${round}`])
        }
        assertComplete(yield* on(a)(readAll(type)))
      }))

    it.effect("notice a conflict with what the other has written", () =>
      Effect.gen(function*() {
        const [a, b] = yield* two
        const type = fresh("shared")
        yield* on(a)(append(type, "x", ["1"], "none"))
        const none = yield* Effect.flip(on(b)(append(type, "x", ["never"], "none")))
        assert.deepInclude(none, { expected: "none", actual: number(1) })
        yield* on(b)(append(type, "x", ["2"], number(1)))
        const exact = yield* Effect.flip(on(a)(append(type, "x", ["never"], number(1))))
        assert.deepInclude(exact, { expected: number(1), actual: number(2) })
        yield* on(a)(append(type, "x", ["3"], "exists"))
        assert.deepStrictEqual(yield* on(b)(eventsOf(type, "x")), ["1", "2", "3"])
      }))

    it.effect("answer an append that was sent to the other before", () =>
      Effect.gen(function*() {
        const [a, b] = yield* two
        const type = fresh("shared")
        const sent = request(type, "x", [newEvent("1"), newEvent("2")], "none")
        const written = yield* a.append(sent)
        yield* on(a)(append(type, "x", ["3"]))
        assert.deepStrictEqual(yield* b.append({ ...sent, recheck: true }), written)
        assert.deepStrictEqual(yield* on(b)(eventsOf(type, "x")), ["1", "2", "3"])
      }))

    it.effect("wake for each other's appends", () =>
      Effect.gen(function*() {
        const [a, b] = yield* two
        const type = fresh("shared")
        const seen: Array<string> = []
        const changed = yield* b.changes(type.name)
        const reader = yield* b.reader(type.name, SliceRange.full, Offset.none)
        const fiber = yield* Effect.forkChild(Effect.gen(function*() {
          while (seen.length < 10) {
            const page = yield* reader.next(10)
            if (page.length === 0) yield* changed
            seen.push(...page.map(textOf))
          }
        }))
        for (let i = 0; i < 10; i++) {
          yield* on(a)(append(type, `${i}`, [`${i}`]))
          yield* Effect.yieldNow
        }
        yield* Wait.end("all 10 events of the other instance", Fiber.join(fiber))
        // and for what came between the subscription and the waiting
        const later = yield* b.changes(type.name)
        yield* on(a)(append(type, "x", ["x"]))
        yield* Wait.end("the append before the waiting to be noticed", later)
      }))

    it.effect("do not see each other's open transactions", () =>
      Effect.gen(function*() {
        const [a, b] = yield* two
        const type = fresh("shared")
        const appended = yield* Deferred.make<void>()
        const commit = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(
          on(a)(Journal.transaction(Effect.gen(function*() {
            yield* append(type, "x", ["1"])
            yield* Deferred.succeed(appended, undefined)
            yield* Deferred.await(commit)
          })))
        )
        yield* Deferred.await(appended)
        assert.deepStrictEqual(yield* on(b)(eventsOf(type, "x")), [])
        assert.deepStrictEqual(yield* on(b)(readAll(type)), [])
        yield* Deferred.succeed(commit, undefined)
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(yield* on(b)(eventsOf(type, "x")), ["1"])
      }))

    it.effect("append to the same logs at once without loss", () =>
      Effect.gen(function*() {
        const instances = yield* two
        const type = fresh("shared")
        const ids = idsOfSlice(type, 64, 3)
        const written = yield* Effect.forEach(
          Array.from({ length: 60 }, (_, i) => i),
          (i) => on(instances[i % 2]!)(append(type, ids[i % 3]!, [`${i}a`, `${i}b`])),
          { concurrency: "unbounded" }
        )
        assert.sameMembers(
          written.map(({ position }) => position as number),
          Array.from({ length: 60 }, (_, i) => i * 2 + 2)
        )
        for (const journal of instances) {
          const stored = yield* on(journal)(readAll(type))
          assert.strictEqual(stored.length, 120)
          assertComplete(stored)
        }
      }))

    it.effect("let exactly one of their racing writers win", () =>
      Effect.gen(function*() {
        const instances = yield* two
        const type = fresh("shared")
        for (let round = 0; round < 5; round++) {
          const results = yield* Effect.forEach(
            Array.from({ length: 8 }, (_, i) => i),
            (i) => Effect.result(on(instances[i % 2]!)(append(type, "x", [`${i}`], number(round)))),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(results.filter(Result.isSuccess).length, 1)
          for (const result of results) {
            if (Result.isFailure(result)) assert.instanceOf(result.failure, Journal.SequenceConflict)
          }
        }
      }))

    it.effect("see every event once and in order, whatever the writers of both do", () => Effect.flatMap(two, hostile))
  })

  describe("a journal that is closed and opened again", () => {
    it.effect("is the same", () =>
      Effect.gen(function*() {
        const type = fresh("reopened")
        const two = EntityType.make(`${type.name}x`, type)
        const before = yield* Effect.scoped(Effect.gen(function*() {
          const journal = yield* open
          for (let i = 0; i < 20; i++) {
            yield* on(journal)(append(type, `${i % 7}`, [`${i}`]))
            yield* on(journal)(append(two, `${i % 3}`, [`${i}`]))
          }
          return { identity: journal.identity, events: yield* on(journal)(readAll(type)) }
        }))
        const journal = yield* open
        assert.strictEqual(journal.identity, before.identity)
        assert.deepStrictEqual(yield* on(journal)(readAll(type)), before.events)
        yield* on(journal)(append(type, "0", ["20"], number(3)))
        assertComplete(yield* on(journal)(readAll(type)))
      }))
  })
}
