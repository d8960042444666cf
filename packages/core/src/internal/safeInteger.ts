/** @internal A constructor of branded numbers that arithmetic in doubles keeps exact. */
export const safeInteger = (what: string) => <N extends number>(n: number): N => {
  if (!Number.isSafeInteger(n) || n < 0) throw new RangeError(`${n} is no ${what}: a safe integer from 0`)
  return n as N
}
