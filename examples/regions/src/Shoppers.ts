/**
 * People who shop over HTTP. A cart has three of them, one in each region; one that is kept in a region has all three there. Where no answer comes they repeat
 * what they asked their region for, with the same `Idempotency-Key`, and they remember what was acknowledged.
 */
import { Clock, Effect, Random, Record } from "effect"
import { FetchHttpClient } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import * as Turns from "../../kit/src/Turns.ts"
import { untilAnswered } from "../../kit/src/untilAnswered.ts"
import * as Cart from "./Cart.ts"
import { CartApi } from "./CartApi.ts"

/** A command that was answered. */
export interface Acknowledged {
  readonly cart: string
  /** Where it was decided, and the number of its event there. */
  readonly region: Cart.Region
  readonly sequenceNumber: number
  /** When the answer came, in milliseconds. */
  readonly at: number
}

const products = ["apples", "bread", "butter", "cheese", "coffee", "honey", "milk", "olives", "rice", "tea"]
const countries = ["de", "fr", "jp", "us"]

/** What somebody does who sees the cart like that. */
const whim = Effect.fnUntraced(function*(seen: Cart.Content) {
  const there = Object.keys(seen)
  if (there.length > 0 && (yield* Random.next) < 0.25) {
    return { _tag: "Remove", sku: yield* Random.choice(there) } as const
  }
  return { _tag: "Add", sku: yield* Random.choice(products), quantity: yield* Random.nextIntBetween(1, 5) } as const
})

export const make = Effect.fn("Shoppers.make")(function*({ addresses, rate }: {
  /** How many things they do a second. */
  readonly rate: number
  readonly addresses: Readonly<Record<Cart.Region, string>>
}) {
  const clients = yield* Effect.all(Record.map(addresses, (baseUrl) => HttpApiClient.make(CartApi, { baseUrl })))
  const turns = yield* Turns.make(rate)
  const acknowledged: Array<Acknowledged> = []
  const carts = Array.from(
    { length: Math.min(100, Math.ceil(rate / 4)) },
    (_, i) => `${countries[i % countries.length]}-${Math.floor(i / countries.length)}`
  )

  const look = (cart: string, region: Cart.Region) =>
    untilAnswered(() => clients[region].carts.Look({ params: { id: cart } }))

  /** Does one thing after the other, each when it is this shopper's turn. */
  const shopper = Effect.fnUntraced(function*(name: string, cart: string, region: Cart.Region) {
    const params = { id: cart }
    const { Add, Remove } = clients[region].carts
    let seen = yield* look(cart, region)
    for (let n = 0;; n++) {
      yield* turns.take
      const command = yield* whim(seen)
      const headers = { "idempotency-key": `${name}/${n}` }
      const answer = yield* untilAnswered(() => {
        const { sku } = command
        return command._tag === "Add"
          ? Add({ params, headers, payload: { sku, quantity: command.quantity } })
          : Remove({ params, headers, payload: { sku } })
      })
      seen = answer.body
      const { sequenceNumber } = answer.headers.receipt!
      acknowledged.push({ cart, region, sequenceNumber, at: yield* Clock.currentTimeMillis })
    }
  })

  const people = carts.flatMap((cart) => Cart.regions.map((region) => ({ cart, region: Cart.homeOf(cart) ?? region })))
  const all = Effect.forEach(
    people,
    ({ cart, region }, i) => Effect.catchTag(shopper(`shopper-${i}`, cart, region), "Done", () => Effect.void),
    { concurrency: "unbounded", discard: true }
  )

  return {
    /** Goes on until the shop closes. */
    shop: Effect.raceFirst(turns.give, all),
    /** Nobody begins anything any more; `shop` ends when everybody has an answer. */
    close: turns.end,
    /** What was answered, in the order of the answers. */
    acknowledged,
    carts,
    /** What a region has of a cart. */
    look
  }
}, Effect.provide(FetchHttpClient.layer))

export type Shoppers = Effect.Success<ReturnType<typeof make>>
