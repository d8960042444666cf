/**
 * The databases of both services, as a third process sees them, whether the services run or not.
 */
import { Journal, Offset, OffsetStore, Projection, SliceRange } from "@sluice/core"
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
  // the address is of no concern to the key
  const offsetKey = Projection.offsetKey(Popularity.make({ address: "localhost:8101" }))

  return {
    journal,
    cart: Context.get(cart, Database.Database),
    analytics: Context.get(analytics, Database.Database),
    progress: Effect.gen(function*() {
      const { offsets } = yield* offsetStore.load(offsetKey, SliceRange.full)
      const heads = yield* journal.heads(Cart.entityType.name, SliceRange.full)
      return { heads, offsets } satisfies Progress
    })
  }
})

export type Databases = Effect.Success<ReturnType<typeof open>>
