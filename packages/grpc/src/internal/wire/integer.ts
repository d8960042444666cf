/** @internal Everything that is received is checked here; what does not fit throws, with a text for the other side. */
export const integer = (value: bigint): number => {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw new RangeError(`${value} is no safe integer`)
  return number
}
