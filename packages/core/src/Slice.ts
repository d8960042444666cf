/**
 * One of the 1024 parts that every entity type's journal is divided into. An entity belongs to the slice that its
 * persistence id hashes to, for ever, the same one as in Akka.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The number of slices. It is the same in every system that replicates with another, and never changes.
 *
 * @category constants
 * @since 0.1.0
 */
export const count = 1024

/**
 * A slice: an integer from 0 to 1023.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Slice = Schema.Natural.check(Schema.isLessThan(count)).pipe(Schema.brand("Slice"))

/**
 * The type of a checked slice: a number with a brand.
 *
 * @category models
 * @since 0.1.0
 */
export type Slice = typeof Slice.Type

/**
 * A slice. Throws a `RangeError` for what is no integer from 0 to 1023.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (n: number): Slice => {
  if (!Number.isInteger(n) || n < 0 || n >= count) throw new RangeError(`${n} is no slice: an integer from 0 to 1023`)
  return n as Slice
}

/**
 * The slice of an entity: the absolute value of Java's `String.hashCode`, over UTF-16 units, modulo 1024.
 *
 * **Example** (The slice of an entity)
 *
 * ```ts
 * import { Slice } from "@sluice/core"
 *
 * Slice.ofPersistenceId("ShoppingCart|cart1") // => 803
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const ofPersistenceId = (persistenceId: string): Slice => {
  let hash = 0
  for (let i = 0; i < persistenceId.length; i++) hash = Math.imul(31, hash) + persistenceId.charCodeAt(i) | 0
  return Math.abs(hash % count) as Slice
}
