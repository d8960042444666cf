import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventStream from "@sluice/core/EventStream"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as TestSource from "@sluice/testing/TestSource"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"

class Counted extends Schema.TaggedClass<Counted>()("Counted", {
  n: Schema.Int.check(Schema.isGreaterThan(0))
}) {}
const Counter = EntityType.make("counter", { event: Counted })
const one = new Counted({ n: 1 })

describe("a test source", () => {
  it.effect("numbers the events of each entity and slice, and gives them the time of the clock", () =>
    Effect.gen(function*() {
      const source = yield* TestSource.make(Counter)
      yield* TestClock.adjust("3 seconds")
      const published = yield* source.publish(
        { id: "a", events: [one, one], tags: ["x"] },
        { id: "b", events: [one], metadata: { who: "me" } }
      )
      yield* TestClock.adjust("1 second")
      const [later] = yield* source.publish({ id: "a", events: [one] })
      const places = [...published, later!].map(({ persistenceId, position, sequenceNumber, timestamp }) =>
        [persistenceId, sequenceNumber, position, timestamp] as const
      )
      assert.deepEqual(places, [
        ["counter|a", 1, 1, 3_000_000],
        ["counter|a", 2, 2, 3_000_001],
        ["counter|b", 1, 1, 3_000_000],
        ["counter|a", 3, 3, 4_000_000]
      ] as never)
      assert.deepEqual(published.map(({ tags }) => tags), [["x"], ["x"], []])
      assert.strictEqual(published[2]!.metadata["who"], "me")
      assert.strictEqual(published[0]!.slice, Slice.ofPersistenceId("counter|a"))
      assert.deepEqual(published[0]!.event, one)
    }))

  it.effect("does not add what its codec does not encode", () =>
    Effect.gen(function*() {
      const source = yield* TestSource.make(Counter)
      const error = yield* Effect.flip(source.publish({ id: "a", events: [one, { _tag: "Counted", n: 0 }] }))
      assert.strictEqual(error._tag, "EventEncodeError")
      assert.strictEqual((yield* source.provider.heads(SliceRange.full)).size, 0)
    }))

  it.effect("shows what was published before it is opened, and what comes then", () =>
    Effect.gen(function*() {
      const source = yield* TestSource.make(Counter)
      yield* source.publish({ id: "a", events: [one] })
      const seen: Array<number> = []
      const reading = yield* Source.toStream(source).pipe(
        Stream.take(2),
        Stream.runForEach(({ sequenceNumber }) => Effect.sync(() => seen.push(sequenceNumber))),
        Effect.forkChild
      )
      yield* source.publish({ id: "a", events: [one] })
      yield* Effect.yieldNow
      while (reading.pollUnsafe() === undefined) yield* Effect.yieldNow
      assert.deepEqual(seen, [1, 2])
    }))

  it.effect("has the name of a stream, or of the entity type that it is told", () =>
    Effect.gen(function*() {
      const stream = EventStream.make("public counters", { event: Counted })
      const named = yield* TestSource.make(stream)
      const [first] = yield* named.publish({ id: "a", events: [one] })
      assert.strictEqual(first!.persistenceId, "public counters|a")
      const told = yield* TestSource.make(stream, { entityType: "counter" })
      const [other] = yield* told.publish({ id: "a", events: [one] })
      assert.strictEqual(other!.persistenceId, "counter|a")
      assert.strictEqual(Source.describe(told), "test source of public counters")
    }))
})
