import { assert, it } from "@effect/vitest"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import { type Command, ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { SharedLooks } from "../src/internal/projection/SharedLooks.ts"

/** Looks at a storage that other processes may use, and what it was asked. */
const looking = Effect.gen(function*() {
  const management = yield* ProjectionManagement
  const asked = { numbers: 0, names: [] as Array<ReadonlyArray<string>> }
  const looks = new SharedLooks({
    ...management,
    isShared: true,
    commanded: Effect.suspend(() => {
      asked.numbers++
      return management.commanded
    }),
    commands: (names) =>
      Effect.suspend(() => {
        asked.names.push(names)
        return management.commands(names)
      })
  })
  const told: Array<string> = []
  const join = (projection: string, isFiltered = true) =>
    Effect.andThen(
      management.register({ projection, source: "stream:s" }),
      looks.join({
        projection,
        isFiltered,
        seen: (exit: Exit.Exit<Command, unknown>) =>
          Effect.sync(() => void (Exit.isSuccess(exit) && told.push(`${projection} ${exit.value.revision}`)))
      })
    )
  return { management, asked, looks, told, join }
})

const memory = Layer.fresh(MemoryStorage.layer)

it.effect("however many projections wait for commands, a look asks for one number until one is commanded", () =>
  Effect.gen(function*() {
    const { asked, join, management, told } = yield* looking
    const names = Array.from({ length: 1000 }, (_, i) => `p${i}`)
    for (const name of names) yield* join(name)
    yield* TestClock.adjust(100)
    assert.strictEqual(told.length, 1000)
    asked.numbers = 0
    asked.names.length = 0
    told.length = 0
    yield* TestClock.adjust(1000)
    assert.deepStrictEqual(asked, { numbers: 5, names: [] })
    yield* management.setPaused("p7", true)
    yield* TestClock.adjust(200)
    assert.include(told, "p7 1")
    assert.deepStrictEqual(asked.names, [names])
  }).pipe(Effect.provide(memory)))

it.effect("one that joins later is told, whoever has left meanwhile, and nobody looks once all have left", () =>
  Effect.gen(function*() {
    const { asked, join, looks, told } = yield* looking
    const [first, second] = [yield* Scope.make(), yield* Scope.make()]
    yield* Scope.provide(join("a"), first)
    yield* TestClock.adjust(50)
    yield* Scope.provide(join("b"), second)
    yield* Scope.close(first, Exit.void)
    yield* looks.look
    assert.deepStrictEqual(told, ["a 0", "b 0"])
    assert.deepStrictEqual(asked.names, [["a"], ["b"]])
    yield* Scope.close(second, Exit.void)
    yield* looks.look
    asked.numbers = 0
    yield* TestClock.adjust(5000)
    assert.strictEqual(asked.numbers, 0)
  }).pipe(Effect.provide(memory)))

it.effect("while a source takes a filter, it is known between the looks what was commanded, where each takes as long as 140 ms", () =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    const looks = new SharedLooks({ ...management, isShared: true, commanded: Effect.delay(management.commanded, 140) })
    yield* looks.join({ projection: "a", isFiltered: true, seen: () => Effect.void })
    yield* TestClock.adjust(140)
    const clock = yield* Effect.clockWith(Effect.succeed)
    for (let at = 0; at < 2_000; at += 10) {
      assert.isTrue(looks.isKnown(clock), `${at}`)
      yield* TestClock.adjust(10)
    }
  }).pipe(Effect.provide(memory)))

it.effect("nothing new is known before all have been told", () =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    const looks = new SharedLooks({ ...management, isShared: true })
    const told: Array<string> = []
    const isKnown = () => looks.isKnown(clock)
    const clock = yield* Effect.clockWith(Effect.succeed)
    for (const projection of ["a", "b"]) {
      yield* looks.join({
        projection,
        isFiltered: true,
        seen: () => Effect.andThen(Effect.sleep(100), Effect.sync(() => void told.push(projection)))
      })
    }
    yield* TestClock.adjust(150)
    assert.deepStrictEqual([told, isKnown()], [["a"], false])
    yield* TestClock.adjust(50)
    assert.deepStrictEqual([told, isKnown()], [["a", "b"], true])
  }).pipe(Effect.provide(memory)))

it.effect("looks are rarer where no source takes a filter", () =>
  Effect.gen(function*() {
    const { asked, join } = yield* looking
    yield* join("a", false)
    yield* TestClock.adjust(0)
    asked.numbers = 0
    yield* TestClock.adjust(5000)
    assert.strictEqual(asked.numbers, 5)
  }).pipe(Effect.provide(memory)))
