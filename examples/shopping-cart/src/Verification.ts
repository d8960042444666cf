/**
 * Whether every public event had its effect in the analytics service's tables, once and in order: straight from the tables of
 * both databases, whatever the services think of it.
 */
import type { SluiceTables } from "@sluice/sql"
import { Tables } from "@sluice/sql"
import { Effect, Option } from "effect"
import * as Cart from "./Cart.ts"
import type { Databases } from "./Databases.ts"
import { tables } from "./Popularity.ts"

export interface Difference {
  readonly sku: string
  readonly appended: number
  readonly projected: number
}

export interface Report {
  /** All events of the journal. */
  readonly events: number
  /** Those that are public. */
  readonly appended: number
  /** Those that were handled, and how often they were. */
  readonly projected: number
  readonly lost: number
  readonly doubled: number
  readonly reordered: number
  /** Handled, though there is no such public event. */
  readonly foreign: number
  readonly products: number
  readonly differences: ReadonlyArray<Difference>
}

export const isRight = (_: Report): boolean =>
  _.appended === _.projected && _.lost + _.doubled + _.reordered + _.foreign + _.differences.length === 0

export const format = (_: Report): string =>
  `appended=${_.appended} projected=${_.projected} lost=${_.lost} doubled=${_.doubled} reordered=${_.reordered}`

/** The sequence numbers of one cart's public events, and those that were handled, in the order in which they were. */
export const compareCart = (appended: ReadonlySet<number>, handled: ReadonlyArray<number>) => {
  const seen = new Set<number>()
  const found = { lost: 0, doubled: 0, reordered: 0, foreign: 0 }
  let last = 0
  for (const sequenceNumber of handled) {
    if (!appended.has(sequenceNumber)) found.foreign++
    else if (seen.has(sequenceNumber)) found.doubled++
    else if (sequenceNumber < last) found.reordered++
    seen.add(sequenceNumber)
    last = Math.max(last, sequenceNumber)
  }
  for (const sequenceNumber of appended) if (!seen.has(sequenceNumber)) found.lost++
  return found
}

export const compareProducts = (
  appended: ReadonlyMap<string, number>,
  projected: ReadonlyMap<string, number>
): ReadonlyArray<Difference> =>
  [...new Set([...appended.keys(), ...projected.keys()])].toSorted()
    .map((sku) => ({ sku, appended: appended.get(sku) ?? 0, projected: projected.get(sku) ?? 0 }))
    .filter((_) => _.appended !== _.projected)

const journal = Tables.make<SluiceTables.SluiceTables>()

export const verify = Effect.fn("Verification.verify")(function*({ analytics, cart }: Databases) {
  const carts = new Set<string>()
  for (
    const row of yield* cart.run(
      journal.selectFrom("sluice_journal").select("persistence_id").distinct()
        .where("entity_type", "=", Cart.entityType.name)
    )
  ) carts.add(row.persistence_id)
  for (const row of yield* analytics.run(tables.selectFrom("handled").select("cart").distinct())) carts.add(row.cart)

  const total = { events: 0, appended: 0, projected: 0, lost: 0, doubled: 0, reordered: 0, foreign: 0 }
  const quantities = new Map<string, number>()
  for (const id of carts) {
    const events = yield* cart.run(
      journal.selectFrom("sluice_journal").select(["sequence_number", "manifest", "payload"])
        .where("persistence_id", "=", id).orderBy("sequence_number")
    )
    const handled = yield* analytics.run(
      tables.selectFrom("handled").select("sequence_number").where("cart", "=", id).orderBy("id")
    )
    const appended = new Set<number>()
    for (const { manifest, payload, sequence_number } of events) {
      const event = Cart.toPublic(Cart.entityType.codec.decodeUnsafe({ manifest, bytes: payload! }))
      if (Option.isNone(event)) continue
      appended.add(sequence_number)
      if (event.value._tag !== "ItemAdded") continue
      const { quantity, sku } = event.value
      quantities.set(sku, (quantities.get(sku) ?? 0) + quantity)
    }
    const found = compareCart(appended, handled.map((_) => _.sequence_number))
    total.events += events.length
    total.appended += appended.size
    total.projected += handled.length
    total.lost += found.lost
    total.doubled += found.doubled
    total.reordered += found.reordered
    total.foreign += found.foreign
  }
  const products = yield* analytics.run(tables.selectFrom("product").select(["sku", "quantity"]))
  const projected = new Map(products.map((_) => [_.sku, _.quantity]))
  return {
    ...total,
    products: projected.size,
    differences: compareProducts(quantities, projected)
  } satisfies Report
})
