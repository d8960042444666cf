import * as PersistenceId from "../PersistenceId.ts"

/** Leaves half of a persistence id to the entity id. */
const maxBytes = 128

/** @internal Throws a `RangeError` for what is no entity type's name. */
export const checkName = (name: string): void => {
  if (new TextEncoder().encode(name).length > maxBytes) {
    throw new RangeError(`The entity type '${name}' is longer than ${maxBytes} bytes`)
  }
  PersistenceId.make(name, "id")
}
