import * as EntityType from "@sluice/core/EntityType"
import type { Journal } from "@sluice/core/Journal"
import type { Receipt } from "@sluice/core/Receipt"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as Decision from "@sluice/entity/Decision"
import type { Acknowledged, EntityClient, Runs } from "@sluice/entity/EntityClient"
import type { EntityError } from "@sluice/entity/EntityError"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { describe, expect, test } from "tstyche"

class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
class CheckedOut extends Schema.TaggedClass<CheckedOut>()("CheckedOut", {}) {}
class CouponTried extends Schema.TaggedClass<CouponTried>()("CouponTried", { code: Schema.String }) {}
class CartIsCheckedOut extends Schema.TaggedError<CartIsCheckedOut>()("CartIsCheckedOut", {}) {}
class CartIsEmpty extends Schema.TaggedError<CartIsEmpty>()("CartIsEmpty", {}) {}
class Prices
  extends Context.Service<Prices, { readonly of: (sku: string) => Effect.Effect<number> }>()("test/Prices")
{}
class Mail extends Context.Service<Mail, { readonly send: Effect.Effect<void, Error> }>()("test/Mail") {}

const CartType = EntityType.make("cart", { event: Schema.Union([ItemAdded, CheckedOut]) })
const State = Schema.Struct({ items: Schema.Record(Schema.String, Schema.Int), isCheckedOut: Schema.Boolean })
type State = typeof State.Type
const initial: State = { items: {}, isCheckedOut: false }
const AddItem = Rpc.make("AddItem", {
  payload: { sku: Schema.String, quantity: Schema.Int },
  success: Schema.Int,
  error: CartIsCheckedOut
})
const CheckOut = Rpc.make("CheckOut", { error: CartIsEmpty })
const GetItems = Rpc.make("GetItems", { success: Schema.Record(Schema.String, Schema.Int) })
const evolve = (state: State, event: ItemAdded | CheckedOut): State =>
  event._tag === "CheckedOut"
    ? { ...state, isCheckedOut: true }
    : { ...state, items: { ...state.items, [event.sku]: (state.items[event.sku] ?? 0) + event.quantity } }
const count = (state: State): number => Object.values(state.items).reduce((a, b) => a + b, 0)

const Cart = EventSourced.make(CartType, {
  state: State,
  initial,
  commands: [AddItem, CheckOut, GetItems],
  decide: {
    AddItem: ({ payload, state }) => {
      expect(payload).type.toBe<{ readonly sku: string; readonly quantity: number }>()
      expect(state).type.toBe<State>()
      return state.isCheckedOut
        ? Decision.fail(new CartIsCheckedOut())
        : Decision.persist([new ItemAdded(payload)], (state) => {
          expect(state).type.toBe<State>()
          return count(state)
        })
    },
    CheckOut: ({ state }) =>
      count(state) === 0 ? Decision.fail(new CartIsEmpty()) : Decision.persist([new CheckedOut()]),
    GetItems: ({ state }) => Decision.reply(state.items)
  },
  evolve,
  tags: (state) => count(state) >= 10 ? ["large"] : [],
  snapshots: SnapshotPolicy.every(100)
})

type Commands = typeof AddItem | typeof CheckOut | typeof GetItems

test("a definition has the types of all that it is made of", () => {
  expect(Cart).type.toBe<
    EventSourced.EventSourced<"cart", Commands, ItemAdded | CheckedOut, State>
  >()
  expect(EventSourced.client(Cart)).type.toBe<Effect.Effect<EntityClient<Commands>, never, Runs<"cart">>>()
  expect(EventSourced.layerPlain(Cart)).type.toBe<Layer.Layer<Runs<"cart">, never, Journal | SnapshotStore>>()
})

describe("a client", () => {
  const carts = null as unknown as EntityClient<Commands>

  test("has a function for each command, with its reply and its errors", () => {
    expect(carts("c-1").AddItem({ sku: "tea", quantity: 2 })).type.toBe<
      Effect.Effect<number, CartIsCheckedOut | EntityError>
    >()
    expect(carts("c-1").CheckOut()).type.toBe<Effect.Effect<void, CartIsEmpty | EntityError>>()
    expect(carts("c-1").CheckOut(undefined, { commandId: "1" })).type.toBe<
      Effect.Effect<void, CartIsEmpty | EntityError>
    >()
    expect(carts("c-1").GetItems()).type.toBe<Effect.Effect<{ readonly [x: string]: number }, EntityError>>()
    expect(carts("c-1").AddItem.withReceipt({ sku: "tea", quantity: 2 }, { commandId: "1" })).type.toBe<
      Effect.Effect<Acknowledged<number>, CartIsCheckedOut | EntityError>
    >()
  })

  test("refuses what is no command, and another payload", () => {
    expect(carts("c-1")).type.not.toHaveProperty("RemoveItem")
    expect(carts("c-1").AddItem).type.not.toBeCallableWith({ sku: "tea" })
    expect(carts("c-1").AddItem).type.not.toBeCallableWith({ sku: "tea", quantity: "2" })
    expect(carts("c-1").AddItem).type.not.toBeCallableWith()
    expect(carts("c-1").CheckOut).type.not.toBeCallableWith({ sku: "tea" })
    expect(carts).type.not.toBeCallableWith(17)
  })
})

