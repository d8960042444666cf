import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import { offsetKey } from "@sluice/core/ProjectionDefinition"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/testing/TestClock"
import { givingAgain } from "../src/internal/givingAgain.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })

/** Lets everything happen that can happen in so many milliseconds. */
const after = Effect.fnUntraced(function*(millis: number) {
  yield* TestClock.adjust(millis)
  for (let i = 0; i < 200; i++) yield* Effect.yieldNow
})

it.effect("all entities that cannot take events are counted, also those that somebody else is giving them to", () => {
  const said: Array<string> = []
  const logger = Logger.make<unknown, void>(({ message }) => void said.push(String(message)))
  return Effect.gen(function*() {
    const projection = Source.journal(Note).pipe(
      Projection.atLeastOnce("notes", () => Effect.fail("no")),
      Projection.recovery(RecoveryStrategy.deadLetter)
    )
    yield* Journal.append(Note, { id: "a", events: ["1", "2"] })
    yield* Journal.append(Note, { id: "b", events: ["1"] })
    yield* Layer.build(Projection.layer(projection))
    yield* after(0)
    const { claim } = yield* ProjectionManagement.ProjectionManagement
    const letter = { persistenceId: EntityType.persistenceId(Note, "b"), sequenceNumber: SequenceNumber.make(1) }
    assert.isDefined(yield* claim(offsetKey(projection), letter))
    yield* Effect.forkScoped(givingAgain(projection))
    yield* after(1_000)
    const lines = said.filter((line) => line.includes("cannot take"))
    assert.strictEqual(lines.length, 1)
    assert.match(lines[0]!, /: 2 of them/)
  }).pipe(
    Effect.scoped,
    Effect.provide([Layer.fresh(MemoryStorage.layer), ProjectionRegistry.layer, Logger.layer([logger])])
  )
})

it.effect("what had waited is said to be taken once nothing waits any more, also of what somebody else is giving", () => {
  const said: Array<string> = []
  const logger = Logger.make<unknown, void>(({ message }) => void said.push(String(message)))
  const heard = (text: string) => said.filter((line) => line.includes(text)).length
  return Effect.gen(function*() {
    let isBroken = true
    const projection = Source.journal(Note).pipe(
      Projection.atLeastOnce("notes", () => isBroken ? Effect.fail("no") : Effect.void),
      Projection.recovery(RecoveryStrategy.deadLetter)
    )
    // late enough for a claim to be as old as it has to be
    yield* after(ProjectionManagement.claimTime)
    yield* Journal.append(Note, { id: "a", events: ["1", "2"] })
    yield* Layer.build(Projection.layer(projection))
    yield* Effect.forkScoped(givingAgain(projection))
    yield* after(1_000)
    yield* after(1_000)
    assert.deepStrictEqual([heard("cannot take"), heard("have taken")], [1, 0])
    const { claim } = yield* ProjectionManagement.ProjectionManagement
    const letter = {
      persistenceId: EntityType.persistenceId(Note, "a"),
      sequenceNumber: SequenceNumber.make(1)
    }
    assert.isDefined(yield* claim(offsetKey(projection), letter, 120_000))
    isBroken = false
    for (let i = 0; i < 3; i++) yield* after(30_000)
    assert.deepStrictEqual(yield* ProjectionManagement.deadLetterCounts(projection), {
      entities: 1,
      failed: 1,
      queued: 1
    })
    assert.strictEqual(heard("have taken"), 0)
    for (let i = 0; i < 3; i++) yield* after(30_000)
    assert.deepStrictEqual(yield* ProjectionManagement.deadLetterCounts(projection), {
      entities: 0,
      failed: 0,
      queued: 0
    })
    assert.deepStrictEqual([heard("cannot take"), heard("have taken")], [1, 1])
  }).pipe(
    Effect.scoped,
    Effect.provide([Layer.fresh(MemoryStorage.layer), ProjectionRegistry.layer, Logger.layer([logger])])
  )
})
