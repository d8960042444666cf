/**
 * Whether every public event had its effect in the analytics service's tables, once and in order: straight from the tables of
 * both databases, whatever the services think of it.
 */
import { EventFilter, PersistenceId } from "@sluice/core"
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
  /** Those that the analytics service did not ask for, at the end of their carts. */
  readonly leftOut: number
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
  _.appended === _.leftOut + _.projected && _.lost + _.doubled + _.reordered + _.foreign + _.differences.length === 0

export const format = (_: Report): string =>
  `appended=${_.appended} leftout=${_.leftOut} projected=${_.projected} lost=${_.lost} doubled=${_.doubled} reordered=${_.reordered}`

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

/**
 * The public events that have to be handled: up to the last one that the filter lets through, or that was handled. What comes later of a cart was left
 * out. Nothing may be missing before it, as a cart comes from its first event on.
 */
export const expected = <Event extends { readonly sequenceNumber: number }>(
  events: ReadonlyArray<Event>,
  passes: (event: Event) => boolean,
  handled: ReadonlyArray<number>
): ReadonlyArray<Event> => {
  const last = Math.max(events.findLast(passes)?.sequenceNumber ?? 0, ...handled)
  return events.filter(({ sequenceNumber }) => sequenceNumber <= last)
}

export const compareProducts = (
  appended: ReadonlyMap<string, number>,
  projected: ReadonlyMap<string, number>
): ReadonlyArray<Difference> =>
  [...new Set([...appended.keys(), ...projected.keys()])].toSorted()
    .map((sku) => ({ sku, appended: appended.get(sku) ?? 0, projected: projected.get(sku) ?? 0 }))
    .filter((_) => _.appended !== _.projected)

const journal = Tables.make<SluiceTables.SluiceTables>()

export const verify = Effect.fn("Verification.verify")(function*({ analytics, cart, filter }: Databases) {
  const passes = EventFilter.compile(yield* filter)
  const carts = new Set<string>()
  for (
    const row of yield* cart.run(
      journal.selectFrom("sluice_journal").select("persistence_id").distinct()
        .where("entity_type", "=", Cart.entityType.name)
    )
  ) carts.add(row.persistence_id)
  for (const row of yield* analytics.run(tables.selectFrom("handled").select("cart").distinct())) carts.add(row.cart)

  const total = { events: 0, appended: 0, leftOut: 0, projected: 0, lost: 0, doubled: 0, reordered: 0, foreign: 0 }
  const quantities = new Map<string, number>()
  for (const id of carts) {
    const events = yield* cart.run(
      journal.selectFrom("sluice_journal").select(["sequence_number", "manifest", "payload", "tags"])
        .where("persistence_id", "=", id).orderBy("sequence_number")
    )
    const rows = yield* analytics.run(
      tables.selectFrom("handled").select("sequence_number").where("cart", "=", id).orderBy("id")
    )
    const handled = rows.map((_) => _.sequence_number)
    const persistenceId = PersistenceId.parse(id)
    const publicEvents = events.flatMap(({ manifest, payload, sequence_number, tags }) =>
      Option.match(Cart.toPublic(Cart.entityType.codec.decodeUnsafe({ manifest, bytes: payload! })), {
        onNone: () => [],
        onSome: (event) => [{ sequenceNumber: sequence_number, event, tags: tags === null ? [] : JSON.parse(tags) }]
      })
    )
    const asked = expected(publicEvents, ({ tags }) => passes({ persistenceId, tags }), handled)
    for (const { event } of asked) {
      if (event._tag !== "ItemAdded") continue
      quantities.set(event.sku, (quantities.get(event.sku) ?? 0) + event.quantity)
    }
    const found = compareCart(new Set(asked.map((_) => _.sequenceNumber)), handled)
    total.events += events.length
    total.appended += publicEvents.length
    total.leftOut += publicEvents.length - asked.length
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
