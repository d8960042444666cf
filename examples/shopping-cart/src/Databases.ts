/**
 * The databases of both services, as a third process sees them, whether the services run or not.
 */
import { ConsumerFilter, type EventFilter, Journal, Offset, OffsetStore, Projection, SliceRange } from "@sluice/core"
import { Database } from "@sluice/sql"
import { SqliteStorage } from "@sluice/sqlite"
import { Context, Effect, Layer } from "effect"
import * as Cart from "./Cart.ts"
import * as Popularity from "./Popularity.ts"

/** How far the cart service's journal reaches, and the analytics service has come, slice by slice. */
export interface Progress {
  readonly heads: Offset.Offsets
  readonly offsets: Offset.Offsets
}

/** How many events. */
export const count = (offsets: Offset.Offsets): number => Offset.lag(offsets, Offset.none)

export const lag = ({ heads, offsets }: Progress): number => Offset.lag(heads, offsets)

export const open = Effect.fn("Databases.open")(function*(files: {
  readonly cart: string
  readonly analytics: string
}) {
  const cart = yield* Layer.build(SqliteStorage.layer({ filename: files.cart }))
  const analytics = yield* Layer.build(SqliteStorage.layer({ filename: files.analytics }))
  const journal = Context.get(cart, Journal.Journal)
  const offsetStore = Context.get(analytics, OffsetStore.OffsetStore)
  // the address is of no concern to the keys
  const popularity = Popularity.make({ address: "localhost:8101" })
  const offsetKey = Projection.offsetKey(popularity)

  return {
    journal,
    cart: Context.get(cart, Database.Database),
    analytics: Context.get(analytics, Database.Database),
    progress: Effect.gen(function*() {
      const { offsets } = yield* offsetStore.load(offsetKey, SliceRange.full)
      const heads = yield* journal.heads(Cart.entityType.name, SliceRange.full)
      return { heads, offsets } satisfies Progress
    }),
    /** Which carts the analytics service asks for. */
    filter: Effect.map(ConsumerFilter.get(popularity), ({ filter }) => filter).pipe(Effect.provideContext(analytics)),
    /** Lets it ask for others, while it runs in a process of its own. */
    ask: (filter: (before: EventFilter.EventFilter) => EventFilter.EventFilter, reason: string) =>
      ConsumerFilter.update(popularity, filter, { by: "npm start", reason }).pipe(Effect.provideContext(analytics))
  }
})

export type Databases = Effect.Success<ReturnType<typeof open>>
