/**
 * A number that only grows, and that every replica may add to.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { amountOf, NaturalAmount } from "./internal/amounts.ts"

/**
 * A number that only grows.
 *
 * **Details**
 *
 * Its deltas may come in any order, each of them once, which a replicated entity sees to. It is as large as its number.
 *
 * @category models
 * @since 0.1.0
 */
export interface GCounter {
  readonly value: bigint
}

/**
 * What was added: the event.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delta {
  readonly _tag: "GCounterIncremented"
  readonly amount: bigint
}

/**
 * The counter as a schema: in JSON its digits, as a text.
 *
 * @category schemas
 * @since 0.1.0
 */
export const schema = Schema.Struct({ value: NaturalAmount })

/**
 * The delta as a schema.
 *
 * @category schemas
 * @since 0.1.0
 */
export const delta = Schema.TaggedStruct("GCounterIncremented", { amount: NaturalAmount })

/**
 * The counter at 0.
 *
 * @category constants
 * @since 0.1.0
 */
export const empty: GCounter = { value: BigInt(0) }

/**
 * The delta that adds a number; 1 if nothing is said. Throws a `RangeError` for what is negative or no safe integer.
 *
 * **Example** (Two replicas count)
 *
 * ```ts
 * import { GCounter } from "@sluice/replication"
 *
 * const inEurope = GCounter.increment(2)
 * const inAsia = GCounter.increment()
 * const views = [inEurope, inAsia].reduce(GCounter.apply, GCounter.empty)
 * Number(views.value) // => 3
 * ```
 *
 * @category deltas
 * @since 0.1.0
 */
export const increment = (amount: number | bigint = 1): Delta => {
  const added = amountOf(amount)
  if (added < 0) throw new RangeError(`a GCounter never goes down, so ${added} cannot be added: take a Counter`)
  return { _tag: "GCounterIncremented", amount: added }
}

/**
 * The counter after a delta.
 *
 * @category combinators
 * @since 0.1.0
 */
export const apply = (self: GCounter, delta: Delta): GCounter => ({ value: self.value + delta.amount })
