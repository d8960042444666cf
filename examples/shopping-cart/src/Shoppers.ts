/**
 * People who shop over HTTP, two to a cart, at a steady rate. Where no answer comes they repeat what they asked for, with the same `Idempotency-Key`, and
 * they remember what was acknowledged.
 */
import type { Receipt } from "@sluice/core"
import { Clock, Effect, Random } from "effect"
import { FetchHttpClient } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import * as Turns from "../../kit/src/Turns.ts"
import { untilAnswered } from "../../kit/src/untilAnswered.ts"
import type { State } from "./Cart.ts"
import { CartApi } from "./CartApi.ts"

export interface Options {
  /** How many things they do a second. */
  readonly rate: number
  /** Where the carts are: who gets no answer from one tries the next. */
  readonly addresses: ReadonlyArray<string>
}

/** A command that was answered, and where its event stands. */
export interface Acknowledged {
  readonly commandId: string
  readonly receipt: Receipt.Receipt
}

const idOf = (cart: number): string => `c-${cart}`

/** Prices in cents. */
const products: ReadonlyArray<readonly [sku: string, cents: number]> = [
  ["apples", 249],
  ["bread", 389],
  ["butter", 299],
  ["cheese", 579],
  ["chocolate", 199],
  ["coffee", 899],
  ["honey", 649],
  ["milk", 149],
  ["oats", 229],
  ["olives", 349],
  ["rice", 279],
  ["tea", 449]
]

/** What somebody does who sees the cart like that. */
const whim = Effect.fnUntraced(function*(cart: State) {
  const dice = yield* Random.next
  if (dice < 0.1) return { _tag: "TryCoupon", code: `SAVE${yield* Random.nextIntBetween(5, 50)}` } as const
  if (dice < 0.2 && cart.items > 0) return { _tag: "Pay" } as const
  const [sku, cents] = yield* Random.choice(products)
  return { _tag: "PickItem", sku, quantity: yield* Random.nextIntBetween(1, 5), cents } as const
})

export const make = Effect.fn("Shoppers.make")(function*({ addresses, rate }: Options) {
  const clients = yield* Effect.forEach(addresses, (baseUrl) => HttpApiClient.make(CartApi, { baseUrl }))
  /** Of this run alone. */
  const run = crypto.randomUUID()
  const turns = yield* Turns.make(rate)
  const acknowledged: Array<Acknowledged> = []
  const answeredAt = new Map<string, number>()
  let repeated = 0

  /** Asks until there is an answer, and then stays where that has come from. */
  const asking = (home: number) => {
    let at = home
    return <A, E extends { readonly _tag: string }>(
      request: (carts: (typeof clients)[number]["carts"]) => Effect.Effect<A, E>
    ) =>
      untilAnswered((attempt) => {
        if (attempt === 1) repeated++
        if (attempt > 0) at++
        return request(clients[at % clients.length]!.carts)
      })
  }

  /** Does one thing after the other, each when it is this shopper's turn. */
  const shopper = Effect.fnUntraced(function*(name: string, cart: number) {
    const id = idOf(cart)
    const params = { id }
    const ask = asking(cart)
    let seen = yield* ask((carts) => carts.Look({ params }))
    for (let n = 0;; n++) {
      yield* turns.take
      const command = yield* whim(seen)
      const commandId = `${run}/${name}/${n}`
      const headers = { "idempotency-key": commandId }
      const answer = yield* ask((carts) => {
        switch (command._tag) {
          case "Pay":
            return carts.Pay({ params, headers })
          case "TryCoupon":
            return carts.TryCoupon({ params, headers, payload: { code: command.code, shopper: name } })
          case "PickItem": {
            const { cents, quantity, sku } = command
            return carts.PickItem({ params, headers, payload: { cents, quantity, sku, shopper: name } })
          }
        }
      }).pipe(
        // the other one has paid a moment ago
        Effect.catchTag("CartEmpty", () => Effect.undefined)
      )
      answeredAt.set(id, yield* Clock.currentTimeMillis)
      seen = answer?.body ?? { ...seen, items: 0, cents: 0 }
      if (answer !== undefined) acknowledged.push({ commandId, receipt: answer.headers.receipt! })
    }
  })

  const people = Math.min(400, 2 * Math.ceil(rate / 10))
  const ids = Array.from({ length: people / 2 }, (_, cart) => idOf(cart))
  const all = Effect.forEach(
    Array.from({ length: people }, (_, i) => i),
    (i) => Effect.catchTag(shopper(`shopper-${i}`, i >> 1), "Done", () => Effect.void),
    { concurrency: "unbounded", discard: true }
  )

  return {
    /** Goes on until the shop closes; carts that exist already are continued. */
    shop: Effect.raceFirst(turns.give, all),
    /** Nobody begins anything any more; `shop` ends when everybody has an answer. */
    close: turns.end,
    /** All carts. */
    ids,
    /** What was answered, in the order of the answers. */
    acknowledged,
    /** How many commands had to be repeated. */
    repeated: Effect.sync(() => repeated),
    /** When each cart has answered last. */
    answeredAt
  }
}, Effect.provide(FetchHttpClient.layer))

export type Shoppers = Effect.Success<ReturnType<typeof make>>
