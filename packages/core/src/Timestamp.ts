/**
 * When an event was written, by its database's clock: strictly increasing within the log of a slice.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { safeInteger } from "./internal/safeInteger.ts"

/**
 * Microseconds since the epoch, as a safe integer (until the year 2255). Never a JavaScript `Date`, which has only
 * milliseconds.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Timestamp = Schema.Natural.pipe(Schema.brand("Timestamp"))

/**
 * The type of a checked timestamp: a number with a brand.
 *
 * @category models
 * @since 0.1.0
 */
export type Timestamp = typeof Timestamp.Type

/**
 * A timestamp. Throws a `RangeError` for what is no safe integer from 0.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (microseconds: number) => Timestamp = safeInteger("timestamp")

/**
 * A timestamp from milliseconds since the epoch, as `Date.now` counts them.
 *
 * **Example** (From milliseconds)
 *
 * ```ts
 * import { Timestamp } from "@sluice/core"
 *
 * Timestamp.fromMillis(1_700_000_000_000) // => 1_700_000_000_000_000
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromMillis = (milliseconds: number): Timestamp => make(Math.trunc(milliseconds) * 1000)

/**
 * Whole milliseconds since the epoch, for `new Date` or `DateTime.makeUnsafe`.
 *
 * @category getters
 * @since 0.1.0
 */
export const toMillis = (self: Timestamp): number => Math.trunc(self / 1000)
