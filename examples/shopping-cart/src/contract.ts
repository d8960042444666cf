/**
 * What the cart service tells others: the contract that both services share.
 */
import { EventStream } from "@sluice/core"
import { Schema } from "effect"

export class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", {
  sku: Schema.String,
  quantity: Schema.Int
}) {}

export class CheckedOut extends Schema.TaggedClass<CheckedOut>()("CheckedOut", {
  at: Schema.DateTimeUtcFromString
}) {}

export type CartEvent = ItemAdded | CheckedOut

export const CartEvents = EventStream.make("carts", { event: Schema.Union([ItemAdded, CheckedOut]) })
