import { assert, describe, layer } from "@effect/vitest"
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as StateType from "@sluice/core/StateType"
import * as Decision from "@sluice/entity/Decision"
import * as DurableState from "@sluice/entity/DurableState"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { maxBytes } from "../src/internal/calls/method.ts"

const NoteType = EntityType.make("note", { codec: EventCodec.string })

/** Each command has two events. */
const Note = EventSourced.make(NoteType, {
  state: Schema.Int,
  initial: 0,
  commands: [Rpc.make("Write", { payload: { text: Schema.String }, success: Schema.Int })],
  decide: { Write: () => Decision.persist(["written", "signed"], (count: number) => count) },
  evolve: (count) => count + 1
})

const Count = DurableState.make(StateType.make("count", { state: Schema.Int }), {
  initial: 0,
  commands: [Rpc.make("Add", { success: Schema.Int })],
  decide: { Add: ({ state }) => Decision.update(state + 1, state + 1) }
})

/** That the processes which have the entities run. */
class Serving extends Context.Service<Serving, { readonly has: (entityType: string, id: string) => boolean }>()(
  "test/Serving"
) {}

/** One process has all entities, and keeps its clients to itself: the tests are another one, which only calls. */
const serving = Layer.effect(
  Serving,
  Effect.map(
    Layer.build(
      Layer.merge(EntityCluster.layer(Note), EntityCluster.layer(Count)).pipe(
        Layer.provideMerge(Layer.fresh(EntityCluster.layerProcess()))
      )
    ),
    (context) => Context.get(context, EntityCluster.Host)
  )
)

const calling = Layer.merge(EntityCluster.layerClient(Note), EntityCluster.layerClient(Count)).pipe(
  Layer.provideMerge(EntityCluster.layerCaller())
)

const processes = Layer.merge(serving, calling).pipe(
  Layer.provideMerge(SqliteStorage.layer({ filename: ":memory:" }))
)

const own = (metadata: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(metadata).filter(([key]) => !key.startsWith("sluice.")))

const metadataOf = (id: string) =>
  Effect.map(
    Stream.runCollect(Journal.read(NoteType, id)),
    (events) => events.map(({ metadata }) => own(metadata))
  )

const correlated = { correlationId: "c-1", causationId: "\u00e9\ud83d\ude42", ["__proto__"]: "p" }

describe("metadata of a command of an entity that another process has", () => {
  layer(processes, { timeout: 60_000, excludeTestServices: true })((it) => {
    it.effect("is that of each of its events, and of no others", () =>
      Effect.gen(function*() {
        const { Write } = (yield* EventSourced.client(Note))("a")
        yield* Write({ text: "" })
        yield* Write({ text: "" }, { metadata: correlated })
        // a repetition is the same command, whatever its metadata
        yield* Write({ text: "" }, { metadata: { user: "ada" }, commandId: "one" })
        assert.strictEqual(yield* Write({ text: "" }, { metadata: { user: "bob" }, commandId: "one" }), 6)
        assert.deepStrictEqual(yield* metadataOf("a"), [
          {},
          {},
          correlated,
          correlated,
          { user: "ada" },
          { user: "ada" }
        ])
      }), 60_000)

    it.effect("is that of the durable state", () =>
      Effect.gen(function*() {
        const { Add } = (yield* DurableState.client(Count))("a")
        const metadata = Effect.map(
          DurableStateStore.get(Count.stateType, "a"),
          (found) => own(Option.getOrThrow(found).metadata)
        )
        yield* Add(undefined, { metadata: correlated })
        assert.deepStrictEqual(yield* metadata, correlated)
        yield* Add()
        assert.deepStrictEqual(yield* metadata, {})
      }), 60_000)

    it.effect("counts in the size of the command", () =>
      Effect.gen(function*() {
        const { Write } = (yield* EventSourced.client(Note))("large")
        const text = "x".repeat(maxBytes - 1_000)
        yield* Write({ text }, { metadata: { user: "ada" } })
        const error = yield* Effect.flip(Write({ text }, { metadata: { user: "a".repeat(1_000) } }))
        assert.deepInclude(error, { _tag: "InvalidCommand", id: "large", isUnknown: false })
        assert.match(error.message, /processes do not send each other more than 4194304/)
        assert.lengthOf(yield* metadataOf("large"), 2)
      }), 60_000)

    it.effect(
      "is refused by that process, whoever sends it, where it is Sluice's own, too large, or none",
      () =>
        Effect.gen(function*() {
          const { send } = yield* EntityCluster.Cluster
          const given = { entityType: "note", id: "hostile", tag: "Write", payload: { text: "" } }
          const wrong: ReadonlyArray<readonly [metadata: unknown, why: RegExp]> = [
            [{ "sluice.command": "[\"one\",1,\"Write\",\"\"]" }, /begins with "sluice.", which is Sluice's own/],
            [{ "~sluice": "" }, /Sluice's own/],
            [{ a: "x".repeat(8 * 1024) }, /larger than 8192 bytes/],
            [{ a: "x".repeat(4_000_000) }, /larger than 8192 bytes/],
            [{ a: "b\0" }, /what is at "a" contains U\+0000/],
            [{ a: 1 }, /what is at "a"/],
            [{ a: null }, /what is at "a"/],
            [{ a: { b: "c" } }, /what is at "a"/],
            [["a"], /no record/],
            ["a", /no record/],
            [0, /no record/],
            [false, /no record/]
          ]
          for (const [index, [metadata, why]] of wrong.entries()) {
            const answer = yield* send({ ...given, metadata, commandId: `h-${index}` }, Duration.minutes(1))
            const { error } = answer as { readonly error: any }
            assert.deepInclude(error, { _tag: "InvalidCommand", entityType: "note", id: "hostile", command: "Write" })
            assert.match(error.problem, why)
          }
          assert.deepStrictEqual(yield* metadataOf("hostile"), [])
          // the process is as good as before
          const good = yield* send({ ...given, metadata: { user: "ada" }, commandId: "good" }, Duration.minutes(1))
          assert.strictEqual(good._tag, "Replied")
          assert.deepStrictEqual(yield* metadataOf("hostile"), [{ user: "ada" }, { user: "ada" }])
        }),
      60_000
    )
  })
})
