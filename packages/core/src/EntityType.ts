/**
 * A kind of entity: the name that its persistence ids begin with, and the events that its journal holds.
 *
 * @since 0.1.0
 */
import { codecOf, type Contract } from "./Contract.ts"
import type * as EventCodec from "./EventCodec.ts"
import { checkEntityType } from "./internal/checkName.ts"
import * as PersistenceId from "./PersistenceId.ts"

/**
 * A kind of entity: its name, and how its events are stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface EntityType<in out A, out Name extends string = string> {
  readonly name: Name
  readonly codec: EventCodec.EventCodec<A>
}

/**
 * An entity type. Throws a `RangeError` when the name is empty, contains `|`, U+0000 or half a surrogate pair, or is
 * longer than 128 bytes.
 *
 * **Example** (An entity type with two events)
 *
 * ```ts
 * import { EntityType } from "@sluice/core"
 * import { Schema } from "effect"
 *
 * class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
 * class CheckedOut extends Schema.TaggedClass<CheckedOut>()("CheckedOut", {}) {}
 *
 * const Cart = EntityType.make("cart", { event: Schema.Union([ItemAdded, CheckedOut]) })
 * Cart.name // => "cart"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, const Name extends string>(name: Name, contract: Contract<A>): EntityType<A, Name> => {
  checkEntityType(name)
  return { name, codec: codecOf(contract) }
}

/**
 * The persistence id of an entity of this type. Throws a `RangeError`, as {@link PersistenceId.make} does.
 *
 * @category getters
 * @since 0.1.0
 */
export const persistenceId = <A>(self: EntityType<A>, entityId: string): PersistenceId.PersistenceId =>
  PersistenceId.make(self.name, entityId)
