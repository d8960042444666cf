import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { EventSourced } from "@sluice/entity"
import { Database } from "@sluice/sql"
import { SqliteStorage } from "@sluice/sqlite"
import { Effect, FileSystem, Layer } from "effect"
import { sql } from "kysely"
import * as Cart from "../src/Cart.ts"
import * as Commands from "../src/Commands.ts"

const right = { lost: 0, doubled: 0, gaps: 0 }

describe("Commands", () => {
  it("finds nothing wrong where each was applied once, those included that nobody has heard of", () => {
    const events = ["a", "b", undefined, "c"].map((commandId, i) => ({ sequenceNumber: i + 1, commandId }))
    assert.deepStrictEqual(Commands.compare(events, []), right)
    assert.deepStrictEqual(
      Commands.compare(events, [{ commandId: "c", sequenceNumber: 4 }, { commandId: "a", sequenceNumber: 1 }]),
      right
    )
  })

  it("finds what was lost, or is not where it was said to be", () => {
    const events = [{ sequenceNumber: 1, commandId: "a" }]
    assert.deepStrictEqual(Commands.compare(events, [{ commandId: "b", sequenceNumber: 2 }]), { ...right, lost: 1 })
    assert.deepStrictEqual(Commands.compare(events, [{ commandId: "a", sequenceNumber: 2 }]), { ...right, lost: 1 })
  })

  it("finds what was applied again, and numbers that are missing", () => {
    assert.deepStrictEqual(
      Commands.compare([
        { sequenceNumber: 1, commandId: "a" },
        { sequenceNumber: 2, commandId: "a" },
        { sequenceNumber: 4, commandId: "b" }
      ], []),
      { ...right, doubled: 1, gaps: 1 }
    )
  })

  it.live("compares what was acknowledged with the journal", () =>
    Effect.gen(function*() {
      const folder = yield* FileSystem.FileSystem.use((fs) => fs.makeTempDirectoryScoped({ prefix: "commands-test-" }))
      yield* Effect.gen(function*() {
        const carts = yield* EventSourced.client(Cart.Cart)
        const tea = { sku: "tea", quantity: 2, cents: 449, shopper: "ann" }
        const pick = (id: string, commandId: string) =>
          Effect.map(
            carts(id).PickItem.withReceipt(tea, { commandId }),
            ({ receipt }) => ({ commandId, receipt: receipt! })
          )
        const acknowledged = [yield* pick("c-1", "a"), yield* pick("c-2", "b"), yield* pick("c-1", "c")]
        const database = yield* Database.Database

        const report = yield* Commands.verify(database, acknowledged)
        assert.deepStrictEqual(report, { ...right, acknowledged: 3, events: 3 })
        assert.isTrue(Commands.isRight(report))

        // applied again, without its id being looked for
        yield* database.run(sql`DELETE FROM sluice_journal WHERE persistence_id = 'cart|c-2'`)
        const { receipt } = yield* carts("c-1").PickItem.withReceipt(tea, { commandId: "d" })
        yield* database.run(
          sql`UPDATE sluice_journal SET metadata = replace(metadata, '[\\"d\\"', '[\\"a\\"') WHERE position = ${
            receipt!.position
          } AND slice = ${receipt!.slice}`
        )
        const wrong = yield* Commands.verify(database, acknowledged)
        assert.deepStrictEqual(wrong, { lost: 1, doubled: 1, gaps: 0, acknowledged: 3, events: 3 })
        assert.isFalse(Commands.isRight(wrong))
      }).pipe(
        Effect.provide(
          EventSourced.layerPlain(Cart.Cart).pipe(
            Layer.provideMerge(SqliteStorage.layer({ filename: `${folder}/cart.db` }))
          )
        )
      )
    }).pipe(Effect.provide(NodeServices.layer)))
})
