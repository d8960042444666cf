/**
 * Integers of a database as numbers, which hold them exactly up to 2^53.
 *
 * @since 0.1.0
 */

/**
 * The integer as a number. Throws a `RangeError` if a number cannot hold it exactly.
 *
 * **Example** (One that fits, and one that does not)
 *
 * ```ts
 * import * as SafeInteger from "@sluice/sql/adapter/SafeInteger"
 *
 * SafeInteger.from("17") // => 17
 * let message = ""
 * try {
 *   SafeInteger.from("9007199254740993")
 * } catch (error) {
 *   message = String(error)
 * }
 * message // => "RangeError: 9007199254740993 is no safe integer: select it as text"
 * ```
 *
 * @category converting
 * @since 0.1.0
 */
export const from = (integer: string | bigint): number => {
  const number = Number(integer)
  if (!Number.isSafeInteger(number)) throw new RangeError(`${integer} is no safe integer: select it as text`)
  return number
}
