import { StorageError } from "@sluice/core/StorageError"
import * as Database from "@sluice/sql/Database"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Assert from "node:assert/strict"
import * as Proxy from "../Proxy.ts"
import type { Scenario } from "../Scenario.ts"
import * as Witness from "../Witness.ts"

/** The connection of a transaction breaks, in each of its states: that is an error with a type, and the pool lives on. */
export const lostTransactions: Scenario = {
  name: "transactions that lose their connection",
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      const witness = Witness.make(environment, "h_lost")
      const proxy = yield* Proxy.start(server.port)
      const instance = yield* witness.open({ url: server.url({ port: proxy.port }), settings: { poolSize: 2 } })
      const sql = yield* instance.on(Effect.map(Database.Database, (_) => _.sql))
      yield* instance.append("t")

      /** The instance has noticed when a statement of its own fails. */
      const cut = Effect.andThen(
        proxy.break("cut"),
        Wait.until("the connection to be lost", Effect.map(Effect.exit(sql`SELECT 1`), Exit.isFailure))
      )
      const cases: Record<string, Effect.Effect<unknown, unknown>> = {
        "before an append": instance.transaction((append) => Effect.andThen(proxy.break("cut"), append("t"))),
        "when that is known": instance.transaction((append) => Effect.andThen(cut, append("t"))),
        "before the commit": instance.transaction((append) => Effect.andThen(append("t"), proxy.break("cut"))),
        "before the commit, when that is known": instance.transaction((append) => Effect.andThen(append("t"), cut)),
        "before the rollback": instance.transaction((append) =>
          append("t").pipe(Effect.andThen(cut), Effect.andThen(Effect.fail("rolled back")))
        )
      }
      const problems: Array<string> = []
      for (const [when, transaction] of Object.entries(cases)) {
        const exit = yield* Effect.exit(transaction)
        Assert.ok(Exit.isFailure(exit))
        const [reason] = exit.cause.reasons
        const error = reason?._tag === "Fail" ? reason.error : undefined
        if (error !== "rolled back" && !(error instanceof StorageError && error.reason === "Unavailable")) {
          problems.push(`the connection is lost ${when}: ${reason?._tag} ${error ?? (reason as any)?.defect}`)
        }
        // and another connection is there as soon as the loss of all was noticed
        yield* Wait.until(
          "a transaction to succeed",
          Effect.map(Effect.exit(instance.transaction((append) => append("t"))), Exit.isSuccess)
        )
      }
      const outcome = yield* witness.outcome
      return { ...outcome, problems: [...outcome.problems, ...problems] }
    })
}
