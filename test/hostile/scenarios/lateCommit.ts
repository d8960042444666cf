import { StorageError } from "@sluice/core/StorageError"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Assert from "node:assert/strict"
import * as Disturbance from "../Disturbance.ts"
import * as Proxy from "../Proxy.ts"
import type { Scenario } from "../Scenario.ts"
import * as Server from "../Server.ts"
import * as Witness from "../Witness.ts"

const waitingSessions = (server: Server.Server): Effect.Effect<ReadonlyArray<number>> =>
  Effect.map(server.run("SELECT pid FROM pg_locks WHERE NOT granted"), (rows) => rows.map(({ pid }) => pid))

/**
 * An append's connection breaks, and the server does not notice: it still has the lock while the append is sent again, and commits
 * after that. The append is answered once it is known, and not written again. On PostgreSQL the first attempt is ended before the second.
 */
export const lateCommit: Scenario = {
  name: "a commit after its append was sent again",
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      const space = "h_late"
      const witness = Witness.make(environment, space)
      const proxy = yield* Proxy.start(server.port)
      const url = server.url({ port: proxy.port })
      const patient = yield* witness.open({ url, settings: { lockTimeout: 60_000 } })
      const impatient = yield* witness.open({ url, settings: { lockTimeout: 1000 } })
      yield* patient.append("t-0")
      yield* impatient.append("t-0")

      let count = 0
      /** Returns a fiber that appends, whose first attempt holds the lock, and an effect that lets it commit. */
      const late = (instance: Witness.Instance, expected: "any" | "none") =>
        Effect.gen(function*() {
          // on PostgreSQL the session gets as far as the insert, and on MySQL it waits for the proxy to hand it over
          const scope = yield* Scope.make()
          if (server.adapter === "postgres") {
            const { run } = yield* Scope.provide(server.session(), scope)
            yield* run("BEGIN")
            yield* run(`LOCK TABLE ${Server.table("postgres", space, "journal")} IN SHARE MODE`)
          } else {
            let kept = false
            yield* proxy.rule(({ bytes }) => {
              if (kept || !Proxy.commits(bytes)) return bytes
              kept = true
              return "orphan"
            })
          }
          const before = proxy.broken()
          const fiber = yield* Effect.forkScoped(instance.append(`late ${count++}`, expected))
          let first: ReadonlyArray<number> = []
          if (server.adapter === "postgres") {
            yield* Wait.until("the insert to wait", Effect.map(Disturbance.waiting(server), (n) => n === 1))
            first = yield* waitingSessions(server)
            yield* proxy.break("orphan")
          } else yield* Wait.until("the connection to break", () => proxy.broken() > before)
          yield* Wait.until(
            "the append to wait for the lock",
            server.adapter === "postgres"
              ? Effect.map(waitingSessions(server), (pids) => pids.length === 1 && pids[0] !== first[0])
              : Effect.map(Disturbance.waiting(server), (n) => n === 1)
          )
          return { fiber, commit: Effect.andThen(Scope.close(scope, Exit.void), proxy.deliver) }
        })

      for (const expected of ["any", "none"] as const) {
        const { commit, fiber } = yield* late(patient, expected)
        yield* commit
        yield* Fiber.join(fiber)
      }
      const { commit, fiber } = yield* late(impatient, "any")
      const error = yield* Effect.flip(Fiber.join(fiber))
      // busy is the second attempt, but that nothing was written nobody knows
      Assert.ok(error instanceof StorageError && error.reason === "Unavailable", String(error))
      yield* commit
      yield* Wait.until(
        "the first attempt to end",
        Effect.delay(Effect.map(Disturbance.transactions(server), (n) => n === 0), "150 millis")
      )
      return yield* witness.outcome
    })
}
