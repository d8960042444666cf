/**
 * A shopping cart that is written in every region: how many of each product are in it.
 */
import { EntityType, EventFilter } from "@sluice/core"
import { Decision, EntityHttp, SnapshotPolicy } from "@sluice/entity"
import { Counter, MapValue, OrMap, ReplicatedEventSourced } from "@sluice/replication"
import { Schema } from "effect"
import { Rpc } from "effect/rpc"

export const regions = ["eu", "us", "ap"] as const
export type Region = typeof regions[number]

/** The carts of these countries are kept in one region. */
const homes: Readonly<Record<string, Region>> = { de: "eu" }

/** The region that a cart such as `de-17` is kept in. Others are in all of them. */
export const homeOf = (id: string): Region | undefined => homes[id.slice(0, 2)]

// the products and how many there are: whatever regions do at the same time, they have the same in the end

const Items = OrMap.make(Schema.String, MapValue.counter)

export class ItemsChanged extends Schema.TaggedClass<ItemsChanged>()("ItemsChanged", { change: Items.delta }) {}

export const entityType = EntityType.make("cart", { event: ItemsChanged })

const State = Schema.Struct({ home: Schema.UndefinedOr(Schema.Literals(regions)), items: Items.schema })
type State = typeof State.Type

/** What people see of a cart. */
export const Content = Schema.Record(Schema.String, Schema.Int)
export type Content = typeof Content.Type

const content = ({ items }: State): Content =>
  Object.fromEntries(Items.entries(items).map(([sku, { value }]) => [sku, Number(value)]))

export class KeptElsewhere
  extends Schema.TaggedError<KeptElsewhere>()("KeptElsewhere", { region: Schema.String }, { httpApiStatus: 421 })
{
  override get message(): string {
    return `This cart is kept in the region '${this.region}': ask there`
  }
}

const here = <D>(
  { replica, state }: { readonly replica: string; readonly state: State },
  decision: (state: State) => D
) =>
  state.home === undefined || state.home === replica
    ? decision(state)
    : Decision.fail(new KeptElsewhere({ region: state.home }))

// which events do not leave their region

const kept = "kept"

/** What the regions offer each other. */
export const shared = EventFilter.passAll.pipe(EventFilter.excludeTags(kept))

const quantity = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 }))

export const Cart = ReplicatedEventSourced.make(entityType, {
  replicas: regions,
  state: State,
  initial: (id) => ({ home: homeOf(id), items: Items.empty }),
  commands: [
    Rpc.make("Add", { payload: { sku: Schema.String, quantity }, success: Content, error: KeptElsewhere }),
    Rpc.make("Remove", { payload: { sku: Schema.String }, success: Content, error: KeptElsewhere }),
    Rpc.make("Look", { success: Content, error: KeptElsewhere }).pipe(EntityHttp.read)
  ],
  decide: {
    Add: (request) =>
      here(request, ({ items }) => {
        const { payload: { quantity, sku }, replica } = request
        const change = Items.update(items, replica, sku, () => Counter.increment(quantity))
        return Decision.persist([new ItemsChanged({ change })], content)
      }),
    Remove: (request) =>
      here(request, ({ items }) => {
        const { payload: { sku }, replica } = request
        return Decision.persist([new ItemsChanged({ change: Items.remove(items, replica, sku) })], content)
      }),
    Look: (request) => here(request, (state) => Decision.reply(content(state)))
  },
  evolve: (state, { change }) => ({ ...state, items: Items.apply(state.items, change) }),
  tags: ({ home }) => home === undefined ? [] : [kept],
  snapshots: SnapshotPolicy.every(50)
})
