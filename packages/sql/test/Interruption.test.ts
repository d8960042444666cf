/** Interruption and giving way to other fibers, at each step of a statement and of a transaction. */
import { assert, describe, it } from "@effect/vitest"
import type { Dialect } from "@sluice/sql/adapter/Dialect"
import type { Session } from "@sluice/sql/adapter/Session"
import * as Database from "@sluice/sql/Database"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import type { DatabaseConnection, QueryResult } from "kysely"
import { sql } from "kysely"
import * as Timers from "node:timers/promises"
import { errorOf, FakeServer } from "./fakeServer.ts"

/** Runs the effect once for each of its steps, and gives way to `meanwhile` before that step. Then `after` looks at how it has ended. */
const atEachStep = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  meanwhile: (fiber: Fiber.Fiber<unknown, unknown>) => void,
  after: (step: number, exit: Exit.Exit<A, E>) => void
) =>
  Effect.gen(function*() {
    const scheduler = yield* Scheduler.Scheduler
    let step = 0
    for (let isDone = false; !isDone;) {
      step++
      let first: object | undefined
      let taken = 0
      const fiber = yield* Effect.forkChild(Effect.provideService(effect, Scheduler.Scheduler, {
        executionMode: scheduler.executionMode,
        makeDispatcher: () => scheduler.makeDispatcher(),
        shouldYield: (of) => {
          first ??= of
          if (of !== first || ++taken !== step) return false
          queueMicrotask(() => meanwhile(of))
          return true
        }
      }))
      const exit = yield* Fiber.await(fiber)
      isDone = taken < step
      after(step, exit)
    }
    assert.isAbove(step, 10)
  })

describe.each(["postgres", "mysql"] satisfies ReadonlyArray<Dialect>)("a connection to %s", (dialect) => {
  it.live.each(["a statement", "a statement with values", "a transaction", "a transaction with values"] as const)(
    "is given back once %s is answered, wherever that is interrupted",
    (what) =>
      Effect.gen(function*() {
        const server = new FakeServer(dialect)
        for (const start of ["BEGIN", "SELECT"]) {
          server.when(start, {
            get after() {
              return Timers.setTimeout(1)
            }
          })
        }
        const { sql, withTransaction } = yield* server.database
        const one = sql.unsafe("SELECT 1", what.endsWith("values") ? [1] : [])
        yield* atEachStep(
          what.startsWith("a statement") ? one : withTransaction(one),
          (fiber) => fiber.interruptUnsafe(),
          (step) => assert.notInclude(server.released, "busy", `step ${step}`)
        )
      })
  )
})

describe("the only connection, which answers at once,", () => {
  const lent = { to: 0 }
  const databaseOf = (executeNow: () => QueryResult<any>) =>
    Database.make({
      dialect: "sqlite",
      sessions: {
        isSingle: true,
        acquire: (): Session => {
          lent.to++
          return {
            connection: {} as DatabaseConnection,
            executeNow,
            status: () => "none",
            ask: async () => "none",
            release: () => void lent.to--
          }
        }
      }
    })

  it.live("is given back wherever a statement is interrupted", () =>
    Effect.gen(function*() {
      const { run } = yield* databaseOf(() => ({ rows: [] }))
      yield* atEachStep(
        run(sql`SELECT 1`),
        (fiber) => fiber.interruptUnsafe(),
        (step) => assert.strictEqual(lent.to, 0, `step ${step}`)
      )
    }))

  it.live("fails with what it throws, wherever the statement gives way to others", () =>
    Effect.gen(function*() {
      const { run } = yield* databaseOf(() => {
        throw errorOf("sqlite", "constraint")
      })
      const unhandled: Array<unknown> = []
      const listener = (error: unknown) => void unhandled.push(error)
      yield* Effect.acquireRelease(
        Effect.sync(() => process.on("unhandledRejection", listener)),
        () => Effect.sync(() => process.off("unhandledRejection", listener))
      )
      yield* atEachStep(
        Effect.flip(run(sql`SELECT 1`)),
        () => {},
        (step, exit) => {
          assert.deepStrictEqual(unhandled, [], `step ${step}`)
          assert.isTrue(Exit.isSuccess(exit) && exit.value.reason._tag === "ConstraintError")
        }
      )
    }))
})
