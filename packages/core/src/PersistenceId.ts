/**
 * The identity of one entity in a journal: `type|id`, or `type|id|replica` for a replica of an entity.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { quote, quotedProblem } from "./internal/quote.ts"

/** The character between the parts of a persistence id. */
const separator = "|"

const problemOf = (text: string): string | undefined => {
  const at = text.indexOf(separator)
  if (at < 1 || at === text.length - 1) {
    return `${quote(text)} is no persistence id: 'entityType|entityId', neither of them empty`
  }
  return quotedProblem(text) ?? (
    // no character has more than three bytes for each of its units
    text.length * 3 > maxBytes && new TextEncoder().encode(text).length > maxBytes
      ? `${quote(text)} is longer than ${maxBytes} bytes of UTF-8`
      : undefined
  )
}

/**
 * A persistence id: 3 to 255 bytes of UTF-8 without U+0000, an entity type and an entity id joined by `|`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const PersistenceId = Schema.String.check(
  Schema.makeFilter((text) => problemOf(text), { identifier: "PersistenceId" })
).pipe(Schema.brand("PersistenceId"))

/**
 * The type of a checked persistence id: a string with a brand.
 *
 * @category models
 * @since 0.1.0
 */
export type PersistenceId = typeof PersistenceId.Type

/**
 * The longest persistence id, in bytes of UTF-8: what every database can index.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxBytes = 255

/**
 * The persistence id of an entity. Throws a `RangeError` when a part is empty, when the entity type contains `|`, when there is
 * U+0000 or half a surrogate pair, or when the whole is longer than {@link maxBytes}.
 *
 * **Example** (Naming an entity)
 *
 * ```ts
 * import { PersistenceId } from "@sluice/core"
 *
 * PersistenceId.make("cart", "c-17") // => "cart|c-17"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (entityType: string, entityId: string): PersistenceId => {
  if (entityType.includes(separator)) {
    throw new RangeError(
      `The entity type ${quote(entityType)} contains '|', which separates the parts of a persistence id`
    )
  }
  return parse(`${entityType}${separator}${entityId}`)
}

/**
 * Checks a whole persistence id, as `make` does its parts. Throws a `RangeError`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const parse = (text: string): PersistenceId => {
  const problem = problemOf(text)
  if (problem !== undefined) throw new RangeError(problem)
  return text as PersistenceId
}

/**
 * Whether a value is a persistence id.
 *
 * @category guards
 * @since 0.1.0
 */
export const is = (u: unknown): u is PersistenceId => typeof u === "string" && problemOf(u) === undefined

/**
 * The part before the first `|`.
 *
 * **Example** (Reading the parts back)
 *
 * ```ts
 * import { PersistenceId } from "@sluice/core"
 *
 * const id = PersistenceId.make("cart", "c-17")
 * PersistenceId.entityType(id) // => "cart"
 * PersistenceId.entityId(id) // => "c-17"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const entityType = (self: PersistenceId): string => self.slice(0, self.indexOf(separator))

/**
 * The part after the first `|`, a replica id included.
 *
 * @category getters
 * @since 0.1.0
 */
export const entityId = (self: PersistenceId): string => self.slice(self.indexOf(separator) + 1)
