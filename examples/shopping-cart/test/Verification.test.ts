import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { EventFilter, Journal } from "@sluice/core"
import { Database } from "@sluice/sql"
import { DateTime, Effect, FileSystem } from "effect"
import * as Cart from "../src/Cart.ts"
import * as Databases from "../src/Databases.ts"
import * as LeftOut from "../src/LeftOut.ts"
import * as Popularity from "../src/Popularity.ts"
import * as Verification from "../src/Verification.ts"

const right = { lost: 0, doubled: 0, reordered: 0, foreign: 0 }

describe("Verification", () => {
  it("finds nothing wrong where every public event was handled once and in order", () => {
    assert.deepStrictEqual(Verification.compareCart(new Set([1, 2, 5]), [1, 2, 5]), right)
    assert.deepStrictEqual(Verification.compareCart(new Set(), []), right)
  })

  it("finds what was lost, in the middle and at the end", () => {
    assert.deepStrictEqual(Verification.compareCart(new Set([1, 2, 3, 4]), [1, 3]), { ...right, lost: 2 })
  })

  it("finds what was handled again, at once or later", () => {
    assert.deepStrictEqual(Verification.compareCart(new Set([1, 2, 3]), [1, 1, 2, 3, 1]), { ...right, doubled: 2 })
  })

  it("finds what was handled after a later event", () => {
    assert.deepStrictEqual(Verification.compareCart(new Set([1, 2, 3, 4]), [1, 4, 2, 3]), { ...right, reordered: 2 })
  })

  it("finds what was handled though it is not public", () => {
    assert.deepStrictEqual(Verification.compareCart(new Set([1]), [1, 2]), { ...right, foreign: 1 })
  })

  it("expects a cart up to the last event that the filter lets through, or that was handled", () => {
    const events = [1, 2, 4, 5].map((sequenceNumber) => ({ sequenceNumber }))
    const expect = (passing: ReadonlyArray<number>, handled: ReadonlyArray<number>) =>
      Verification.expected(events, ({ sequenceNumber }) => passing.includes(sequenceNumber), handled)
        .map(({ sequenceNumber }) => sequenceNumber)
    assert.deepStrictEqual(expect([], []), [])
    assert.deepStrictEqual(expect([2], []), [1, 2])
    assert.deepStrictEqual(expect([2], [1, 4]), [1, 2, 4])
    assert.deepStrictEqual(expect([1, 5], [1]), [1, 2, 4, 5])
  })

  it("finds products whose quantities differ", () => {
    assert.deepStrictEqual(
      Verification.compareProducts(new Map([["tea", 3], ["milk", 1]]), new Map([["tea", 4], ["honey", 2]])),
      [
        { sku: "honey", appended: 0, projected: 2 },
        { sku: "milk", appended: 1, projected: 0 },
        { sku: "tea", appended: 3, projected: 4 }
      ]
    )
  })

  it.live("compares what is in both databases", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped({ prefix: "verification-test-" })
      const databases = yield* Databases.open({ cart: `${folder}/cart.db`, analytics: `${folder}/analytics.db` })
      const { analytics, journal } = databases
      yield* Effect.provideService(Popularity.createTables, Database.Database, analytics)
      const { persistenceId } = yield* Journal.append(Cart.entityType, {
        id: "c-1",
        events: [
          new Cart.ItemPicked({ sku: "tea", quantity: 2, cents: 449, shopper: "ann" }),
          new Cart.CouponTried({ code: "SAVE5", shopper: "ann" }),
          new Cart.Paid({ cents: 898, at: yield* DateTime.now })
        ]
      }).pipe(Effect.provideService(Journal.Journal, journal))
      const handle = (sequence_number: number) =>
        analytics.run(Popularity.tables.insertInto("handled").values({ cart: persistenceId, sequence_number }))
      yield* handle(1)
      yield* handle(3)
      yield* analytics.run(Popularity.tables.insertInto("product").values({ sku: "tea", quantity: 2 }))

      const right = yield* Verification.verify(databases)
      assert.isTrue(Verification.isRight(right))
      assert.strictEqual(right.events, 3)
      assert.strictEqual(Verification.format(right), "appended=2 leftout=0 projected=2 lost=0 doubled=0 reordered=0")

      yield* handle(3)
      const doubled = yield* Verification.verify(databases)
      assert.isFalse(Verification.isRight(doubled))
      assert.strictEqual(Verification.format(doubled), "appended=2 leftout=0 projected=3 lost=0 doubled=1 reordered=0")

      yield* analytics.run(Popularity.tables.deleteFrom("handled").where("sequence_number", "=", 3))
      const lost = yield* Verification.verify(databases)
      assert.isFalse(Verification.isRight(lost))
      assert.strictEqual(Verification.format(lost), "appended=2 leftout=0 projected=1 lost=1 doubled=0 reordered=0")

      yield* handle(3)
      yield* analytics.run(Popularity.tables.updateTable("product").set({ quantity: 3 }))
      assert.isFalse(Verification.isRight(yield* Verification.verify(databases)))

      yield* analytics.run(Popularity.tables.updateTable("product").set({ quantity: 2 }))
      const append = (id: string, ...tags: ReadonlyArray<string>) =>
        Journal.append(Cart.entityType, {
          id,
          events: [new Cart.ItemPicked({ sku: "tea", quantity: 2, cents: 449, shopper: "ann" })],
          tags
        }).pipe(Effect.provideService(Journal.Journal, journal))
      yield* databases.ask(() => EventFilter.excludeAll.pipe(EventFilter.includeTags(Cart.large)), "a test")
      yield* append("c-1")
      assert.deepStrictEqual(yield* LeftOut.longest(databases), {
        id: "c-1",
        persistenceId,
        handled: 3,
        newest: 4,
        count: 1
      })
      const leftOut = yield* Verification.verify(databases)
      assert.isTrue(Verification.isRight(leftOut))
      assert.strictEqual(Verification.format(leftOut), "appended=3 leftout=1 projected=2 lost=0 doubled=0 reordered=0")

      yield* append("c-4", Cart.large)
      const missing = yield* Verification.verify(databases)
      assert.isFalse(Verification.isRight(missing))
      assert.strictEqual(Verification.format(missing), "appended=4 leftout=1 projected=2 lost=1 doubled=0 reordered=0")
    }).pipe(Effect.provide(NodeServices.layer)))
})
