/**
 * The databases of the regions, as another process sees them, whether the regions run or not.
 */
import { Journal, Offset, OffsetStore, Projection, SliceRange } from "@sluice/core"
import { Replication } from "@sluice/replication"
import { SqliteStorage } from "@sluice/sqlite"
import { Context, Effect, Layer, Record, References, Stream } from "effect"
import * as Cart from "./Cart.ts"

export type Each<A> = Readonly<Record<Cart.Region, A>>

/** How far each journal reaches, and how far each region has come in those of the others, slice by slice. */
export interface Progress {
  readonly heads: Each<Offset.Offsets>
  readonly pairs: ReadonlyArray<Pair>
}

export interface Pair {
  readonly from: Cart.Region
  readonly to: Cart.Region
  readonly offsets: Offset.Offsets
}

/** How many events. */
export const count = (offsets: Offset.Offsets): number => Offset.lag(offsets, Offset.none)

/** How many events of one region are still to come to another. */
export const lag = ({ heads }: Pick<Progress, "heads">, { from, offsets }: Pair): number =>
  Offset.lag(heads[from], offsets)

/** An event that a region has of a cart. */
export interface Stored {
  readonly origin: string
  readonly originSequenceNumber: number
}

const open = Effect.fnUntraced(function*(region: Cart.Region, filename: string) {
  const context = yield* Layer.build(Layer.fresh(SqliteStorage.layer({ filename })))
  const journal = Context.get(context, Journal.Journal)
  const offsetStore = Context.get(context, OffsetStore.OffsetStore)
  const others = Cart.regions.filter((other) => other !== region)
  // the addresses are of no concern to the keys
  const keys = Record.fromEntries(
    Replication.projections(Cart.Cart, region, {
      replicas: Record.fromEntries(others.map((id) => [id, { address: "localhost:8101" }]))
    }).map((projection, i) => [others[i]!, Projection.offsetKey(projection)])
  )
  return {
    heads: journal.heads(Cart.entityType.name, SliceRange.full),
    pairs: Effect.forEach(others, (from) =>
      Effect.map(
        offsetStore.load(keys[from]!, SliceRange.full),
        ({ offsets }): Pair => ({ from, to: region, offsets })
      )),
    /** What this region has of a cart, in its order. */
    events: (cart: string) =>
      Stream.runCollect(Journal.read(Cart.entityType, `${cart}|${region}`)).pipe(
        Effect.map((events) => events.map(({ replication }): Stored => replication!)),
        Effect.provideService(Journal.Journal, journal)
      )
  }
}, Effect.provideService(References.MinimumLogLevel, "Warn"))

export const make = Effect.fn("Databases.make")(function*(files: Each<string>) {
  const all = yield* Effect.all(Record.map(files, (filename, region) => open(region, filename)))
  return {
    progress: Effect.gen(function*() {
      // the lag is not more than there was
      const pairs = yield* Effect.forEach(Cart.regions, (region) => all[region].pairs)
      const heads = yield* Effect.all(Record.map(all, ({ heads }) => heads))
      return { heads, pairs: pairs.flat() } satisfies Progress
    }),
    /** What each region has of a cart. */
    events: (cart: string) => Effect.all(Record.map(all, ({ events }) => events(cart)))
  }
})

export type Databases = Effect.Success<ReturnType<typeof make>>