describe("decide", () => {
  const one = { state: State, initial, commands: [CheckOut, AddItem], evolve } as const

  test("may be an effect, whose requirements the layer has", () => {
    const Priced = EventSourced.make(CartType, {
      ...one,
      decide: {
        AddItem: Effect.fnUntraced(function*({ payload }) {
          const price = yield* (yield* Prices).of(payload.sku)
          if (price > 3) return yield* new CartIsCheckedOut()
          return Decision.persist([new ItemAdded(payload)], price)
        }),
        CheckOut: () =>
          Decision.persist([new CheckedOut()]).pipe(Decision.andThen(() => Effect.andThen(Mail, (_) => _.send)))
      }
    })
    expect(EventSourced.layerPlain(Priced)).type.toBe<
      Layer.Layer<Runs<"cart">, never, Prices | Mail | Journal | SnapshotStore>
    >()
  })

  test("knows the request where it is an arrow with an effect", () => {
    EventSourced.make(CartType, {
      ...one,
      commands: [AddItem],
      decide: {
        AddItem: ({ payload, state }) =>
          Effect.gen(function*() {
            expect(payload).type.toBe<{ readonly sku: string; readonly quantity: number }>()
            expect(state).type.toBe<State>()
            const price = yield* (yield* Prices).of(payload.sku)
            return Decision.persist([new ItemAdded(payload)], (state) => {
              expect(state).type.toBe<State>()
              return count(state) * price
            })
          })
      }
    })
  })

  test("gives effects after persisting the state and the receipt", () => {
    EventSourced.make(CartType, {
      ...one,
      commands: [CheckOut],
      decide: {
        CheckOut: () =>
          Decision.andThen(Decision.persist([new CheckedOut()]), (state: State, receipt) => {
            expect(state).type.toBe<State>()
            expect(receipt).type.toBe<Receipt | undefined>()
            return Effect.void
          })
      }
    })
  })

  test("has a function for each command", () => {
    // @ts-expect-error Property 'AddItem' is missing
    EventSourced.make(CartType, { ...one, decide: { CheckOut: () => Decision.persist([new CheckedOut()]) } })
  })

  test("has no function for what is no command", () => {
    EventSourced.make(CartType, {
      ...one,
      commands: [CheckOut],
      decide: {
        CheckOut: () => Decision.persist([new CheckedOut()]),
        // @ts-expect-error "There is no command of this name"
        RemoveItem: () => Decision.none
      }
    })
  })

  test("persists events of the type alone", () => {
    EventSourced.make(CartType, {
      ...one,
      commands: [CheckOut],
      // @ts-expect-error is not assignable to type
      decide: { CheckOut: () => Decision.persist([new CouponTried({ code: "SPRING" })]) }
    })
  })

  test("gives the reply that the command declares", () => {
    EventSourced.make(CartType, {
      ...one,
      commands: [AddItem],
      // @ts-expect-error is not assignable to type
      decide: { AddItem: ({ payload }) => Decision.persist([new ItemAdded(payload)], "two") }
    })
    EventSourced.make(CartType, {
      ...one,
      commands: [AddItem],
      // @ts-expect-error is not assignable to type
      decide: { AddItem: ({ payload }) => Decision.persist([new ItemAdded(payload)]) }
    })
  })

  test("rejects with the errors that the command declares", () => {
    // @effect-diagnostics missingEffectError:off
    EventSourced.make(CartType, {
      ...one,
      commands: [AddItem],
      // @ts-expect-error is not assignable to type
      decide: { AddItem: () => Decision.fail(new CartIsEmpty()) }
    })
    type Decides = EventSourced.Decide<typeof AddItem, ItemAdded | CheckedOut, State>["AddItem"]
    expect(() => Effect.fail(new CartIsEmpty())).type.not.toBeAssignableTo<Decides>()
    expect(() => Effect.fail(new CartIsCheckedOut())).type.toBeAssignableTo<Decides>()
  })
})

test("two kinds of entities are two services", () => {
  const Other = EventSourced.make(EntityType.make("other", { event: CheckedOut }), {
    state: State,
    initial,
    commands: [CheckOut],
    decide: { CheckOut: () => Decision.none },
    evolve: (state) => state
  })
  expect<Effect.Services<ReturnType<typeof EventSourced.client<"other", typeof CheckOut>>>>().type.toBe<Runs<"other">>()
  expect(EventSourced.layerPlain(Cart)).type.not.toBeAssignableTo(EventSourced.layerPlain(Other))
})
