import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as ProjectionHealth from "@sluice/core/ProjectionHealth"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as HandlerTest from "@sluice/testing/HandlerTest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

class Added extends Schema.TaggedClass<Added>()("Added", { n: Schema.Int }) {}
const Sum = EntityType.make("sum", { event: Added })
const Effects = EntityType.make("effects", { codec: EventCodec.string })
const added = (n: number) => new Added({ n })

const Empty = Layer.fresh(MemoryStorage.layer)

const record = ({ event: { n } }: Envelope<Added>) =>
  Effect.andThen(
    Journal.append(Effects, { id: "all", events: [`${n}`] }),
    n < 0 ? Effect.fail("negative" as const) : Effect.void
  )
const recorded = Stream.runCollect(Stream.map(Journal.read(Effects, "all"), ({ event }) => event))

describe("an exactly-once handler in a test", () => {
  it.effect("writes in a transaction per event, which is undone where it fails", () =>
    Effect.gen(function*() {
      const test = yield* HandlerTest.exactlyOnce(Sum, record)
      yield* test.given({ id: "a", events: [added(1)] })
      const given = yield* test.when({ id: "a", events: [added(2)] }, { id: "b", events: [added(3)] })
      assert.deepStrictEqual(given.map(({ sequenceNumber }) => Number(sequenceNumber)), [2, 1])
      assert.strictEqual(yield* Effect.flip(test.when({ id: "a", events: [added(4), added(-5)] })), "negative")
      assert.deepStrictEqual(yield* recorded, ["1", "2", "3", "4"])
    }).pipe(Effect.provide(Empty)))

  it.effect("leaves no projection behind", () =>
    Effect.gen(function*() {
      const some = Effect.gen(function*() {
        const test = yield* HandlerTest.exactlyOnce(Sum, record)
        yield* test.when({ id: "a", events: [added(1)] })
        return (yield* ProjectionHealth.all()).problems.length
      })
      assert.strictEqual(yield* Effect.scoped(some), 1)
      assert.deepStrictEqual((yield* ProjectionHealth.all()).problems, [])
    }).pipe(Effect.provide([Empty, ProjectionRegistry.layer])))

  it.effect("writes a group in one transaction", () =>
    Effect.gen(function*() {
      const sizes: Array<number> = []
      const test = yield* HandlerTest.exactlyOnce(
        Sum,
        Handler.grouped({ size: 2, within: "1 second" }, (group: ReadonlyArray<Envelope<Added>>) => {
          sizes.push(group.length)
          return Effect.forEach(group, record, { discard: true })
        })
      )
      yield* test.when({ id: "a", events: [added(1), added(2), added(3)] })
      yield* Effect.flip(test.when({ id: "a", events: [added(4), added(-5)] }))
      assert.deepStrictEqual([yield* recorded, sizes], [["1", "2", "3"], [2, 1, 2]])
    }).pipe(Effect.provide(Empty)))

  it.effect("is run again in vain, and shows what it does beside its transaction", () =>
    Effect.gen(function*() {
      let beside = 0
      const test = yield* HandlerTest.exactlyOnce(Sum, (envelope) =>
        Effect.andThen(record(envelope), Effect.sync(() => beside += envelope.event.n)))
      yield* test.when({ id: "a", events: [added(1)] })
      yield* test.again
      assert.deepStrictEqual([yield* recorded, beside], [["1"], 2])
    }).pipe(Effect.provide(Empty)))
})

describe("an at-least-once handler in a test", () => {
  it.effect("is given the same again, which a counter does not stand", () =>
    Effect.gen(function*() {
      let wrong = 0
      const right = new Map<string, number>()
      const test = yield* HandlerTest.atLeastOnce(Sum, ({ event: { n }, persistenceId, sequenceNumber }) =>
        Effect.sync(() => {
          wrong += n
          right.set(`${persistenceId} ${sequenceNumber}`, n)
        }))
      yield* test.given({ id: "a", events: [added(1)] })
      yield* test.when({ id: "a", events: [added(2), added(3)] })
      yield* test.again
      assert.deepStrictEqual([wrong, [...right.values()]], [11, [1, 2, 3]])
    }))

  it.effect("has a life, which ends with the test or a restart", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* Effect.gen(function*() {
        const test = yield* HandlerTest.atLeastOnce(
          EventStream.make("sums", { event: Added }),
          Handler.scoped(() =>
            Effect.gen(function*() {
              log.push("start")
              yield* Effect.addFinalizer(() => Effect.sync(() => log.push("stop")))
              let sum = 0
              return ({ event }: Envelope<Added>) => Effect.sync(() => void log.push(`${sum += event.n}`))
            })
          )
        )
        yield* test.when({ id: "a", events: [added(1), added(2)] })
        yield* test.restart
        yield* test.when({ id: "a", events: [added(3)] })
      }).pipe(Effect.scoped)
      assert.deepStrictEqual(log, ["start", "1", "3", "stop", "start", "3", "stop"])
    }))

  it.effect("dies on what its codec does not encode, and on what is given and fails", () =>
    Effect.gen(function*() {
      const test = yield* HandlerTest.atLeastOnce(Sum, () => Effect.fail("no"))
      const given = yield* Effect.exit(test.given({ id: "a", events: [added(1)] }))
      assert.isTrue(Exit.hasDies(given))
      const unreadable = yield* Effect.exit(test.when({ id: "a", events: [{ _tag: "Added", n: 0.5 }] }))
      assert.match(String(unreadable), /EventEncodeError/)
      assert.strictEqual(yield* Effect.flip(test.when({ id: "a", events: [added(1)] })), "no")
    }))
})
