/** @internal The order in which a region stores the events of several others. Throws a `RangeError` where a setting that was read from somewhere says another. */
export const orderOf = (order: "origin" | "causal" | undefined = "origin"): "origin" | "causal" => {
  if (order === "origin" || order === "causal") return order
  throw new RangeError(`the order ${JSON.stringify(order)} is neither "origin" nor "causal"`)
}
