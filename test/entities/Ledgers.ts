/** Entities whose replies tell what was before them, so that each can be held against the journal. */
import * as EntityType from "@sluice/core/EntityType"
import * as Decision from "@sluice/entity/Decision"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as SnapshotPolicy from "@sluice/entity/SnapshotPolicy"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"

/** `token` is of one command. */
export class Added extends Schema.TaggedClass<Added>()("Added", { token: Schema.String, amount: Schema.Int }) {}

export class Refused extends Schema.TaggedClass<Refused>()("Refused", { total: Schema.Int }) {}

export const Ledger = EntityType.make("ledger", { event: Added })

export const State = Schema.Struct({ count: Schema.Int, total: Schema.Int })

/** As much is refused. */
export const refused = 13

export const Ledgers = EventSourced.make(Ledger, {
  state: State,
  initial: { count: 0, total: 0 },
  commands: [
    Rpc.make("Add", { payload: { token: Schema.String, amount: Schema.Int }, success: State, error: Refused }),
    Rpc.make("Read", { success: State })
  ],
  decide: {
    Add: ({ payload: { amount, token }, state }) => {
      if (amount === refused) return Decision.fail(new Refused({ total: state.total }))
      const parts = amount % 3 === 0 ? [1, amount - 1] : [amount]
      return Decision.persist(parts.map((amount) => new Added({ token, amount })), (state: typeof State.Type) => state)
    },
    Read: ({ state }) => Decision.reply(state)
  },
  evolve: ({ count, total }, { amount }) => ({ count: count + 1, total: total + amount }),
  snapshots: SnapshotPolicy.every(7)
})
