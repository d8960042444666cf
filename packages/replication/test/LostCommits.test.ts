import { assert, it } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Activations from "@sluice/entity/Activations"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { LastGiven } from "../src/internal/LastGiven.ts"
import { Added, makeNotes } from "./kit/Notes.ts"

const notes = makeNotes("notes")

const ofUs = (number: number): ReplicatedEventSourced.Arriving<Added> => ({
  event: new Added({ text: `${number}` }),
  metadata: {},
  replication: {
    origin: "us",
    originSequenceNumber: SequenceNumber.make(number),
    version: new Map([["us", SequenceNumber.make(number)]]),
    concurrent: false
  }
})

it.live("what a database has lost while its entity is in memory is stored again when it comes again", () =>
  Effect.gen(function*() {
    const storage = yield* Layer.build(MemoryStorage.layer)
    const primary = Context.get(storage, Journal.Journal)
    const standby = Context.get(yield* Layer.build(Layer.fresh(MemoryStorage.layer)), Journal.Journal)
    let current = primary
    const reaching = Journal.Journal.of({
      ...primary,
      append: (request) => current.append(request),
      entity: (...of) => current.entity(...of)
    })
    const giving = Effect.fnUntraced(function*(journal: Journal.Journal["Service"]) {
      const context = yield* Layer.build(
        Layer.fresh(Activations.layer(notes)).pipe(
          Layer.provide(Replica.layer("eu")),
          Layer.provide(Layer.succeedContext(Context.add(storage, Journal.Journal, journal)))
        )
      )
      return yield* Effect.provideContext(ReplicatedEventSourced.receiveAll(notes), context)
    })
    yield* Effect.scoped(Effect.flatMap(giving(standby), (give) => give("a", [ofUs(1)])))
    const give = yield* giving(reaching)
    yield* give("a", [ofUs(1), ofUs(2), ofUs(3)])
    assert.deepStrictEqual(yield* give("a", [ofUs(3)]), ["Duplicate"])
    current = standby
    assert.deepStrictEqual(yield* give("a", [ofUs(2), ofUs(3)]), ["Stored", "Stored"])
    assert.deepStrictEqual(yield* give("a", [ofUs(2), ofUs(3)]), ["Duplicate", "Duplicate"])
    const stored = Stream.runCollect(Journal.read(notes.entityType, "a|eu"))
    const events = yield* Effect.provideService(stored, Journal.Journal, standby)
    assert.deepStrictEqual(Array.from(events, ({ event }) => event.text), ["1", "2", "3"])
  }).pipe(Effect.scoped))

it("a stream begins again once for an event that is missed, and for what is missed later", () => {
  const given = new LastGiven()
  given.stored("a", [ofUs(1), ofUs(3)])
  assert.strictEqual(given.before("a", ofUs(5).replication), 3)
  assert.isUndefined(given.before("a", ofUs(3).replication))
  assert.deepStrictEqual(["a", "b", "a"].map((id) => given.isToBeginAgain(id, 3)), [true, true, false])
  assert.isTrue(given.isToBeginAgain("a", 5))
  given.stored("b", [ofUs(3)])
  assert.isTrue(given.isToBeginAgain("b", 3))
})
