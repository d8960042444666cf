import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as StateType from "@sluice/core/StateType"
import * as Decision from "@sluice/entity/Decision"
import * as DurableState from "@sluice/entity/DurableState"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"

const Note = EventSourced.make(EntityType.make("note", { codec: EventCodec.string }), {
  state: Schema.Int,
  initial: 0,
  commands: [Rpc.make("Write", { success: Schema.Int })],
  decide: { Write: () => Decision.persist(["written"], (count: number) => count) },
  evolve: (count) => count + 1
})

const Count = DurableState.make(StateType.make("count", { state: Schema.Int }), {
  initial: 0,
  commands: [Rpc.make("Add", { success: Schema.Int })],
  decide: { Add: ({ state }) => Decision.update(state + 1, state + 1) }
})

const storage = Layer.fresh(MemoryStorage.layer)
const layer = Layer.merge(EventSourced.layer(Note), DurableState.layer(Count)).pipe(Layer.provideMerge(storage))

describe("a command of an active entity that is sent in a transaction", () => {
  it.effect(
    "fails at once, as the two could wait for each other, and the next one is handled",
    () =>
      Effect.gen(function*() {
        const { Write } = (yield* EventSourced.client(Note))("a")
        const { Add } = (yield* DurableState.client(Count))("a")
        for (const command of [Write, Add]) {
          const error = yield* Effect.flip(Journal.transaction(command()))
          assert.deepInclude(error, { _tag: "InvalidCommand", isUnknown: false, isRetryable: false })
          assert.include(error.message, "it is sent in a transaction")
          assert.strictEqual(yield* command(), 1)
        }
        // one that is sent when it has committed is in none
        yield* Journal.transaction(Journal.afterCommit(Effect.orDie(Write())))
        assert.strictEqual(yield* Write(), 3)
      }).pipe(Effect.provide(layer)),
    20_000
  )
})
