import { assert, describe, it } from "@effect/vitest"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import * as Decision from "@sluice/entity/Decision"
import * as DurableState from "@sluice/entity/DurableState"
import * as EventSourced from "@sluice/entity/EventSourced"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

const NoteType = EntityType.make("note", { codec: EventCodec.string })

/** Each command has two events. */
const Note = EventSourced.make(NoteType, {
  state: Schema.Int,
  initial: 0,
  commands: [Rpc.make("Write", { success: Schema.Int })],
  decide: { Write: () => Decision.persist(["written", "signed"], (count: number) => count) },
  evolve: (count) => count + 1
})

const Count = DurableState.make(StateType.make("count", { state: Schema.Int }), {
  initial: 0,
  commands: [Rpc.make("Write", { success: Schema.Int })],
  decide: { Write: ({ state }) => Decision.update(state + 1, state + 1) },
  changeEvent: [EntityType.make("count", { codec: EventCodec.string }), () => "counted"]
})

const own = (metadata: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(metadata).filter(([key]) => !key.startsWith("sluice.")))

const metadataOf = (type: EntityType.EntityType<string>) =>
  Effect.map(
    Stream.runCollect(Journal.read(type, "a")),
    (events) => events.map(({ metadata }) => own(metadata))
  )

const correlated = { correlationId: "c-1", causationId: "\u00e9\ud83d\ude42" }

for (
  const [way, entities] of [
    ["plain", Layer.merge(EventSourced.layerPlain(Note), DurableState.layerPlain(Count))],
    ["active", Layer.merge(EventSourced.layer(Note), DurableState.layer(Count))]
  ] as const
) {
  const layer = entities.pipe(Layer.provideMerge(Layer.fresh(MemoryStorage.layer)))

  describe(`metadata of a command of an entity that is ${way}`, () => {
    it.live("is that of each of its events, and of no others, and projections see it", () =>
      Effect.gen(function*() {
        const seen: Array<unknown> = []
        yield* Layer.build(Projection.layer(
          Source.journal(NoteType).pipe(
            Projection.atLeastOnce("notes", ({ metadata }) => Effect.sync(() => void seen.push(own(metadata))))
          )
        ))
        const { Write } = (yield* EventSourced.client(Note))("a")
        yield* Write()
        const mine: Record<string, string> = { ...correlated }
        const sent = Write(undefined, { metadata: mine })
        yield* sent
        mine["correlationId"] = "another"
        const { receipt } = yield* Write.withReceipt(undefined, { metadata: { user: "ada" }, commandId: "one" })
        const expected = [{}, {}, correlated, correlated, { user: "ada" }, { user: "ada" }]
        assert.deepStrictEqual(yield* metadataOf(NoteType), expected)
        yield* ProjectionStatus.reached("notes", receipt!, { timeout: "1 minute" })
        assert.deepStrictEqual(seen, expected)
        // a repetition is the same command, whatever its metadata
        assert.strictEqual(yield* Write(undefined, { metadata: { user: "bob" }, commandId: "one" }), 6)
        assert.lengthOf(yield* metadataOf(NoteType), 6)
      }).pipe(Effect.scoped, Effect.provide(layer)))

    it.effect("is that of the durable state and of its change event, and the commands that it remembers stay", () =>
      Effect.gen(function*() {
        const { Write } = (yield* DurableState.client(Count))("a")
        const metadata = Effect.map(
          DurableStateStore.get(Count.stateType, "a"),
          (found) => own(Option.getOrThrow(found).metadata)
        )
        yield* Write(undefined, { metadata: correlated, commandId: "one" })
        assert.deepStrictEqual(yield* metadata, correlated)
        yield* Write(undefined, { metadata: { user: "ada" } })
        assert.deepStrictEqual(yield* metadata, { user: "ada" })
        yield* Write()
        assert.deepStrictEqual(yield* metadata, {})
        assert.deepStrictEqual(yield* metadataOf(Count.changeEvents!), [correlated, { user: "ada" }, {}])
        assert.strictEqual(yield* Write(undefined, { commandId: "one" }), 1)
      }).pipe(Effect.provide(layer)))

    it.effect("is refused where it cannot be stored, is too large, or is Sluice's own, and nothing is done", () =>
      Effect.gen(function*() {
        const { Write } = (yield* EventSourced.client(Note))("a")
        const { Write: count } = (yield* DurableState.client(Count))("a")
        const half = "x".repeat(4 * 1024)
        const wrong: ReadonlyArray<readonly [metadata: any, why: RegExp]> = [
          [{ "sluice.command": "[]" }, /key "sluice.command" begins with "sluice.", which is Sluice's own/],
          [{ user: "ada", "sluice.reply": "1" }, /Sluice's own/],
          [{ "~sluice": "" }, /Sluice's own/],
          [{ a: "b\0" }, /what is at "a" contains U\+0000/],
          [{ "a\ud800": "" }, /the key/],
          [{ a: 1 }, /what is at "a"/],
          [{ a: undefined }, /what is at "a"/],
          [["a"], /no record/],
          [null, /no record/],
          ["a", /no record/],
          [{ a: half, b: half }, /larger than 8192 bytes/],
          [{ a: "\u00e9".repeat(4 * 1024) }, /larger than 8192 bytes/],
          [{ a: "x".repeat(10_000_000) }, /larger than 8192 bytes/]
        ]
        for (const [metadata, why] of wrong) {
          for (const send of [Write, count]) {
            const error = yield* Effect.flip(send(undefined, { metadata }))
            assert.deepInclude(error, { _tag: "InvalidCommand", command: "Write", isUnknown: false })
            assert.match(error.message, why)
          }
        }
        assert.deepStrictEqual(yield* metadataOf(NoteType), [])
        assert.isTrue(Option.isNone(yield* DurableStateStore.get(Count.stateType, "a")))
        yield* Write(undefined, { metadata: { a: half, b: half.slice(2) } })
        assert.lengthOf(yield* metadataOf(NoteType), 2)
      }).pipe(Effect.provide(layer)))
  })
}
