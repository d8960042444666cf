import { assert, describe } from "@effect/vitest"
import type { Envelope } from "@sluice/core/Envelope"
import * as Handler from "@sluice/core/Handler"
import type * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import type { Receipt } from "@sluice/core/Receipt"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as TestClock from "effect/testing/TestClock"
import * as Wait from "../../Wait.ts"
import type { It } from "../kit.ts"
import { append, fresh, idsIn, sliceOf, texts } from "../kit.ts"
import { caughtUp, freshName, makeEffects, makeWriter, placeOf, whileRunning } from "./projectionKit.ts"

const rangesOf = (projection: string) =>
  Effect.map(ProjectionStatus.status(projection), (workers) => workers.map(({ range }) => SliceRange.format(range)))

/** @internal Waits until the projection has workers of these ranges in this process, in each of its sources. */
export const hasRanges = (projection: string, ranges: ReadonlyArray<SliceRange.SliceRange>, sources = 1) =>
  Wait.until(
    `${projection} to have ${ranges.length} workers`,
    Effect.map(
      rangesOf(projection),
      (found) => found.join() === Array.from({ length: sources }, () => ranges.map(SliceRange.format)).join()
    )
  )

const scaled = (projection: string, workers: number, sources?: number) =>
  hasRanges(projection, SliceRange.split(workers), sources)

const scale = (projection: string, workers: number, sources?: number) =>
  Effect.andThen(ProjectionManagement.scale(projection, workers), scaled(projection, workers, sources))

/** @internal Several fibers append, each to entities of its own, and wait for what they have appended, while the effect runs. */
export const whileWriting = (
  projection: string,
  write: (id: string, n: number) => Effect.Effect<Receipt, any, Journal.Journal>
) =>
<A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const writers = { goOn: true }
    const writing = yield* Effect.forkChild(Effect.forEach(
      Array.from({ length: 4 }, (_, writer) => writer),
      (writer) =>
        Effect.gen(function*() {
          for (let i = 0; writers.goOn; i++) {
            const receipt = yield* write(`${writer}-${i % 10}`, 1 + i % 3)
            yield* ProjectionStatus.reached(projection, receipt, { timeout: "1 minute" })
          }
        }),
      { concurrency: "unbounded", discard: true }
    ))
    const exit = yield* Effect.exit(effect)
    writers.goOn = false
    yield* Fiber.join(writing)
    return yield* exit
  })

