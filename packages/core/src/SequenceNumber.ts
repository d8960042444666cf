/**
 * The number of an event within its entity: 1, 2, 3, … without gaps.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { safeInteger } from "./internal/safeInteger.ts"

/**
 * A sequence number: a safe integer, 0 where there is no event yet.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SequenceNumber = Schema.Natural.pipe(Schema.brand("SequenceNumber"))

/**
 * The type of a checked sequence number: a number with a brand.
 *
 * @category models
 * @since 0.1.0
 */
export type SequenceNumber = typeof SequenceNumber.Type

/**
 * A sequence number. Throws a `RangeError` for what is no safe integer from 0.
 *
 * **Example** (The third event of an entity)
 *
 * ```ts
 * import { SequenceNumber } from "@sluice/core"
 *
 * SequenceNumber.make(3) // => 3
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (n: number) => SequenceNumber = safeInteger("sequence number")
