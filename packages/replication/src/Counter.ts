/**
 * A number that every replica may add to and subtract from.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Amount, amountOf } from "./internal/amounts.ts"

/**
 * A number that goes up and down. It is a bigint, which never overflows: with numbers that are rounded, the sum would depend on the order.
 *
 * **Details**
 *
 * `Number(counter.value)` is it as a number, for JSON and HTTP. Its deltas may come in any order, each of them once, which a replicated entity sees to. It is as large as its number.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counter {
  readonly value: bigint
}

/**
 * By how much the counter was changed: the event.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delta {
  readonly _tag: "CounterUpdated"
  readonly amount: bigint
}

/**
 * The counter as a schema: in JSON its digits, as a text.
 *
 * @category schemas
 * @since 0.1.0
 */
export const schema = Schema.Struct({ value: Amount })

/**
 * The delta as a schema.
 *
 * @category schemas
 * @since 0.1.0
 */
export const delta = Schema.TaggedStruct("CounterUpdated", { amount: Amount })

/**
 * The counter at 0.
 *
 * @category constants
 * @since 0.1.0
 */
export const empty: Counter = { value: BigInt(0) }

/**
 * The delta that adds a number; 1 if nothing is said. Throws a `RangeError` for what is no safe integer.
 *
 * **Example** (Two replicas count)
 *
 * ```ts
 * import { Counter } from "@sluice/replication"
 *
 * const inEurope = Counter.increment(5)
 * const inAsia = Counter.decrement(2)
 * const stock = [inEurope, inAsia].reduce(Counter.apply, Counter.empty)
 * Number(stock.value) // => 3
 * ```
 *
 * @category deltas
 * @since 0.1.0
 */
export const increment = (amount: number | bigint = 1): Delta => ({ _tag: "CounterUpdated", amount: amountOf(amount) })

/**
 * The delta that subtracts a number; 1 if nothing is said. Throws a `RangeError` for what is no safe integer.
 *
 * @category deltas
 * @since 0.1.0
 */
export const decrement = (amount: number | bigint = 1): Delta => ({ _tag: "CounterUpdated", amount: -amountOf(amount) })

/**
 * The counter after a delta.
 *
 * @category combinators
 * @since 0.1.0
 */
export const apply = (self: Counter, delta: Delta): Counter => ({ value: self.value + delta.amount })
