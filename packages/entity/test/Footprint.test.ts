import { assert, it } from "@effect/vitest"
import * as Activations from "@sluice/entity/Activations"
import type { Behaviour } from "@sluice/entity/Behaviour"
import * as Effect from "effect/Effect"
import { collectGarbage } from "../../../test/kit/collectGarbage.ts"

/** Nothing is held of an entity but a number. */
const behaviour: Behaviour<number, undefined> = {
  name: "light",
  inTransaction: Effect.succeed(false),
  state: (held) => held,
  recover: () => Effect.succeed(0),
  forgottenAt: () => -Infinity,
  rememberedBytes: () => 0,
  remembered: () => Effect.undefined,
  decide: () => Effect.undefined,
  persist: (held) =>
    Effect.succeed({
      held: held + 1,
      answer: { _tag: "Replied", reply: held + 1, receipt: undefined },
      after: undefined
    }),
  verify: () => Effect.void
}

const command = { tag: "Add", payload: undefined, commandId: undefined }

it.live("an entity that is idle takes less than a kilobyte, beside its state", () =>
  Effect.gen(function*() {
    const entities = 20_000
    const { send, size } = yield* Activations.make(behaviour, { maxActive: entities })
    const used = Effect.sync(() => {
      collectGarbage()
      return process.memoryUsage().heapUsed
    })
    yield* send("first", command)
    const before = yield* used
    for (let i = 1; i < entities; i++) yield* send(`e-${i}`, command)
    const each = ((yield* used) - before) / entities
    assert.strictEqual(yield* size, entities)
    assert.isBelow(each, 1_000)
    // it is not measured where nothing is kept
    assert.isAbove(each, 50)
  }))
