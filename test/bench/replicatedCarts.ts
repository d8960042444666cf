/** The carts of `carts.ts` in two regions. */
import type * as EntityType from "@sluice/core/EntityType"
import * as Decision from "@sluice/entity/Decision"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { empty, evolve, State } from "./carts.ts"
import { item, ItemAdded } from "./events.ts"

export const regions = ["eu", "us"] as const

export type Region = (typeof regions)[number]

export const makeReplicatedCarts = (entityType: EntityType.EntityType<ItemAdded>) =>
  ReplicatedEventSourced.make(entityType, {
    replicas: regions,
    state: State,
    initial: empty,
    commands: [
      Rpc.make("Add", { payload: ItemAdded.fields, success: Schema.Int }),
      /** Several events at once, with numbers that follow each other. */
      Rpc.make("AddAll", { payload: { from: Schema.Int, count: Schema.Int } }),
      Rpc.make("Show", { success: State })
    ],
    decide: {
      Add: ({ payload }) => Decision.persist([new ItemAdded(payload)], ({ items }: typeof State.Type) => items),
      AddAll: ({ payload: { count, from } }) =>
        Decision.persist(Array.from({ length: count }, (_, i) => item(from + i))),
      Show: ({ state }) => Decision.reply(state)
    },
    evolve
  })
