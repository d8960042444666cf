import { assert, describe } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import type * as Projection from "@sluice/core/Projection"
import { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Wait from "../../Wait.ts"
import type { It } from "../kit.ts"
import { append, fresh } from "../kit.ts"
import { ada, filtered, guarantees, idOf } from "./filteredProjectionTests.ts"
import { caughtUp, freshName, whileRunning } from "./projectionKit.ts"

type Storage = Journal.Journal | Projection.Stores

type On = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, Storage>>

/** A projection of the entities a and b, at least once, in an instance that can be kept from noticing changes. It counts b's events that are late. */
const cutOffAtWill = () => {
  const type = fresh("filtered")
  const state = { type, isCutOff: false, isExcluded: false, count: 0, late: 0 }
  const [, [, make]] = guarantees
  const projection = filtered(type).pipe(make(freshName(), (envelope) =>
    Effect.sync(() => {
      state.count++
      if (state.isExcluded && idOf(envelope) === "b") state.late++
    })))
  const cutOff = (management: ProjectionManagement["Service"]): ProjectionManagement["Service"] => ({
    ...management,
    changes: () => Effect.succeed(Effect.never),
    commanded: Effect.suspend(() => state.isCutOff ? Effect.never : management.commanded)
  })
  const write = Effect.gen(function*() {
    while (true) {
      for (const id of ["a", "b"]) yield* append(type, id, ["x"])
      yield* Effect.sleep(5)
    }
  })
  const running = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(whileRunning(projection), Effect.updateService(ProjectionManagement, cutOff), Effect.scoped)
  const exclude = ConsumerFilter.update({ source: `stream:${type.name}` }, EventFilter.excludeEntityIds("b"), ada)
  return { state, write, exclude, running }
}

/** @internal Tests on two instances of one database, each with a view of its own of what runs. */
export const sharedFilterTests = <R>(
  it: It<R>,
  two: Effect.Effect<ReadonlyArray<On>, unknown, R | Scope.Scope>
): void => {
  describe("two instances whose filter changes", () => {
    it.effect("lose no change, and see each other's", () =>
      Effect.gen(function*() {
        const [here, there] = (yield* two) as [On, On]
        const source = `stream:${freshName()}`
        yield* here(ConsumerFilter.begin(source, EventFilter.excludeAll))
        const ids = Array.from({ length: 12 }, (_, i) => `${10 + i}`)
        const versions = yield* Effect.forEach(
          ids,
          (id, i) =>
            (i % 2 === 0 ? here : there)(
              ConsumerFilter.update({ source }, EventFilter.includeEntityIds(id), { by: id })
            ),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          versions.map(({ version }) => version).toSorted((a, b) => a - b),
          ids.map((_, i) => i + 2)
        )
        for (const on of [here, there]) {
          const { filter } = yield* on(ConsumerFilter.get({ source }))
          assert.deepStrictEqual(filter.includeEntityIds.map(({ entityId }) => entityId), ids)
        }
        const [seen, stored] = yield* Effect.forEach(
          [here, there],
          (on) => on(ConsumerFilter.history({ source }, { limit: 100 }))
        )
        assert.isTrue(Equal.equals(seen, stored))
      }))

    for (const [guarantee, make] of guarantees) {
      it.effect(`hand over nothing ${guarantee} that the other has excluded, once that is acknowledged`, () =>
        Effect.gen(function*() {
          const [here, there] = (yield* two) as [On, On]
          const type = fresh("filtered")
          const name = freshName()
          const excluded = new Set<string>()
          const handled: Array<string> = []
          let late = 0
          const projection = filtered(type).pipe(
            make(name, (envelope) =>
              Effect.sync(() => {
                if (excluded.has(idOf(envelope))) late++
                handled.push(`${idOf(envelope)} ${envelope.sequenceNumber}`)
              }))
          )
          yield* Effect.gen(function*() {
            let written = 0
            const writing = yield* Effect.gen(function*() {
              while (true) {
                for (const id of ["a", "b", "c"]) yield* here(append(type, id, [`${++written}`]))
                yield* Effect.sleep(5)
              }
            }).pipe(Effect.forkScoped)
            for (const id of ["a", "b", "c", "a", "b", "c"]) {
              excluded.clear()
              yield* here(ConsumerFilter.update(
                projection,
                () => EventFilter.passAll.pipe(EventFilter.excludeEntityIds(id)),
                ada
              ))
              excluded.add(id)
              const before = handled.length
              yield* Wait.until("progress", () => handled.length > before + 4)
            }
            yield* Fiber.interrupt(writing)
            excluded.clear()
            yield* here(ConsumerFilter.rollBack({ source: `stream:${type.name}` }, 1, ada))
            for (const id of ["a", "b", "c"]) yield* here(append(type, id, ["last"]))
            yield* caughtUp(name)
            const workers = yield* ProjectionStatus.status(name)
            assert.deepStrictEqual(workers.map(({ restarts }) => restarts), [0])
          }).pipe(whileRunning(projection), Effect.scoped, there)
          assert.strictEqual(late, 0)
          for (const id of ["a", "b", "c"]) {
            const numbers = handled.filter((text) => text.startsWith(id)).map((text) => Number(text.slice(2)))
            if (guarantee === "exactly once") {
              assert.deepStrictEqual(numbers, numbers.map((_, i) => i + 1), "once and in order")
            }
            assert.strictEqual(new Set(numbers).size, Math.max(...numbers), "none is missing")
          }
        }))
    }

    it.effect("hand over nothing at least once that the other has excluded in a transaction, once that returns", () =>
      Effect.gen(function*() {
        const [here, there] = (yield* two) as [On, On]
        const { exclude, running, state, write } = cutOffAtWill()
        yield* Effect.gen(function*() {
          yield* Effect.forkScoped(write)
          yield* Wait.until("events", () => state.count > 10)
          // the other instance goes by what it knew last before the commit
          const changed = Effect.flatMap(exclude, () => {
            state.isCutOff = true
            return Clock.monotonicTimeNanos
          })
          const committing = yield* here(Journal.transaction(Journal.transaction(changed)))
          assert.isAbove(
            Number((yield* Clock.monotonicTimeNanos) - committing) / 1e6,
            450,
            "until nobody goes by that any more"
          )
          state.isExcluded = true
          yield* Effect.sleep("200 millis")
          assert.strictEqual(state.late, 0)
        }).pipe(running, there)
      }))

    it.effect("hand over nothing at least once that the other has excluded, even if one cannot know of it", () =>
      Effect.gen(function*() {
        const [here, there] = (yield* two) as [On, On]
        const { exclude, running, state, write } = cutOffAtWill()
        yield* Effect.gen(function*() {
          const writing = yield* Effect.forkScoped(here(write))
          yield* Wait.until("events", () => state.count > 10)
          state.isCutOff = true
          yield* here(exclude)
          state.isExcluded = true
          const before = state.count
          for (let i = 0; i < 10; i++) yield* here(append(state.type, "b", ["y"]))
          yield* Effect.sleep("100 millis")
          assert.strictEqual(state.count, before, "it waits until it knows")
          assert.strictEqual(state.late, 0)
          yield* Fiber.interrupt(writing)
        }).pipe(running, there)
      }))
  })
}
