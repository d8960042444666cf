/**
 * A shopping cart, as the cart service keeps it: its own events, what they add up to, and what may be done to it.
 */
import { EntityType } from "@sluice/core"
import { Decision, EntityHttp, EventSourced, SnapshotPolicy } from "@sluice/entity"
import { DateTime, Effect, Option, Schema } from "effect"
import { Rpc } from "effect/rpc"
import { type CartEvent, CheckedOut, ItemAdded } from "./contract.ts"

// events: more than others are told

export class ItemPicked extends Schema.TaggedClass<ItemPicked>()("ItemPicked", {
  sku: Schema.String,
  quantity: Schema.Int,
  cents: Schema.Int,
  shopper: Schema.String
}) {}

export class CouponTried extends Schema.TaggedClass<CouponTried>()("CouponTried", {
  code: Schema.String,
  shopper: Schema.String
}) {}

export class Paid extends Schema.TaggedClass<Paid>()("Paid", {
  cents: Schema.Int,
  at: Schema.DateTimeUtcFromString
}) {}

export type Event = ItemPicked | CouponTried | Paid

/** What the events of a large cart are tagged with, so that others can ask for them alone. */
export const large = "large"

/** Every fourth cart is that of a canteen, and the others are those of couples. */
export const isLarge = (id: string): boolean => Number(id.slice(2)) % 4 === 0

export const entityType = EntityType.make("cart", { event: Schema.Union([ItemPicked, CouponTried, Paid]) })

/** What others are told: neither prices nor names, and nothing at all of coupons. */
export const toPublic = (event: Event): Option.Option<CartEvent> => {
  switch (event._tag) {
    case "ItemPicked":
      return Option.some(new ItemAdded({ sku: event.sku, quantity: event.quantity }))
    case "Paid":
      return Option.some(new CheckedOut({ at: event.at }))
    case "CouponTried":
      return Option.none()
  }
}

// what the events add up to, and what may happen next

export const State = Schema.Struct({ isLarge: Schema.Boolean, items: Schema.Int, cents: Schema.Int })
export type State = typeof State.Type

const evolve = (state: State, event: Event): State => {
  switch (event._tag) {
    case "ItemPicked":
      return { ...state, items: state.items + event.quantity, cents: state.cents + event.quantity * event.cents }
    case "Paid":
      return { ...state, items: 0, cents: 0 }
    case "CouponTried":
      return state
  }
}

export class CartEmpty extends Schema.TaggedError<CartEmpty>()("CartEmpty", {}, { httpApiStatus: 409 }) {
  override get message(): string {
    return "There is nothing in the cart to pay for"
  }
}

const quantity = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 }))

const inCart = (state: State): State => state

export const Cart = EventSourced.make(entityType, {
  state: State,
  initial: (id) => ({ isLarge: isLarge(id), items: 0, cents: 0 }),
  commands: [
    Rpc.make("PickItem", {
      payload: { sku: Schema.String, quantity, cents: Schema.Int, shopper: Schema.String },
      success: State
    }),
    Rpc.make("TryCoupon", { payload: { code: Schema.String, shopper: Schema.String }, success: State }),
    Rpc.make("Pay", { success: State, error: CartEmpty }),
    Rpc.make("Look", { success: State }).pipe(EntityHttp.read)
  ],
  decide: {
    PickItem: ({ payload }) => Decision.persist([new ItemPicked(payload)], inCart),
    TryCoupon: ({ payload }) => Decision.persist([new CouponTried(payload)], inCart),
    Pay: ({ state }) =>
      Effect.map(DateTime.now, (at) =>
        state.items === 0
          ? Decision.fail(new CartEmpty())
          : Decision.persist([new Paid({ cents: state.cents, at })], inCart)),
    Look: ({ state }) => Decision.reply(state)
  },
  evolve,
  tags: (state) => state.isLarge ? [large] : [],
  snapshots: SnapshotPolicy.every(50)
})
