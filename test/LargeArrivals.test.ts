import { assert, describe, layer } from "@effect/vitest"
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import * as Journal from "@sluice/core/Journal"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import type { Runs } from "@sluice/entity/EntityClient"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Added, makeNotes } from "../packages/replication/test/kit/Notes.ts"

const notes = makeNotes("notes")

/** How the process that has the entities calls them. */
class Here extends Context.Service<Here, Context.Context<Runs<string>>>()("test/Here") {}

const serving = Layer.effect(
  Here,
  Layer.build(
    EntityCluster.layer(notes).pipe(
      Layer.provide([Layer.fresh(EntityCluster.layerProcess()), Replica.layer("eu")])
    )
  )
)

const processes = Layer.merge(
  serving,
  EntityCluster.layerClient(notes).pipe(Layer.provideMerge(EntityCluster.layerCaller()))
).pipe(Layer.provideMerge(SqliteStorage.layer({ filename: ":memory:" })))

describe("the largest event that a journal takes", () => {
  layer(processes, { timeout: 60_000, excludeTestServices: true })((it) => {
    it.effect("comes to the entity from another replica, whichever process has it", () =>
      Effect.gen(function*() {
        const { maxEventBytes } = yield* Journal.Journal
        const metadata = { user: "ada".repeat(300) }
        const rest = "{\"_tag\":\"Added\",\"text\":\"\"}user".length + metadata.user.length + 100
        const text = "x".repeat(maxEventBytes - rest)
        const here = yield* Here
        const arriving = {
          event: new Added({ text }),
          metadata,
          replication: {
            origin: "us",
            originSequenceNumber: SequenceNumber.make(1),
            version: new Map([["us", SequenceNumber.make(1)]]),
            concurrent: false
          }
        }
        const receive = ReplicatedEventSourced.receive(notes)
        assert.strictEqual(yield* (yield* receive)("a", arriving), "Stored")
        assert.strictEqual(yield* (yield* Effect.provideContext(receive, here))("b", arriving), "Stored")
        for (const id of ["a", "b"]) {
          const [stored] = yield* Stream.runCollect(Journal.read(notes.entityType, `${id}|eu`))
          assert.strictEqual(stored!.event.text.length, text.length)
        }
      }), 60_000)

    it.effect(
      "is larger than a command that a caller may send, whatever it says that it is",
      () =>
        Effect.gen(function*() {
          const { send } = yield* EntityCluster.Cluster
          const command = { entityType: "notes", id: "c", tag: "Add", payload: { text: "x".repeat(5_000_000) } }
          const given = { ...command, commandId: "large" }
          assert.strictEqual((yield* Effect.flip(send(given, Duration.minutes(1))))._tag, "InvalidCommand")
          const answer = yield* send({ ...given, isArrival: true }, Duration.minutes(1))
          const { _tag, problem } = (answer as { readonly error: any }).error
          assert.strictEqual(_tag, "InvalidCommand")
          assert.match(problem, /do not send each other more than/)
          assert.deepStrictEqual(Array.from(yield* Stream.runCollect(Journal.read(notes.entityType, "c|eu"))), [])
        }),
      60_000
    )
  })
})
