import { assert, describe } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EventFilter from "@sluice/core/EventFilter"
import * as HeartbeatStore from "@sluice/core/HeartbeatStore"
import * as Journal from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import * as Wait from "../../Wait.ts"
import type { It } from "../kit.ts"
import { append, below, fresh, idsOfSlice, texts } from "../kit.ts"
import { ada, filtered, guarantees, idOf, whileWaiting } from "./filteredProjectionTests.ts"
import { caughtUp, freshName, makeEffects, makeWriter, persistent, placeOf, whileRunning } from "./projectionKit.ts"

/** @internal Passes the events of some entities only, whatever passed before. */
export const only = (...ids: ReadonlyArray<string>) => () =>
  EventFilter.excludeAll.pipe(EventFilter.includeEntityIds(...ids))

const unchanged = (filter: EventFilter.EventFilter) => filter

const now = { ...ada, history: "now" } as const
const none = { ...ada, history: "none" } as const

const pastLag = (name: string) =>
  Effect.map(ProjectionStatus.status(name), (workers) => workers.reduce((sum, { pastLag }) => sum + pastLag, 0))

/** Whether what processes have said last of how much is yet to be looked through is as it should be. */
const isPastKnown = (name: string, isIt: (pastLag: number) => boolean) =>
  Effect.map(
    ProjectionStatus.everywhere(name),
    (workers) => workers.length > 0 && workers.every(({ pastLag }) => pastLag !== undefined && isIt(pastLag))
  )

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
    describe(`the past of what a filter includes, ${guarantee},`, whileWaiting(guarantee), () => {
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
            // what that change did not include is another matter
            yield* ConsumerFilter.update(projection, only("a", "c"), now)
            yield* complete(projection)
            assert.deepStrictEqual(handled, ["b 4", "c 1", "c 2", "c 3", "c 4"])
            yield* append(type, "c", ["5"])
            yield* append(type, "a", ["4"])
            yield* caughtUp(name)
            assert.sameMembers(handled.slice(5), ["c 5", "a 4"])
          }).pipe(whileRunning(projection))
        }))

      it.effect("is asked for without another change of the filter, and given up by none without one", () =>
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
            for (const history of ["nextEvent", "none"] as const) {
              const kept = yield* ConsumerFilter.update(projection, unchanged, { by: "bob", history })
              assert.deepInclude(kept, { version: 2, by: "ada" })
            }
            handled.length = 0
            const asked = yield* ConsumerFilter.update(projection, unchanged, now)
            assert.strictEqual(asked.version, 3)
            yield* complete(projection)
            assert.deepStrictEqual(handled, ["b 1", "b 2", "b 3"])
          }).pipe(whileRunning(projection))
        }))

      it.effect("is given up of what a change itself includes, and of nothing else", () =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          const handled: Array<string> = []
          // all of them in one slice
          const ids = idsOfSlice(type, 7, 5) as [string, string, string, string, string]
          const [read, before, given, after, never] = ids
          const running = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
            effect.pipe(
              whileRunning(
                filtered(type, only(read)()).pipe(
                  make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
                )
              )
            )
          const source = { source: `stream:${type.name}` }
          yield* running(Effect.gen(function*() {
            for (const id of ids) yield* append(type, id, texts(2))
            yield* caughtUp(name)
            yield* ConsumerFilter.update(source, EventFilter.includeEntityIds(before), ada)
            yield* ConsumerFilter.update(source, EventFilter.includeEntityIds(given), none)
            yield* ConsumerFilter.update(source, EventFilter.includeEntityIds(after), ada)
            handled.length = 0
          }))
          // it is all the same to a restart
          yield* running(Effect.gen(function*() {
            for (const id of ids) yield* append(type, id, texts(1))
            yield* caughtUp(name)
            const whole = [1, 2, 3].flatMap((number) => [`${before} ${number}`, `${after} ${number}`])
            assert.sameMembers(handled, [`${read} 3`, ...whole, `${given} 3`])
          }))
          handled.length = 0
          yield* running(Effect.gen(function*() {
            yield* ConsumerFilter.update(source, EventFilter.includeEntityIds(never), now)
            yield* Wait.until("the past", () => handled.length >= 3)
            yield* append(type, given, texts(1))
            yield* caughtUp(name)
            assert.sameMembers(handled, [...[1, 2, 3].map((number) => `${never} ${number}`), `${given} 4`])
          }))
        }))

      it.effect("is given up to the change alone: what the new filter leaves out of the same entity comes", () =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          const handled: Array<string> = []
          const projection = filtered(type, only("c")()).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
          )
          const tagged = (id: string, ...tags: ReadonlyArray<string>) =>
            Effect.forEach(tags, (tag) => Journal.append(type, { id, events: ["event"], tags: [tag] }))
          yield* Effect.gen(function*() {
            yield* tagged("a", "small", "small", "large")
            yield* tagged("b", "small", "red")
            yield* caughtUp(name)
            yield* ConsumerFilter.update(projection, EventFilter.includeTags("red"), ada)
            yield* ConsumerFilter.update(projection, EventFilter.includeTags("large"), none)
            yield* tagged("a", "small", "small", "large", "small", "large")
            // an event that passed before the change keeps its entity's past
            yield* tagged("b", "small", "red", "large")
            yield* caughtUp(name)
            const { a, b } = Object.groupBy(handled, (place) => place.slice(0, 1))
            assert.deepStrictEqual(a, [4, 5, 6, 7, 8].map((number) => `a ${number}`))
            assert.deepStrictEqual(b, [1, 2, 3, 4, 5].map((number) => `b ${number}`))
          }).pipe(whileRunning(projection))
        }))

      it.effect("is given up by what an event of it says, and comes in full where another one says otherwise", () =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          const handled: Array<string> = []
          const projection = filtered(type, EventFilter.excludeAll).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
          )
          yield* Effect.gen(function*() {
            for (const tag of ["large", "small", "large", "small", "large"]) {
              yield* Journal.append(type, { id: "a", events: ["event"], tags: [tag] })
            }
            yield* caughtUp(name)
            yield* ConsumerFilter.update(projection, EventFilter.includeTags("large"), none)
            yield* ConsumerFilter.update(projection, EventFilter.includeEntityIds("a"), now)
            yield* complete(projection)
            // the last one as well, so that there is no gap when another one comes
            assert.deepStrictEqual(handled, [1, 2, 3, 4, 5].map((number) => `a ${number}`))
          }).pipe(whileRunning(projection))
        }))

      it.effect("is given up by the last of several changes, and does not come when all of it is looked through", () =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          const handled: Array<string> = []
          const projection = filtered(type, EventFilter.excludeAll).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope)))),
            Projection.workers(2)
          )
          yield* Effect.gen(function*() {
            for (const id of ["a", "b"]) yield* append(type, id, texts(40))
            yield* caughtUp(name)
            yield* ConsumerFilter.update(projection, only("a"), none)
            yield* append(type, "a", texts(2))
            yield* caughtUp(name)
            yield* ConsumerFilter.update(projection, only(), ada)
            for (const id of ["a", "b"]) yield* append(type, id, texts(3))
            yield* caughtUp(name)
            assert.deepStrictEqual(handled, ["a 41", "a 42"])
            yield* ConsumerFilter.update(projection, only("a", "b"), none)
            yield* ConsumerFilter.update(projection, unchanged, now)
            yield* complete(projection)
            assert.strictEqual(handled.length, 2)
            yield* append(type, "a", texts(1))
            yield* append(type, "b", texts(1))
            yield* caughtUp(name)
            assert.sameMembers(handled.slice(2), ["a 46", "b 44"])
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
            // where there is one writer, nobody is told of anything while a handler has the transaction
            if (guarantee !== "exactly once") {
              yield* Wait.until("other processes to be told of it", isPastKnown(name, (past) => past > 100))
            }
            yield* goOn.open
            yield* complete(projection)
            yield* Wait.until("other processes to be told that it has come", isPastKnown(name, (past) => past === 0))
            yield* caughtUp(name)
            const before = handled.findIndex((place) => place === `${first} 10`)
            assert.isBelow(before, 150, "what is new takes its turns")
            assert.deepStrictEqual(
              handled.filter((place) => place.startsWith(`${second} `)),
              Array.from({ length: 200 }, (_, i) => `${second} ${i + 1}`)
            )
          }).pipe(
            whileRunning(projection),
            Effect.provideService(HeartbeatStore.Heartbeat, HeartbeatStore.heartbeat({ interval: "100 millis" }))
          )
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

  describe("the past of what a filter includes, exactly once,", () => {
    it.effect.each([1, 2, 3, 4, 5, 6])(
      "comes in full or not at all of what was given up by a tag, whatever is written while it is looked through (%i)",
      (seed) =>
        Effect.gen(function*() {
          const type = fresh("past")
          const name = freshName()
          const effects = makeEffects()
          const ids = [...idsOfSlice(type, 7, 8), ...idsOfSlice(type, 900, 4)]
          const written = new Map(ids.map((id): readonly [string, Array<"large" | "small">] => [id, []]))
          let seen = 0
          const projection = filtered(type, EventFilter.excludeAll).pipe(
            Projection.exactlyOnce(
              name,
              (envelope) => Effect.tap(effects.record(envelope), () => Effect.sync(() => void seen++))
            ),
            Projection.workers(2),
            Projection.recovery(persistent)
          )
          const write = (id: string, tag: "large" | "small") => {
            written.get(id)!.push(tag)
            return Journal.append(type, { id, events: ["event"], tags: [tag] })
          }
          const writeSome = (most: number, between: Effect.Effect<void>) =>
            Effect.gen(function*() {
              const numbers = yield* Effect.forEach(ids, () => below(most + 1))
              while (numbers.some((left) => left > 0)) {
                const at = yield* below(ids.length)
                if (numbers[at]!-- <= 0) continue
                yield* between
                yield* write(ids[at]!, (yield* below(2)) === 0 ? "large" : "small")
              }
            })
          yield* Effect.gen(function*() {
            yield* writeSome(4, Effect.void)
            yield* caughtUp(name)
            yield* ConsumerFilter.update(projection, EventFilter.includeTags("large"), none)
          }).pipe(whileRunning(projection))
          const before = new Map(Array.from(written, ([id, tags]) => [id, [...tags]]))
          yield* Effect.gen(function*() {
            yield* writeSome(1, Effect.void)
            yield* caughtUp(name)
          }).pipe(whileRunning(projection))
          const between = new Map(Array.from(written, ([id, tags]) => [id, tags.slice(before.get(id)!.length)]))
          yield* Effect.gen(function*() {
            yield* ConsumerFilter.update(projection, EventFilter.includeEntityIds(...ids), now)
            const later = seen + (yield* below(10))
            const turns = yield* below(30)
            yield* writeSome(
              2,
              Effect.gen(function*() {
                for (let i = yield* below(turns + 1); i > 0; i--) yield* Effect.yieldNow
              })
            )
            if ((yield* below(2)) === 0) return
            yield* Effect.raceFirst(
              Wait.until("some to be handled", () => seen >= later),
              complete(projection)
            )
          }).pipe(whileRunning(projection))
          yield* Effect.gen(function*() {
            yield* writeSome(1, Effect.void)
            yield* complete(projection)
            yield* caughtUp(name)
          }).pipe(whileRunning(projection))
          for (const [id, tags] of written) {
            const first = before.get(id)!.length
            const had = between.get(id)!
            // it came by an event with the tag first, or nothing of it is without the tag up to the one that it comes by
            const isGivenUp = had.includes("large") ||
              had.length === 0 && !before.get(id)!.includes("small") && tags[first] !== "small"
            const handled = (yield* effects.events(id)).map((event) => Number(event.split(" ")[0]))
            const expected = tags.map((_, i) => i + 1).slice(isGivenUp ? first : 0)
            assert.deepStrictEqual(handled, expected, `${id}: ${tags.join(", ")}; ${first} were given up`)
          }
        }).pipe(Random.withSeed(seed))
    )

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
