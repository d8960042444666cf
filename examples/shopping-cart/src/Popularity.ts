/**
 * How many of each product people put into their carts: a projection of the cart service's public events into tables of the
 * analytics service.
 */
import { Handler, Projection } from "@sluice/core"
import { EventConsumer } from "@sluice/grpc"
import { Database, Tables } from "@sluice/sql"
import { Effect } from "effect"
import type { Generated } from "kysely"
import { CartEvents } from "./contract.ts"

export interface AnalyticsTables {
  readonly product: { readonly sku: string; readonly quantity: number }
  /** A row per event, in the order in which they were handled: it shows afterwards whether that was right. */
  readonly handled: { readonly id: Generated<number>; readonly cart: string; readonly sequence_number: number }
}

export const tables = Tables.make<AnalyticsTables>()

export const createTables = Effect.gen(function*() {
  const { run } = yield* Database.Database
  const { schema } = tables
  yield* run(
    schema.createTable("product").ifNotExists()
      .addColumn("sku", "text", (_) => _.primaryKey())
      .addColumn("quantity", "integer", (_) => _.notNull())
  )
  yield* run(
    schema.createTable("handled").ifNotExists()
      .addColumn("id", "integer", (_) => _.primaryKey().autoIncrement())
      .addColumn("cart", "text", (_) => _.notNull())
      .addColumn("sequence_number", "integer", (_) => _.notNull())
  )
})

export const make = (producer: { readonly address: string }) =>
  EventConsumer.source(CartEvents, producer).pipe(
    Projection.exactlyOnce(
      "popularity",
      Handler.grouped({ size: 200, within: "50 millis" }, (envelopes) => {
        const quantities = new Map<string, number>()
        for (const { event } of envelopes) {
          if (event._tag !== "ItemAdded") continue
          quantities.set(event.sku, (quantities.get(event.sku) ?? 0) + event.quantity)
        }
        const handled = envelopes.map(({ persistenceId, sequenceNumber }) => ({
          cart: persistenceId,
          sequence_number: sequenceNumber
        }))
        return Effect.gen(function*() {
          yield* Tables.run(tables.insertInto("handled").values(handled))
          if (quantities.size === 0) return
          yield* Tables.run(
            tables.insertInto("product")
              .values([...quantities].map(([sku, quantity]) => ({ sku, quantity })))
              .onConflict((conflict) =>
                conflict.column("sku").doUpdateSet((_) => ({
                  quantity: _("product.quantity", "+", _.ref("excluded.quantity"))
                }))
              )
          )
        })
      })
    ),
    Projection.workers(4)
  )
