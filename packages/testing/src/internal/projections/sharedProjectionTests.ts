import { assert, describe } from "@effect/vitest"
import type { Envelope } from "@sluice/core/Envelope"
import type * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { Fenced, OffsetStore } from "@sluice/core/OffsetStore"
import * as Placement from "@sluice/core/Placement"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import type { Receipt } from "@sluice/core/Receipt"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { type Database, type Open, open as openInstance } from "../instances.ts"
import { retryBusy } from "../journal/transactionTests.ts"
import type { It } from "../kit.ts"
import { append, eventsOf, fresh, texts, transactAs } from "../kit.ts"
import { caughtUp, freshName, makeEffects, makeWriter, placeOf, rangeOf, whileRunning } from "./projectionKit.ts"
import { hasRanges, whileWriting } from "./scalingTests.ts"
import { sharedFilterTests } from "./sharedFilterTests.ts"

type Storage = Journal.Journal | Projection.Stores

class Instances extends Context.Service<Instances, Open<Storage>>()("@sluice/testing/StorageInstances") {}

/** @internal */
export const layerInstances = (database: Database<Storage>): Layer.Layer<Instances, unknown> =>
  Layer.effect(Instances, Effect.map(database, openInstance))

const open = Effect.flatMap(Instances, (open) => open)

/** Two instances, each with a view of its own of what runs. */
const two = Effect.map(Effect.all([open, open]), (instances) =>
  instances.map((context) => {
    const own = Context.add(context, ProjectionRegistry.ProjectionRegistry, ProjectionRegistry.make())
    return <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideContext(effect, own)
  }))

/** The workers of one of two instances: every second one. */
const placedIn = (instance: number, workers: number): ReadonlyArray<number> =>
  Array.from({ length: workers }, (_, worker) => worker).filter((worker) => worker % 2 === instance)

