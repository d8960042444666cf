import { assert, describe, it } from "@effect/vitest"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import { PersistenceError } from "effect/cluster/ClusterError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as ClusterDatabase from "../src/internal/ClusterDatabase.ts"
import { Routes } from "../src/internal/entities/Routes.ts"

type Run = ClusterDatabase.ClusterDatabase["run"]

const address = `${"0".repeat(32)}@127.0.0.1:4711`

/** The routes of a process whose statements do what the test says. */
const routes = (run: Effect.Effect<ReadonlyArray<unknown>, PersistenceError>) =>
  Effect.gen(function*() {
    const times = Duration.seconds(6)
    const cluster = yield* ClusterDatabase.make({ pollEvery: times, takeover: times, what: "entities" })
    return yield* Routes.make({ ...cluster, run: (() => run) as Run })
  })

const provided = Effect.provide(SqliteStorage.layer({ filename: ":memory:" }))

const find = (routes: Routes) => Effect.forkChild(routes.find(3, 0), { startImmediately: true })

describe("where entities are", () => {
  it.effect("is read once for all who wait, and ends with its scope", () =>
    Effect.gen(function*() {
      const seen = { begun: 0, ended: 0 }
      const scope = yield* Scope.fork(yield* Effect.scope)
      const hanging = Effect.onInterrupt(
        Effect.andThen(Effect.sync(() => seen.begun++), Effect.never),
        () => Effect.sync(() => seen.ended++)
      )
      const known = yield* Scope.provide(routes(hanging), scope)
      yield* TestClock.adjust("1 second")
      for (let i = 0; i < 100; i++) yield* Effect.andThen(find(known), Fiber.interrupt)
      const last = yield* find(known)
      assert.deepStrictEqual(seen, { begun: 1, ended: 0 })
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(seen, { begun: 1, ended: 1 })
      assert.deepStrictEqual(yield* Fiber.join(last), { peer: undefined, problem: "this process ends" })
    }).pipe(provided))

  it.effect("is not waited for without an end, and who asks is told why it is not known", () =>
    Effect.gen(function*() {
      const known = yield* routes(Effect.never)
      yield* TestClock.adjust("1 second")
      const asked = yield* find(known)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(asked), {
        peer: undefined,
        problem: "it does not answer within 5000 ms"
      })
      const away = yield* routes(Effect.fail(new PersistenceError({ cause: new Error("it is away") })))
      assert.deepStrictEqual(yield* away.find(3, 0), { peer: undefined, problem: "it is away" })
    }).pipe(provided))

  it.effect("is what the leases say, and tells the time of the database", () =>
    Effect.gen(function*() {
      const rows = [{ shard: "default:4", address, now: 5_000_000_000 }]
      const known = yield* routes(Effect.succeed(rows))
      yield* TestClock.adjust("1 second")
      assert.isUndefined(known.databaseTime(0))
      assert.deepStrictEqual(yield* known.find(3, 0), {
        peer: { name: address, host: "127.0.0.1", port: 4711 },
        problem: undefined
      })
      // no later than it was
      assert.strictEqual(known.databaseTime(500), 4_999_499_000)
    }).pipe(provided))
})
