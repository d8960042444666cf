import { assert, it } from "@effect/vitest"
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Decision from "@sluice/entity/Decision"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
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

const Notes = EntityCluster.layer(Note).pipe(
  Layer.provide(EntityCluster.layerProcess()),
  Layer.provide(SqliteStorage.layer({ filename: ":memory:" }))
)

it.live("a command with metadata is refused in a cluster, which would not carry it", () =>
  Effect.gen(function*() {
    const { Write } = (yield* EventSourced.client(Note))("a")
    const error = yield* Effect.flip(Write(undefined, { metadata: { user: "ada" } }))
    assert.deepInclude(error, { _tag: "InvalidCommand", id: "a", isUnknown: false })
    assert.include(error.message, "it has metadata, which is not carried to other processes")
    assert.strictEqual(yield* Write(), 1)
  }).pipe(Effect.provide(Notes)))
