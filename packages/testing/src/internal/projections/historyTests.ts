import { assert, describe } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Wait from "../../Wait.ts"
import type { It } from "../kit.ts"
import { append, fresh, idsOfSlice, texts } from "../kit.ts"
import { ada, filtered, guarantees, idOf } from "./filteredProjectionTests.ts"
import { caughtUp, freshName, makeEffects, makeWriter, persistent, placeOf, whileRunning } from "./projectionKit.ts"

/** @internal Passes the events of some entities only, whatever passed before. */
export const only = (...ids: ReadonlyArray<string>) => () =>
  EventFilter.excludeAll.pipe(EventFilter.includeEntityIds(...ids))

const unchanged = (filter: EventFilter.EventFilter) => filter

const now = { ...ada, history: "now" } as const
const none = { ...ada, history: "none" } as const

const pastLag = (name: string) =>
  Effect.map(ProjectionStatus.status(name), (workers) => workers.reduce((sum, { pastLag }) => sum + pastLag, 0))

/** @internal Waits until the workers have begun after a change, have looked through all that they had passed over, and caught up. */
export const complete = (projection: Projection.Projection<any, any>) =>
  Effect.andThen(
    caughtUp(projection.name),
    Wait.until(
      `${projection.name} to look through the past`,
      Effect.gen(function*() {
        const store = yield* OffsetStore
        const { revision } = yield* store.load(Projection.offsetKey(projection), SliceRange.make(0, 0))
        const workers = yield* ProjectionStatus.status(projection.name)
        return workers.every((worker) => worker.revision === revision && worker.pastLag === 0)
      })
    )
  )

