/** Whole numbers of any size, as counters add them. */
import * as Schema from "effect/Schema"

/** @internal A number in JSON, as a text of its digits. It is bounded so that a hostile one costs no time to be read. */
export const Amount = Schema.String.check(Schema.isMaxLength(1_000)).pipe(Schema.decodeTo(Schema.BigIntFromString))

/** @internal A number that is not negative. */
export const NaturalAmount = Amount.check(Schema.isGreaterThanOrEqualToBigInt(BigInt(0)))

/** @internal A whole number of either type. Throws a `RangeError` for what is none. */
export const amountOf = (amount: number | bigint): bigint => {
  if (typeof amount === "number" && !Number.isSafeInteger(amount)) {
    throw new RangeError(`${amount} is no amount: a safe integer, or a bigint`)
  }
  return BigInt(amount)
}
