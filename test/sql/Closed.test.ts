/** What a storage says once the scope of its layer has ended. */
import { assert, describe, it } from "@effect/vitest"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as SliceRange from "@sluice/core/SliceRange"
import * as StateType from "@sluice/core/StateType"
import { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { databases } from "./databases.ts"

const append = (type: string) =>
  Journal.append(EntityType.make(type, { codec: EventCodec.string }), { id: "a", events: ["event"] })
const State = StateType.make("state", { codec: EventCodec.string })

const uses = {
  append: append("known"),
  "append of another entity type": append("new"),
  "append in a transaction": Journal.transaction(append("known")),
  heads: Journal.Journal.use((_) => _.heads("known", SliceRange.full)),
  state: DurableStateStore.upsert(State, { id: "a", expected: 0, state: "state" }),
  offsets: OffsetStore.use((_) => _.load({ projection: "p", source: "s" }, SliceRange.full))
}

describe.each(databases)("a storage in $name that is closed", ({ place }) => {
  it.effect("says so at once, to whoever still uses it", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Scope.provide(Layer.build((yield* place).layer()), scope)
      yield* Effect.provideContext(append("known"), context)
      yield* Scope.close(scope, Exit.void)
      for (const [what, use] of Object.entries(uses)) {
        // nothing of it waits for time to pass, of which there is none here
        const error = yield* Effect.flip(Effect.provideContext(use as typeof uses.append, context))
        assert.instanceOf(error, StorageError, what)
        assert.strictEqual(error.reason, "Closed", what)
        assert.match(error.message, /the storage is closed, as the scope of its layer has ended/)
      }
    }).pipe(Effect.scoped), 60_000)
})
