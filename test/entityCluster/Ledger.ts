import * as EntityType from "@sluice/core/EntityType"
import * as Decision from "@sluice/entity/Decision"
import * as EventSourced from "@sluice/entity/EventSourced"
import { Rpc } from "effect/rpc"
import * as Schema from "effect/Schema"

/** A part of what an operation adds. */
export class Added extends Schema.TaggedClass<Added>()("Added", {
  operation: Schema.String,
  part: Schema.Int,
  by: Schema.Int
}) {}

export class TooFew extends Schema.TaggedError<TooFew>("test/TooFew")("TooFew", { total: Schema.Int }) {}

export const LedgerType = EntityType.make("ledger", { event: Added })

const State = Schema.Struct({ total: Schema.Int, events: Schema.Int })

/** Sums, and of how many events. What an operation adds comes in as many events as it has parts. */
export const Ledger = EventSourced.make(LedgerType, {
  state: State,
  initial: { total: 0, events: 0 },
  commands: [
    Rpc.make("Add", {
      payload: { operation: Schema.String, by: Schema.Int, parts: Schema.Int },
      success: Schema.Int,
      error: TooFew
    }),
    Rpc.make("Read", { success: State })
  ],
  decide: {
    Add: ({ payload: { by, operation, parts }, state }) =>
      state.total + by * parts < 0
        ? Decision.fail(new TooFew({ total: state.total }))
        : Decision.persist(
          Array.from({ length: parts }, (_, part) => new Added({ operation, part, by })),
          ({ total }) => total
        ),
    Read: ({ state }) => Decision.reply(state)
  },
  evolve: ({ events, total }, { by }) => ({ total: total + by, events: events + 1 })
})