/** @internal */
export const scalingTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  describe("a projection that is scaled while events come", () => {
    it.effect("handles each of them once and in order, exactly once", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        const projection = Source.journal(type).pipe(Projection.exactlyOnce(name, effects.record))
        yield* Effect.gen(function*() {
          for (const workers of [4, 16, 3]) {
            const waiting = yield* Effect.forkChild(ProjectionStatus.caughtUp(name))
            yield* scale(name, workers)
            yield* Fiber.join(waiting)
            const receipt = yield* append(type, "own", [`of ${workers}`])
            yield* ProjectionStatus.reached(name, receipt, { timeout: "1 minute" })
            written.set("own", [...written.get("own") ?? [], `of ${workers}`])
          }
        }).pipe(whileWriting(name, write), Effect.andThen(caughtUp(name)), whileRunning(projection))
        yield* effects.assertExact(written)
      }))

    it.effect("of several sources, too, each of which has its own workers", () =>
      Effect.gen(function*() {
        const [carts, orders] = [fresh("cart"), fresh("order")]
        const name = freshName()
        const effects = makeEffects()
        const writers = [makeWriter(carts), makeWriter(orders)]
        const write = (id: string, n: number) => writers[Number(id[0]) % 2]!.write(id, n)
        const projection = Source.mergeAll([Source.journal(carts), Source.journal(orders)]).pipe(
          Projection.exactlyOnce(name, effects.record)
        )
        yield* Effect.forEach([4, 16, 3], (workers) =>
          Effect.andThen(scale(name, workers, 2), ProjectionStatus.caughtUp(name))).pipe(
            whileWriting(name, write),
            Effect.andThen(caughtUp(name)),
            whileRunning(projection)
          )
        yield* effects.assertExact(new Map(writers.flatMap(({ written }) => [...written])))
      }))

    for (const deliver of ["exactly once", "at least once"] as const) {
      it.effect(`is caught up, and has reached an event, only once that is handled, ${deliver}`, () =>
        Effect.gen(function*() {
          const type = fresh("source")
          const name = freshName()
          const appended: Array<string> = []
          const handled = new Set<string>()
          const handle = (envelope: Envelope<string>) =>
            Effect.andThen(Effect.yieldNow, Effect.sync(() => void handled.add(placeOf(envelope))))
          const projection = Source.journal(type).pipe(
            deliver === "exactly once"
              ? Projection.exactlyOnce(name, handle)
              : Projection.atLeastOnce(name, handle, { saveWithin: "20 millis" })
          )
          const commands = { isDone: false }
          const missing = (places: ReadonlyArray<string>) => places.filter((place) => !handled.has(place))
          const write = (writer: number) =>
            Effect.gen(function*() {
              for (let i = 0; !commands.isDone; i++) {
                const id = `${writer}-${i % 10}`
                const receipt = yield* append(type, id, texts(1))
                const place = `${id} ${receipt.sequenceNumber}`
                appended.push(place)
                yield* ProjectionStatus.reached(name, receipt, { timeout: "2 minutes" })
                assert.deepStrictEqual(missing([place]), [], "reached")
              }
            })
          const watch = Effect.gen(function*() {
            while (!commands.isDone) {
              const before = [...appended]
              yield* ProjectionStatus.caughtUp(name)
              assert.deepStrictEqual(missing(before), [], "caught up")
            }
          })
          // not each of them is awaited: one may come while the one before is being obeyed
          const command = Effect.forEach(
            [4, 1, 16, 16, 2, 8, 1, 3],
            (workers, i) =>
              i % 3 === 2 ? scale(name, workers) : Effect.andThen(
                ProjectionManagement.scale(name, workers),
                append(type, "own", texts(1))
              )
          )
          yield* Effect.all([
            write(0),
            write(1),
            watch,
            command.pipe(Effect.andThen(scaled(name, 3)), Effect.ensuring(Effect.sync(() => commands.isDone = true)))
          ], { concurrency: "unbounded" }).pipe(whileRunning(projection))
          assert.isAbove(handled.size, 0)
        }))
    }

    it.effect("waits for no timer: by the clock its slices do not stand still", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const handled: Array<string> = []
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
        )
        const ids = SliceRange.split(16).map((range) => idsIn(type, range, 1)[0]!)
        yield* Effect.gen(function*() {
          yield* append(type, "a", texts(1))
          yield* Wait.until(
            "the first event to be handled",
            Effect.map(TestClock.adjust(10), () => handled.length === 1)
          )
          for (const [i, workers] of [4, 16, 3].entries()) {
            for (const id of ids) yield* append(type, id, texts(1))
            yield* scale(name, workers)
            for (const id of ids) yield* append(type, id, texts(1))
            yield* Wait.until("the events to be handled", () => handled.length === 1 + 2 * ids.length * (i + 1))
          }
        }).pipe(whileRunning(projection), Effect.provide(TestClock.layer()))
      }))

    it.effect("repeats nothing at least once, as each slice has one handler at a time", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const seen: Array<string> = []
        const alive = new Set<SliceRange.SliceRange>()
        const { write, written } = makeWriter(type)
        const handler = Handler.scoped((range) =>
          Effect.gen(function*() {
            yield* Effect.acquireRelease(
              Effect.sync(() => {
                for (const other of alive) assert.isFalse(SliceRange.overlaps(other, range), "one handler of a slice")
                alive.add(range)
              }),
              () => Effect.sync(() => alive.delete(range))
            )
            return (envelope: Envelope<string>) =>
              Effect.andThen(
                Effect.yieldNow,
                Effect.sync(() => {
                  assert.isTrue(SliceRange.contains(range, envelope.slice))
                  assert.isTrue(alive.has(range))
                  seen.push(placeOf(envelope))
                })
              )
          })
        )
        const projection = Source.journal(type).pipe(Projection.atLeastOnce(name, handler, { saveWithin: "20 millis" }))
        yield* Effect.forEach([4, 16, 3], (workers) =>
          Effect.andThen(scale(name, workers), ProjectionStatus.caughtUp(name))).pipe(
            whileWriting(name, write),
            Effect.andThen(caughtUp(name)),
            whileRunning(projection)
          )
        for (const [id, events] of written) {
          assert.deepStrictEqual(
            seen.filter((place) =>
              place.startsWith(`${id} `)
            ),
            events.map((_, i) => `${id} ${i + 1}`)
          )
        }
        assert.strictEqual(alive.size, 0)
      }))

    it.effect("ends what a handler has in hand, and begins its slices after that", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const goOn = Latch.makeUnsafe()
        const seen: Array<string> = []
        const projection = Source.journal(type).pipe(
          Projection.atMostOnce(name, (envelope) =>
            Effect.gen(function*() {
              seen.push(`${placeOf(envelope)} begins`)
              if (envelope.event === "waits") yield* goOn.await
              seen.push(`${placeOf(envelope)} ends`)
            }))
        )
        yield* Effect.gen(function*() {
          yield* append(type, "a", ["waits"])
          yield* Wait.until("the handler to wait", () => seen.length === 1)
          yield* scale(name, 2)
          const waiting = yield* Effect.forkChild(ProjectionStatus.caughtUp(name))
          // the handler is in nobody's way, as far as others can tell
          yield* scale(name, 3)
          yield* append(type, "a", ["b"])
          assert.deepStrictEqual(seen, ["a 1 begins"])
          assert.isUndefined(waiting.pollUnsafe())
          yield* goOn.open
          yield* Wait.end("the projection to catch up", Fiber.join(waiting))
          yield* caughtUp(name)
        }).pipe(whileRunning(projection))
        assert.deepStrictEqual(seen, ["a 1 begins", "a 1 ends", "a 2 begins", "a 2 ends"])
      }))
  })

  describe("a number of workers that follows the lag", () => {
    it.effect(
      "goes up where that takes too long to be gone, until a person says another one",
      () =>
        Effect.gen(function*() {
          const type = fresh("source")
          const name = freshName()
          const projection = Source.journal(type).pipe(
            Projection.atLeastOnce(name, () => Effect.sleep("1 second")),
            Projection.workers({ min: 1, max: 4, catchUpWithin: "30 seconds" })
          )
          const ids = SliceRange.split(32).map((range) => idsIn(type, range, 1)[0]!)
          const commanded = ProjectionManagement.ProjectionManagement.use((_) => _.command(name))
          /** Lets time go on while the storage keeps up with it. */
          const until = (what: string, workers: number) =>
            Wait.until(
              what,
              Effect.andThen(
                Effect.andThen(commanded, TestClock.adjust("500 millis")),
                Effect.map(rangesOf(name), (ranges) => ranges.length === workers)
              ),
              { atMost: "2 minutes" }
            )
          yield* Effect.gen(function*() {
            for (const id of ids) yield* append(type, id, texts(20))
            assert.strictEqual((yield* rangesOf(name)).length, 1)
            assert.isUndefined(yield* ProjectionManagement.scaling(name))
            yield* until("more workers", 4)
            const { at, ...why } = (yield* ProjectionManagement.scaling(name))!
            assert.isAbove(at, 0)
            assert.match(why.reason, /events behind.*to catch up within 30 s/)
            assert.deepStrictEqual({ ...why, reason: "" }, {
              workers: 4,
              isAutomatic: true,
              by: "automatic",
              reason: ""
            })
            // it is what its code says, so to speak
            assert.strictEqual(yield* ProjectionManagement.scaledTo(name), "asInCode")
            yield* ProjectionManagement.scale(name, 2, { by: "ada", reason: "enough" })
            yield* until("so many as a person has said", 2)
            for (let i = 0; i < 120; i++) yield* Effect.andThen(commanded, TestClock.adjust("500 millis"))
            const said = yield* ProjectionManagement.scaling(name)
            assert.deepInclude(said, { workers: 2, isAutomatic: false, by: "ada", reason: "enough" })
            yield* ProjectionManagement.scale(name, "asInCode")
            yield* until("the least number", 1)
            yield* until("more workers again", 4)
          }).pipe(whileRunning(projection), Effect.provide(TestClock.layer()))
        }),
      300_000
    )
  })

  describe("a number of workers that was commanded", () => {
    it.effect("holds for the next start, until the one in the code is to hold again", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, effects.record),
          Projection.workers(2)
        )
        yield* scale(name, 5).pipe(whileRunning(projection))
        yield* Effect.gen(function*() {
          assert.strictEqual((yield* rangesOf(name)).length, 5)
          yield* append(type, "a", texts(2))
          yield* caughtUp(name)
          yield* ProjectionManagement.scale(name, "asInCode")
          yield* scaled(name, 2)
        }).pipe(whileRunning(projection))
        assert.strictEqual((yield* effects.events("a")).length, 2)
      }))

    it.effect("is taken over by a projection that is paused, which goes on with it", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        const projection = Source.journal(type).pipe(Projection.exactlyOnce(name, effects.record))
        const arePaused = (workers: number) =>
          Effect.map(
            ProjectionStatus.status(name),
            (found) => found.length === workers && found.every(({ state }) => state === "Paused")
          )
        yield* Effect.gen(function*() {
          yield* ProjectionManagement.pause(name)
          yield* Wait.until("the only worker to pause", arePaused(1))
          yield* scale(name, 4)
          yield* Wait.until("four workers to be paused", arePaused(4))
          yield* append(type, "a", texts(3))
          yield* ProjectionManagement.resume(name)
          yield* caughtUp(name)
        }).pipe(whileRunning(projection))
        assert.strictEqual((yield* effects.events("a")).length, 3)
      }))

    it.effect("leaves a worker that has stopped at its event, and lets others of its slices go on", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const seen: Array<string> = []
        let isBroken = true
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, (envelope) =>
            isBroken && envelope.event === "bad"
              ? Effect.fail("bad")
              : Effect.sync(() => void seen.push(placeOf(envelope)))),
          Projection.recovery(RecoveryStrategy.fail)
        )
        const bad = sliceOf(type, "bad")
        const other = Array.from({ length: 100 }, (_, i) => `${i}`)
          .find((id) => Math.abs(sliceOf(type, id) - bad) > 1024 / 32)!
        const haveStopped = (workers: number) =>
          Effect.map(ProjectionStatus.status(name), (found) =>
            found.length === workers &&
            found.every(({ range, state }) =>
              SliceRange.contains(range, bad) ? state === "Stopped" : state !== "Stopped"
            ))
        yield* Effect.gen(function*() {
          yield* append(type, "bad", ["bad"])
          yield* Wait.until("the only worker to stop", haveStopped(1))
          yield* append(type, other, ["good"])
          yield* scale(name, 32)
          yield* Wait.until("one worker of many to stop", haveStopped(32))
          yield* Wait.until("the others to go on", () => seen.length === 1)
          isBroken = false
          yield* ProjectionManagement.resume(name)
          yield* caughtUp(name)
          yield* scale(name, 1)
          yield* caughtUp(name)
        }).pipe(whileRunning(projection))
        assert.deepStrictEqual(seen, [`${other} 1`, "bad 1"])
      }))
  })
}
