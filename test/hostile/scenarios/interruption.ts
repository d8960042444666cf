import * as Database from "@sluice/sql/Database"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import * as Disturbance from "../Disturbance.ts"
import type { Scenario } from "../Scenario.ts"
import type { Server } from "../Server.ts"
import * as Witness from "../Witness.ts"

const sleep = (server: Server): string => server.adapter === "postgres" ? "SELECT pg_sleep(60)" : "SELECT SLEEP(60)"

const sleeping = (server: Server): Effect.Effect<number> =>
  Effect.map(
    server.run(
      server.adapter === "postgres"
        ? "SELECT COUNT(*) AS n FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep'"
        : "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE state = 'User sleep'"
    ),
    ([row]) => Number(row.n)
  )

const soon = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.timeoutOrElse(effect, {
    duration: "5 seconds",
    orElse: () => Effect.die(new Error(`${what} takes long`))
  })

/**
 * What is interrupted does not go on in the database, and its connection can be used again at once, though all of the pool are busy.
 */
export const interruption: Scenario = {
  name: "queries and transactions interrupted",
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      const witness = Witness.make(environment, "h_interrupted")
      const poolSize = 2
      const instance = yield* witness.open({ settings: { poolSize, lockTimeout: 60_000 } })
      const other = yield* witness.open()
      const sql = yield* instance.on(Effect.map(Database.Database, (_) => _.sql))
      const usable = soon("a query", Effect.all([sql`SELECT 1`, sql`SELECT 1`], { concurrency: "unbounded" }))

      const queries = yield* Effect.forEach(
        Array.from({ length: poolSize }),
        () => Effect.forkScoped(sql.unsafe(sleep(server)))
      )
      yield* Wait.until("the queries to run", Effect.map(sleeping(server), (n) => n === poolSize))
      yield* soon("interrupting queries", Fiber.interruptAll(queries))
      yield* Wait.until("the queries to end", Effect.map(sleeping(server), (n) => n === 0))
      yield* usable

      const begun = yield* Latch.make(false)
      const end = yield* Latch.make(false)
      const holding = yield* Effect.forkScoped(
        other.transaction((append) => append("held").pipe(Effect.andThen(begun.open), Effect.andThen(end.await)))
      )
      yield* begun.await
      const transactions = yield* Effect.forEach(
        Array.from({ length: poolSize }),
        (_, i) =>
          Effect.forkScoped(instance.transaction((append) => Effect.andThen(append(`free ${i}`), append("held"))))
      )
      yield* Wait.until("the appends to wait", Effect.map(Disturbance.waiting(server), (n) => n === poolSize))
      yield* soon("interrupting transactions", Fiber.interruptAll(transactions))
      yield* Wait.until("the appends to end", Effect.map(Disturbance.waiting(server), (n) => n === 0))
      yield* usable
      // nothing is left of them, so others get the locks that they had
      yield* soon("an append", other.append("free 0", "none"))
      yield* end.open
      yield* Fiber.join(holding)

      // at any other moment as well
      yield* Effect.forEach(
        Array.from({ length: 300 }),
        () =>
          Effect.flatMap(Random.nextIntBetween(0, 7), (millis) =>
            Effect.timeoutOption(
              instance.transaction((append) => Effect.andThen(append("free 1"), append("held"))),
              millis
            )),
        { concurrency: 4 }
      )
      yield* usable
      yield* Wait.until(
        "no transaction to be open",
        // MySQL shows an old state to who looks often
        Effect.delay(Effect.map(Disturbance.transactions(server), (n) => n === 0), "150 millis")
      )
      return yield* witness.outcome
    })
}