/** @internal */
export const sharedProjectionTests = (it: It<Instances>): void => {
  describe("two instances of one database", () => {
    it.effect("fence each other: exactly one of those that move from the same offset does", () =>
      Effect.gen(function*() {
        const instances = yield* two
        const key = { projection: freshName(), source: "journal:shared" }
        const type = fresh("shared")
        for (let round = 0; round < 6; round++) {
          const slice = Slice.make(3)
          const from = round === 0 ? undefined : Offset.make(round, round)
          const results = yield* Effect.forEach(
            instances.flatMap((on, i) => [[on, `${i}a`], [on, `${i}b`]] as const),
            ([on, name]) =>
              Effect.gen(function*() {
                const moves = [{ slice, from, to: Offset.make(round + 1, round + 1) }]
                yield* retryBusy(transactAs(key, "some journal", moves, append(type, "a", [`${round} ${name}`])))
              }).pipe(on, Effect.result),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(results.filter(Result.isSuccess).length, 1)
          for (const result of results) if (Result.isFailure(result)) assert.instanceOf(result.failure, Fenced)
        }
        for (const on of instances) {
          const stored = yield* on(Effect.flatMap(OffsetStore, (store) => store.load(key, SliceRange.full)))
          assert.strictEqual(stored.journal, "some journal")
          assert.deepStrictEqual(new Map(stored.offsets), new Map([[Slice.make(3), Offset.make(6, 6)]]))
          assert.strictEqual((yield* on(eventsOf(type, "a"))).length, 6)
        }
      }))

    it.effect("hand a projection over to each other", () =>
      Effect.gen(function*() {
        const instances = yield* two
        const type = fresh("shared")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        const projection = Source.journal(type).pipe(Projection.exactlyOnce(name, effects.record))
        for (let round = 0; round < 4; round++) {
          const [here, there] = round % 2 === 0 ? instances : instances.toReversed()
          for (let i = 0; i < 5; i++) yield* there!(write(`${i}`, 2))
          yield* caughtUp(name).pipe(whileRunning(Projection.workers(1 + round)(projection)), here!)
          yield* there!(effects.assertExact(written))
        }
      }))

    it.effect("run the same projection at once, and every event is handled once", () =>
      Effect.gen(function*() {
        const [a, b] = yield* two
        const type = fresh("shared")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        const projection = Source.journal(type).pipe(Projection.exactlyOnce(name, effects.record))
        for (let i = 0; i < 10; i++) yield* a!(write(`${i}`, 2))
        yield* Effect.forkScoped(b!(Projection.run(Projection.workers(3)(projection))))
        yield* Effect.gen(function*() {
          for (let i = 0; i < 10; i++) yield* b!(write(`${i}`, 1))
          yield* caughtUp(name)
        }).pipe(whileRunning(Projection.workers(2)(projection)), a!)
        yield* b!(effects.assertExact(written))
      }))

    it.effect("scale a projection whose workers are spread over them, and every event is handled once and in order", () =>
      Effect.gen(function*() {
        const instances = yield* two
        const type = fresh("shared")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        const projection = Source.journal(type).pipe(Projection.exactlyOnce(name, effects.record))
        for (const [i, on] of instances.entries()) {
          yield* on(
            Effect.provideService(Layer.build(Projection.layer(projection)), Placement.Placement, {
              assigned: (_, workers) => Stream.concat(Stream.succeed(new Set(placedIn(i, workers))), Stream.never)
            })
          )
        }
        const receipts: Array<Receipt> = []
        yield* Effect.forEach([4, 9, 1, 6], (workers, round) =>
          Effect.gen(function*() {
            const [here, there] = round % 2 === 0 ? instances : instances.toReversed()
            yield* here!(ProjectionManagement.scale(name, workers, { by: `round ${round}` }))
            receipts.push(yield* there!(append(type, "own", [`${workers}`])))
            for (const [i, on] of instances.entries()) {
              yield* on(hasRanges(name, placedIn(i, workers).map((worker) => rangeOf(worker, workers))))
            }
            yield* here!(ProjectionStatus.reached(name, receipts, { timeout: "2 minutes" }))
          })).pipe(instances[0]!, whileWriting(name, write), instances[1]!)
        yield* instances[0]!(effects.assertExact(written.set("own", ["4", "9", "1", "6"])))
      }))

    for (const deliver of ["exactly once", "at least once"] as const) {
      it.effect(`handle what was put aside at once, each letter in one of them, ${deliver}`, () =>
        Effect.gen(function*() {
          const [a, b] = yield* two
          const type = fresh("shared")
          const name = freshName()
          const handled: Array<string> = []
          let isBroken = true
          const handle = (envelope: Envelope<string>) =>
            isBroken ? Effect.fail("broken") : Effect.andThen(
              Effect.yieldNow,
              Effect.sync(() => void handled.push(placeOf(envelope)))
            )
          const projection = Source.journal(type).pipe(
            deliver === "exactly once" ? Projection.exactlyOnce(name, handle) : Projection.atLeastOnce(name, handle),
            Projection.recovery(RecoveryStrategy.deadLetter)
          )
          yield* a!(append(type, "a", texts(20)))
          yield* a!(ProjectionStatus.caughtUp(name).pipe(whileRunning(projection)))
          isBroken = false
          const counts = yield* Effect.all(
            [a!, b!].map((on) => on(retryBusy(Projection.handleDeadLetters(projection)))),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(counts.reduce((sum, { handled }) => sum + handled, 0), 20)
          assert.sameMembers(handled, Array.from({ length: 20 }, (_, i) => `a ${i + 1}`))
        }))
    }

    it.effect("wait in one for what the other handles, whenever it runs", () =>
      Effect.gen(function*() {
        const [here, there] = yield* two
        const type = fresh("shared")
        const name = freshName()
        const effects = makeEffects()
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, effects.record),
          Projection.workers(2)
        )
        yield* here!(ProjectionManagement.ProjectionManagement.use((_) => _.register(Projection.offsetKey(projection))))
        const reached = (receipt: Receipt) => there!(ProjectionStatus.reached(name, receipt, { timeout: "2 minutes" }))
        for (let round = 0; round < 4; round++) {
          // nobody runs it yet
          const first = yield* there!(append(type, "a", texts(2, `${round}-`)))
          const waiting = yield* Effect.forkChild(reached(first))
          yield* Effect.gen(function*() {
            yield* Fiber.join(waiting)
            for (const event of texts(3)) {
              const receipt = yield* there!(append(type, "a", [event]))
              yield* reached(receipt)
              const recorded = yield* there!(effects.events("a"))
              assert.strictEqual(recorded.at(-1), `${receipt.sequenceNumber} ${event}`)
            }
          }).pipe(whileRunning(projection), here!)
        }
      }))

    it.effect("rewind each other's projection, which knows it at once, undo what it wrote, and begin again", () =>
      Effect.gen(function*() {
        const [here, there] = yield* two
        const type = fresh("shared")
        const name = freshName()
        const effects = makeEffects()
        const ids = Array.from({ length: 8 }, (_, i) => `e${i}`)
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, effects.record),
          Projection.workers(2)
        )
        const undo = Effect.forEach(ids, effects.forget, { discard: true })
        for (const id of ids) yield* here!(append(type, id, texts(4)))
        yield* Effect.gen(function*() {
          for (let round = 0; round < 3; round++) {
            yield* there!(retryBusy(Projection.rewind(projection, "beginning", { undo })))
            yield* ProjectionStatus.caughtUp(name)
            const remembered = yield* Effect.forEach(ids, effects.remembered)
            assert.deepStrictEqual(remembered, ids.map(() => texts(4).map((event, i) => `${i + 1} ${event}`)))
          }
        }).pipe(whileRunning(projection), here!)
      }))
  })
  sharedFilterTests(it, two)
}
