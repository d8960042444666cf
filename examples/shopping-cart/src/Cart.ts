/**
 * A shopping cart, as the cart service keeps it: its own events, what they add up to, and what may be done to it.
 */
import { EntityType, Journal } from "@sluice/core"
import { DateTime, Effect, Option, Ref, Result, Schema, Stream } from "effect"
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

export interface State {
  readonly items: number
  readonly cents: number
}

export const empty: State = { items: 0, cents: 0 }

export const evolve = (state: State, event: Event): State => {
  switch (event._tag) {
    case "ItemPicked":
      return { items: state.items + event.quantity, cents: state.cents + event.quantity * event.cents }
    case "Paid":
      return empty
    case "CouponTried":
      return state
  }
}

export type Command =
  | { readonly _tag: "PickItem"; readonly sku: string; readonly quantity: number; readonly cents: number }
  | { readonly _tag: "TryCoupon"; readonly code: string }
  | { readonly _tag: "Pay" }

export class CartEmpty extends Schema.TaggedError<CartEmpty>()("CartEmpty", {}) {
  override get message(): string {
    return "There is nothing in the cart to pay for"
  }
}

export const decide = (
  state: State,
  command: Command,
  by: { readonly shopper: string; readonly at: DateTime.Utc }
): Result.Result<Event, CartEmpty> => {
  switch (command._tag) {
    case "PickItem":
      return Result.succeed(
        new ItemPicked({ sku: command.sku, quantity: command.quantity, cents: command.cents, shopper: by.shopper })
      )
    case "TryCoupon":
      return Result.succeed(new CouponTried({ code: command.code, shopper: by.shopper }))
    case "Pay":
      return state.items === 0
        ? Result.fail(new CartEmpty())
        : Result.succeed(new Paid({ cents: state.cents, at: by.at }))
  }
}

// one person's view of a cart, which others may put things into as well

export interface View {
  readonly id: string
  /** The last event that this view has seen. */
  readonly sequenceNumber: number
  readonly state: State
}

/** Reads the events that the view has not seen. */
const catchUp = Effect.fnUntraced(function*(view: View) {
  return yield* Stream.runFold(
    Journal.read(entityType, view.id, { from: view.sequenceNumber + 1 }),
    () => view,
    ({ id, state }, { event, sequenceNumber }) => ({ id, sequenceNumber, state: evolve(state, event) })
  )
})

/** The cart as it is now. */
export const load = (id: string) => catchUp({ id, sequenceNumber: 0, state: empty })

/**
 * Decides on what the view shows, and appends only if that is still how the cart is: if somebody else was faster, the
 * view catches up and decides again.
 */
export const handle = Effect.fn("Cart.handle")(
  function*(view: Ref.Ref<View>, shopper: string, command: Command) {
    const { id, sequenceNumber, state } = yield* Ref.get(view)
    const event = yield* Effect.fromResult(decide(state, command, { shopper, at: yield* DateTime.now }))
    const written = yield* Journal.append(entityType, {
      id,
      expected: sequenceNumber,
      events: [event],
      tags: isLarge(id) ? [large] : []
    })
    yield* Ref.set(view, { id, sequenceNumber: written.sequenceNumber, state: evolve(state, event) })
  },
  (attempt, view) =>
    attempt.pipe(
      Effect.tapErrorTag("SequenceConflict", () =>
        Effect.flatMap(Effect.flatMap(Ref.get(view), catchUp), (current) => Ref.set(view, current))),
      Effect.retry({
        while: (error) =>
          error._tag === "SequenceConflict"
      })
    )
)
