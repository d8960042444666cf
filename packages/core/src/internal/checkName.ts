import * as PersistenceId from "../PersistenceId.ts"
import { quote, quotedProblem } from "./quote.ts"

/** Leaves half of a persistence id to the entity id. */
const maxBytes = 128

/** @internal Throws a `RangeError` for what is no entity type's name. */
export const checkEntityType = (name: string): void => {
  if (new TextEncoder().encode(name).length > maxBytes) {
    throw new RangeError(`The entity type ${quote(name)} is longer than ${maxBytes} bytes`)
  }
  PersistenceId.make(name, "id")
}

/** @internal Throws a `RangeError` for what is no name of a projection, or may be that of a version of one. */
export const checkProjectionName = (name: string): void => {
  checkName("name for a projection", name)
  if (/@\d+$/.test(name)) {
    throw new RangeError(
      `No name for a projection: ${
        quote(name)
      } ends like that of a version. Give it the name alone, and say which version it is with Projection.version`
    )
  }
}

/** @internal Throws a `RangeError` for what is no name of a projection, a stream or a source. Every database can index 255 characters. */
export const checkName = (what: string, name: string, maxLength = 255): void => {
  const problem = name === "" || name.length > maxLength
    ? `${quote(name)} has not 1 to ${maxLength} characters`
    : quotedProblem(name)
  if (problem !== undefined) throw new RangeError(`No ${what}: ${problem}`)
}
