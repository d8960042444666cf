/** Carts as event sourced entities, with the events that everything is measured with. */
import type * as EntityType from "@sluice/core/EntityType"
import * as Decision from "@sluice/entity/Decision"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { ItemAdded } from "./events.ts"

export const State = Schema.Struct({ items: Schema.Int, quantity: Schema.Int, last: Schema.Int })

export const empty: typeof State.Type = { items: 0, quantity: 0, last: -1 }

export const evolve = ({ items, quantity }: typeof State.Type, event: ItemAdded): typeof State.Type => ({
  items: items + 1,
  quantity: quantity + event.quantity,
  last: event.n
})

/** The entities of a type, with a snapshot each so many events. */
export const makeCarts = (entityType: EntityType.EntityType<ItemAdded>, each?: number) =>
  EventSourced.make(entityType, {
    state: State,
    initial: empty,
    commands: [
      Rpc.make("Add", { payload: ItemAdded.fields, success: Schema.Int }),
      Rpc.make("Show", { success: State })
    ],
    decide: {
      Add: ({ payload }) => Decision.persist([new ItemAdded(payload)], ({ items }: typeof State.Type) => items),
      Show: ({ state }) => Decision.reply(state)
    },
    evolve,
    snapshots: each === undefined ? undefined : SnapshotPolicy.every(each)
  })
