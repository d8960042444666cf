/** @internal Says that an invariant does not hold, by its name. */
export type Violate = (invariant: string, message: string) => void
