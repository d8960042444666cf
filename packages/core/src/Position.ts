/**
 * The place of an event in the log of its slice: 1, 2, 3, … without gaps, in the order of the commits.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { safeInteger } from "./internal/safeInteger.ts"

/**
 * A position: a safe integer, 0 before the first event of a log.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Position = Schema.Natural.pipe(Schema.brand("Position"))

/**
 * The type of a checked position: a number with a brand.
 *
 * @category models
 * @since 0.1.0
 */
export type Position = typeof Position.Type

/**
 * A position. Throws a `RangeError` for what is no safe integer from 0.
 *
 * **Example** (Before the first event of a log)
 *
 * ```ts
 * import { Position } from "@sluice/core"
 *
 * Position.make(0) // => 0
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (n: number) => Position = safeInteger("position")
