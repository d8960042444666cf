/** @internal Is told of an invariant that does not hold, and of what shows it. */
export type Violate = (invariant: string, message: string) => void
