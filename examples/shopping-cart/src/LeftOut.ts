/**
 * What a filter has kept from the analytics service, as its database and the journal tell.
 */
import { PersistenceId } from "@sluice/core"
import type { SluiceTables } from "@sluice/sql"
import { Tables } from "@sluice/sql"
import { Effect } from "effect"
import * as Cart from "./Cart.ts"
import type { Databases } from "./Databases.ts"
import { tables } from "./Popularity.ts"

const journal = Tables.make<SluiceTables.SluiceTables>()

/** A cart of which the newest events were left out. */
export interface LeftOut {
  readonly id: string
  readonly persistenceId: PersistenceId.PersistenceId
  /** The sequence number of the last event that was handled. */
  readonly handled: number
  /** The sequence number of the newest event. */
  readonly newest: number
  readonly count: number
}

/** The small cart of which most was left out, if there is one. */
export const longest = Effect.fn("LeftOut.longest")(function*({ analytics, cart }: Databases) {
  const rows = yield* analytics.run(
    tables.selectFrom("handled").select((_) => ["cart", _.fn.max("sequence_number").as("last")]).groupBy("cart")
  )
  const handled = new Map(rows.map((row) => [row.cart, row.last]))
  const heads = yield* cart.run(
    journal.selectFrom("sluice_journal").select((_) => ["persistence_id", _.fn.max("sequence_number").as("last")])
      .where("entity_type", "=", Cart.entityType.name).groupBy("persistence_id")
  )
  let found: LeftOut | undefined
  for (const { last: newest, persistence_id } of heads) {
    const persistenceId = PersistenceId.parse(persistence_id)
    const id = PersistenceId.entityId(persistenceId)
    const last = handled.get(persistence_id) ?? 0
    const count = newest - last
    if (!Cart.isLarge(id) && count > (found?.count ?? 0)) found = { id, persistenceId, handled: last, newest, count }
  }
  return found
})

/** How what was left out has come, once a newer event has. */
export const arrival = Effect.fn("LeftOut.arrival")(function*({ analytics }: Databases, leftOut: LeftOut) {
  const rows = yield* analytics.run(
    tables.selectFrom("handled").select("sequence_number").where("cart", "=", leftOut.persistenceId)
      .where("sequence_number", ">", leftOut.handled).orderBy("id")
  )
  const numbers = rows.map((_) => _.sequence_number)
  const at = numbers.findIndex((number) => number > leftOut.newest)
  return at < 0 ? undefined : {
    /** Internal events are none that come. */
    count: at,
    before: numbers[at]!,
    inOrder: numbers.every((number, i) => i === 0 || number > numbers[i - 1]!)
  }
})