/** @internal What becomes of the earlier events of what a change of the filter includes. */
export const historyTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  for (const [guarantee, make] of guarantees) {
    describe.concurrent(`the past of what a filter includes, ${guarantee},`, () => {
      it.effect("comes at once, in order, where that is asked for, and what was handled does not come again", () =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          const handled: Array<string> = []
          const projection = filtered(type, EventFilter.passAll).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope)))),
            Projection.workers(2)
          )
          yield* Effect.gen(function*() {
            for (const id of ["a", "b", "c"]) yield* append(type, id, texts(2))
            yield* caughtUp(name)
            yield* ConsumerFilter.update(projection, only("a"), ada)
            for (const id of ["a", "b", "c"]) yield* append(type, id, texts(40))
            yield* caughtUp(name)
            handled.length = 0
            yield* ConsumerFilter.update(projection, only("a", "b"), now)
            yield* complete(projection)
            assert.deepStrictEqual(handled, Array.from({ length: 40 }, (_, i) => `b ${i + 3}`))
            handled.length = 0
            yield* append(type, "b", ["new"])
            yield* append(type, "a", ["new"])
            yield* caughtUp(name)
            assert.sameMembers(handled, ["a 43", "b 43"])
            const workers = yield* ProjectionStatus.status(name)
            assert.deepStrictEqual(workers.map(({ restarts }) => restarts), [0, 0], "nothing has failed")
          }).pipe(whileRunning(projection))
        }))

      it.effect("comes of an entity whose events pass one by one, its others before them", () =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          const handled: Array<string> = []
          const projection = filtered(type, EventFilter.excludeAll).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
          )
          yield* Effect.gen(function*() {
            for (const tags of [[], ["large"], [], [], ["large"], []]) {
              yield* Journal.append(type, { id: "a", events: ["event"], tags })
            }
            yield* caughtUp(name)
            yield* ConsumerFilter.update(projection, EventFilter.includeTags("large"), now)
            yield* complete(projection)
            // the last one comes with the next that passes
            assert.deepStrictEqual(handled, Array.from({ length: 5 }, (_, i) => `a ${i + 1}`))
          }).pipe(whileRunning(projection))
        }))

      it.effect("does not come where that is asked for, and what is new comes in full", () =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          const handled: Array<string> = []
          const projection = filtered(type, only("a")()).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope)))),
            Projection.workers(2)
          )
          yield* Effect.gen(function*() {
            for (const id of ["a", "b", "c"]) yield* append(type, id, texts(3))
            yield* caughtUp(name)
            yield* ConsumerFilter.update(projection, only("a", "b"), none)
            handled.length = 0
            yield* append(type, "c", ["4"])
            yield* append(type, "b", ["4"])
            yield* caughtUp(name)
            assert.deepStrictEqual(handled, ["b 4"])
            // what was passed over after that is another matter
            yield* ConsumerFilter.update(projection, only("a", "c"), now)
            yield* complete(projection)
            assert.deepStrictEqual(handled, ["b 4", "c 4"])
            yield* append(type, "c", ["5"])
            yield* append(type, "a", ["4"])
            yield* caughtUp(name)
            assert.sameMembers(handled.slice(2), ["c 5", "a 4"])
          }).pipe(whileRunning(projection))
        }))

      it.effect("is given up, or asked for, without another change of the filter", () =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          const handled: Array<string> = []
          const projection = filtered(type, only("a")()).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
          )
          yield* Effect.gen(function*() {
            for (const id of ["b", "c", "a"]) yield* append(type, id, texts(3))
            yield* caughtUp(name)
            yield* ConsumerFilter.update(projection, only("a", "b"), ada)
            const kept = yield* ConsumerFilter.update(projection, unchanged, { by: "bob" })
            assert.deepInclude(kept, { version: 2, by: "ada" })
            const given = yield* ConsumerFilter.update(projection, unchanged, { by: "bob", history: "none" })
            assert.deepInclude(given, { version: 3, by: "bob", history: "none" })
            handled.length = 0
            yield* append(type, "c", ["4"])
            yield* append(type, "b", ["4"])
            yield* caughtUp(name)
            const asked = yield* ConsumerFilter.update(projection, unchanged, now)
            assert.strictEqual(asked.version, 4)
            yield* complete(projection)
            assert.deepStrictEqual(handled, ["b 4"])
          }).pipe(whileRunning(projection))
        }))

      it.effect("keeps nothing new waiting, and says how much of it is left", () =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          const handled: Array<string> = []
          const goOn = Latch.makeUnsafe()
          let past = 0
          const [first, second] = idsOfSlice(type, 7, 2) as [string, string]
          const projection = filtered(type, only(first)()).pipe(
            make(name, (envelope) =>
              Effect.gen(function*() {
                // the new ones come though most of the past is still to come
                if (idOf(envelope) === second && ++past === 10) yield* goOn.await
                handled.push(placeOf(envelope))
              }))
          )
          yield* Effect.gen(function*() {
            yield* append(type, second, texts(200))
            yield* caughtUp(name)
            yield* ConsumerFilter.update(projection, only(first, second), now)
            yield* append(type, first, texts(10))
            yield* Wait.until("some of the past", () => past === 10)
            assert.isAbove(yield* pastLag(name), 100)
            yield* goOn.open
            yield* complete(projection)
            yield* caughtUp(name)
            const before = handled.findIndex((place) => place === `${first} 10`)
            assert.isBelow(before, 150, "what is new takes its turns")
            assert.deepStrictEqual(
              handled.filter((place) => place.startsWith(`${second} `)),
              Array.from({ length: 200 }, (_, i) => `${second} ${i + 1}`)
            )
          }).pipe(whileRunning(projection))
        }))

      it.effect("has come when the projection has caught up after the change", () =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          let handled = 0
          const projection = filtered(type, EventFilter.excludeAll).pipe(
            make(name, () => Effect.sync(() => void handled++)),
            Projection.workers(2)
          )
          yield* Effect.gen(function*() {
            for (const id of ["a", "b", "c", "d"]) yield* append(type, id, texts(100))
            yield* caughtUp(name)
            const { version } = yield* ConsumerFilter.update(projection, () => EventFilter.passAll, now)
            yield* ProjectionStatus.caughtUp(name)
            assert.strictEqual(handled, 400)
            const workers = yield* ProjectionStatus.status(name)
            assert.deepStrictEqual(
              workers.map(({ filterVersion, pastLag }) => [filterVersion, pastLag]),
              [[version, 0], [version, 0]]
            )
          }).pipe(whileRunning(projection))
        }))

      it.effect("is not looked for any more after another change, or a rewind", () =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          const handled: Array<string> = []
          let isClosed = true
          const projection = filtered(type, only("a")()).pipe(
            make(name, (envelope) =>
              Effect.suspend(() => {
                if (isClosed && idOf(envelope) === "b" && envelope.sequenceNumber === 5) return Effect.fail("closed")
                handled.push(placeOf(envelope))
                return Effect.void
              })),
            Projection.recovery(persistent)
          )
          yield* Effect.gen(function*() {
            yield* append(type, "b", texts(20))
            yield* append(type, "a", texts(2))
            yield* caughtUp(name)
            yield* ConsumerFilter.update(projection, only("a", "b"), now)
            yield* Wait.until("some of the past", () => handled.includes("b 4"))
            assert.isAbove(yield* pastLag(name), 0)
            yield* ConsumerFilter.update(projection, only("a"), ada)
            yield* complete(projection)
            yield* ConsumerFilter.update(projection, only("a", "b"), now)
            yield* ProjectionManagement.rewind(name, "beginning")
            isClosed = false
            yield* complete(projection)
            assert.isAbove(handled.filter((place) => place === "a 1").length, 1)
            const times = handled.filter((place) => place === "b 20").length
            // a handler that is in no transaction may not know of the rewind yet
            assert.isTrue(guarantee === "exactly once" ? times === 1 : times >= 1)
          }).pipe(whileRunning(projection))
        }))
    })
  }

  describe.concurrent("the past of what a filter includes, exactly once,", () => {
    it.effect("comes when its projection goes on, though it was stopped or paused in the middle", () =>
      Effect.gen(function*() {
        const type = fresh("past")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        const seen = { times: 0 }
        const projection = filtered(type, EventFilter.excludeAll).pipe(
          Projection.exactlyOnce(
            name,
            (envelope) => Effect.tap(effects.record(envelope), () => Effect.sync(() => void seen.times++))
          ),
          Projection.workers(2),
          Projection.recovery(persistent)
        )
        const ids = Array.from({ length: 10 }, (_, i) => `e${i}`)
        yield* Effect.gen(function*() {
          for (const id of ids) yield* write(id, 30)
          yield* caughtUp(name)
          yield* ConsumerFilter.update(projection, () => EventFilter.passAll, now)
        }).pipe(whileRunning(projection))
        while (seen.times < 300) {
          const before = seen.times
          yield* whileRunning(projection)(
            Wait.until("some more of the past", () => seen.times > before + 20 || seen.times >= 300)
          )
        }
        yield* Effect.gen(function*() {
          yield* ProjectionManagement.pause(name)
          yield* ProjectionManagement.resume(name)
          for (const id of ids) yield* write(id, 1)
          yield* complete(projection)
          yield* caughtUp(name)
          yield* effects.assertExact(written)
        }).pipe(whileRunning(projection))
      }))
  })
}
