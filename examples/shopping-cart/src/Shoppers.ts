/**
 * People who shop, two to a cart, at a steady rate.
 */
import { Clock, Effect, Queue, Random, Ref, Schedule } from "effect"
import * as Cart from "./Cart.ts"

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
const whim = Effect.fnUntraced(function*({ state }: Cart.View) {
  const dice = yield* Random.next
  if (dice < 0.1) return { _tag: "TryCoupon", code: `SAVE${yield* Random.nextIntBetween(5, 50)}` } as const
  if (dice < 0.2 && state.items > 0) return { _tag: "Pay" } as const
  const [sku, cents] = yield* Random.choice(products)
  return { _tag: "PickItem", sku, quantity: yield* Random.nextIntBetween(1, 5), cents } as const
})

/** Does one thing after the other, each when it is this shopper's turn. */
const shopper = Effect.fnUntraced(function*(name: string, cart: string, turns: Queue.Dequeue<void>) {
  const view = yield* Ref.make(yield* Cart.load(cart))
  const step = Queue.take(turns).pipe(
    Effect.andThen(Effect.flatMap(Ref.get(view), whim)),
    Effect.flatMap((command) => Cart.handle(view, name, command)),
    // the other one has paid a moment ago
    Effect.catchTag("CartEmpty", () => Effect.void),
    // another process has the file's lock: nothing was written
    Effect.retry({
      while: (error) => error._tag === "StorageError" && error.isRetryable,
      schedule: Schedule.jittered(Schedule.spaced("100 millis"))
    })
  )
  return yield* Effect.forever(step)
})

/** As many turns a second as the rate says. What cannot be taken within a second is lost, not made up for. */
const pace = Effect.fnUntraced(function*(turns: Queue.Enqueue<void>, rate: number) {
  const start = yield* Clock.currentTimeMillis
  let given = 0
  const give = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const due = Math.floor((now - start) * rate / 1000) - given
    given += due
    return Queue.offerAll(turns, Array.from({ length: due }, () => {}))
  })
  return yield* Effect.andThen(Effect.repeat(give, Schedule.spaced("10 millis")), Effect.never)
})

/** Goes on until it is interrupted; carts that exist already are continued. */
export const shop = Effect.fn("Shoppers.shop")(function*(rate: number) {
  const turns = yield* Queue.dropping<void>(rate)
  const people = Math.min(400, 2 * Math.ceil(rate / 10))
  const shoppers = Array.from({ length: people }, (_, i) => shopper(`shopper-${i}`, `c-${i >> 1}`, turns))
  return yield* Effect.raceFirst(
    pace(turns, rate),
    Effect.forEach(shoppers, (_) => _, { concurrency: "unbounded", discard: true })
  )
})
