import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as StorageError from "@sluice/core/StorageError"
import * as SimulatedDatabase from "@sluice/testing/SimulatedDatabase"
import * as Simulation from "@sluice/testing/Simulation"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

const Note = EntityType.make("note", { codec: EventCodec.string })

const seeds = Array.from({ length: 30 }, (_, seed) => seed)

/** Runs it with many seeds, and returns what comes of each. */
const each = <A>(effect: Effect.Effect<A, unknown, Simulation.Simulation | Scope.Scope>): ReadonlyArray<A> =>
  seeds.map((seed) => {
    const { exit } = Simulation.run(effect, { seed })
    if (Exit.isFailure(exit)) throw new Error(`seed ${seed}: ${Cause.pretty(exit.cause)}`)
    return exit.value
  })

const append = (id: string, event: string) => Journal.append(Note, { id, events: [event] })

const events = (database: SimulatedDatabase.SimulatedDatabase, id: string) =>
  database.inspect(Stream.runCollect(Stream.map(Journal.read(Note, id), ({ event }) => event)))

describe("a simulated database", () => {
  it("outlives its processes, which see each other's events", () => {
    const outcomes = each(Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const first = yield* Simulation.process("first", Effect.provide(append("a", "1"), database.layer))
      yield* first.ended
      const second = yield* Simulation.process("second", Effect.provide(append("a", "2"), database.layer))
      yield* second.ended
      return yield* events(database, "a")
    }))
    for (const outcome of outcomes) assert.deepStrictEqual(outcome, ["1", "2"])
  })

  it("undoes what a killed process has not committed, tables included, and lets others go on", () => {
    const outcomes = each(Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const table = SimulatedDatabase.table<string>(database)
      const dying = yield* Simulation.process(
        "dying",
        Effect.provide(
          Journal.transaction(Effect.andThen(Effect.andThen(append("a", "1"), table.set("a", "1")), Effect.never)),
          database.layer
        )
      )
      yield* Effect.sleep("1 second")
      yield* dying.kill
      const other = yield* Simulation.process("other", Effect.provide(append("a", "2"), database.layer))
      yield* other.ended
      return [yield* events(database, "a"), (yield* table.rows).size]
    }))
    for (const outcome of outcomes) assert.deepStrictEqual(outcome, [["2"], 0])
  })

  it("that loses every answer of a commit has done it, and says that it is not known", () => {
    const outcomes = each(Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      yield* database.suffer({ losesAnswers: 1 })
      let error: unknown
      const service = yield* Simulation.process(
        "service",
        Effect.provide(
          Effect.catch(Journal.transaction(append("a", "1")), (failure) => Effect.sync(() => error = failure)),
          database.layer
        )
      )
      yield* service.ended
      return [error instanceof StorageError.StorageError && error.reason, yield* events(database, "a")]
    }))
    for (const outcome of outcomes) assert.deepStrictEqual(outcome, ["Unavailable", ["1"]])
  })

  it("that loses answers of appends is asked again until it is known, and has each once", () => {
    const outcomes = each(Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      yield* database.suffer({ losesAnswers: 0.7 })
      const writing = Effect.forEach(["1", "2", "3"], (event) => append("a", event))
      const service = yield* Simulation.process("service", Effect.provide(writing, database.layer))
      yield* service.ended
      return yield* events(database, "a")
    }))
    for (const outcome of outcomes) assert.deepStrictEqual(outcome, ["1", "2", "3"])
  })

  it("that is absent, or breaks its connections, has committed nothing of what was open", () => {
    for (const isAbsent of [true, false]) {
      const outcomes = each(Effect.gen(function*() {
        const database = yield* SimulatedDatabase.make("database")
        let error: unknown
        const slow = Journal.transaction(Effect.andThen(append("a", "1"), Effect.sleep("2 seconds")))
        const service = yield* Simulation.process(
          "service",
          Effect.provide(Effect.catch(slow, (failure) => Effect.sync(() => error = failure)), database.layer)
        )
        yield* Effect.sleep("1 second")
        yield* isAbsent ? database.suffer({ absent: true }) : database.disconnect
        yield* service.ended
        return [error instanceof StorageError.StorageError && error.isOfStorage, yield* events(database, "a")]
      }))
      for (const outcome of outcomes) assert.deepStrictEqual(outcome, [true, []])
    }
  })

  it("that is silent answers once it speaks again", () => {
    const outcomes = each(Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      yield* database.freeze
      const service = yield* Simulation.process("service", Effect.provide(append("a", "1"), database.layer))
      yield* Effect.sleep("1 hour")
      const before = yield* service.isRunning
      yield* database.thaw
      yield* service.ended
      return [before, yield* events(database, "a")]
    }))
    for (const outcome of outcomes) assert.deepStrictEqual(outcome, [true, ["1"]])
  })

  it("that was silent begins no transaction that nobody waits for any more, so that others go on", () => {
    const outcomes = each(Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database", { latency: 100 })
      const giveUp = Effect.timeoutOption(Journal.transaction(append("a", "1")), "1 second")
      yield* database.freeze
      const service = yield* Simulation.process("service", Effect.provide(giveUp, database.layer))
      yield* service.ended
      yield* database.thaw
      const other = yield* Simulation.process("other", Effect.provide(append("a", "2"), database.layer))
      const ended = yield* Effect.timeoutOption(other.ended, "1 minute")
      return [ended._tag, yield* events(database, "a")]
    }))
    for (const outcome of outcomes) assert.deepStrictEqual(outcome, ["Some", ["2"]])
  })

  it("notifies processes of what others have committed, which find what it loses, or does not tell, when they look", () => {
    for (
      const { losesNotifications, options } of [
        { options: {}, losesNotifications: 1 },
        { options: { lossy: true }, losesNotifications: 1 },
        { options: { mute: true }, losesNotifications: 0 }
      ]
    ) {
      const waited = each(Effect.gen(function*() {
        const simulation = yield* Simulation.Simulation
        const database = yield* SimulatedDatabase.make("database", options)
        yield* database.suffer({ losesNotifications })
        let woken = 0
        const listener = Effect.gen(function*() {
          const journal = yield* Journal.Journal
          const changed = yield* journal.changes("note")
          const heads = Effect.map(journal.heads("note", { min: 0, max: 1023 } as never), ({ size }) => size)
          while ((yield* heads) === 0) yield* changed
          woken = yield* simulation.elapsed
        })
        const service = yield* Simulation.process("listener", Effect.provide(listener, database.layer))
        yield* Effect.sleep("5500 millis")
        const writer = yield* Simulation.process("writer", Effect.provide(append("a", "1"), database.layer))
        yield* writer.ended
        const written = yield* simulation.elapsed
        yield* service.ended
        return woken - written
      }))
      const looks = "lossy" in options || "mute" in options
      for (const millis of waited) assert.isTrue(looks ? millis > 1 && millis < 1500 : millis < 100, `${millis} ms`)
    }
  })

  it("is written by the test itself too, in transactions or without", () => {
    const outcomes = each(Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const table = SimulatedDatabase.table<number>(database)
      yield* database.inspect(table.set("a", 1))
      const twice = Effect.andThen(table.set("b", 2), Journal.transaction(table.set("c", 3)))
      const undone = Effect.andThen(twice, Effect.fail("undone"))
      yield* Effect.flip(database.inspect(Journal.transaction(undone)))
      const before = (yield* table.rows).size
      yield* database.inspect(Journal.transaction(twice))
      return [before, Object.fromEntries(yield* table.rows)]
    }))
    for (const outcome of outcomes) assert.deepStrictEqual(outcome, [1, { a: 1, b: 2, c: 3 }])
  })

  it("is not written by a fiber that outlives its transaction, which dies", () => {
    const outcomes = each(Effect.gen(function*() {
      const database = yield* SimulatedDatabase.make("database")
      const table = SimulatedDatabase.table<number>(database)
      let late: Fiber.Fiber<void, unknown> | undefined
      const forks = Effect.map(
        Effect.forkDetach(Effect.delay(table.set("a", 1), "1 second")),
        (fiber) => late = fiber
      )
      const service = yield* Simulation.process(
        "service",
        Effect.provide(
          Journal.transaction(forks).pipe(
            Effect.andThen(Effect.sleep("2 seconds"))
          ),
          database.layer
        )
      )
      yield* service.ended
      const exit = yield* Fiber.await(late!)
      return [Exit.isFailure(exit) && String(Cause.squash(exit.cause)), (yield* table.rows).size]
    }))
    for (const [died, rows] of outcomes) {
      assert.match(String(died), /a transaction that is over/)
      assert.strictEqual(rows, 0)
    }
  })
})
