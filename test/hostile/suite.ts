/** The scenarios for a moment each, on one server: a file of tests runs them, so that servers take no turns. */
import { assert, layer } from "@effect/vitest"
import { JournalForked } from "@sluice/core/Journal"
import { StorageError } from "@sluice/core/StorageError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { type Environment, moreEvents } from "./Scenario.ts"
import * as scenarios from "./scenarios.ts"
import { unguarded, unlocked } from "./scenarios/mutants.ts"
import * as Server from "./Server.ts"

class Hostile extends Context.Service<Hostile, Environment>()("sluice/test/Hostile") {}

/** A server for all scenarios, of which each lasts until its processes have appended some more events. */
const environment = (name: Server.Name) =>
  Layer.effect(
    Hostile,
    Effect.gen(function*() {
      const server = yield* Server.start(name)
      if (name === "postgres") {
        // a second by default, which most of the time would be spent with
        yield* server.run("ALTER SYSTEM SET deadlock_timeout = '50ms'", "SELECT pg_reload_conf()")
      }
      return Hostile.of({ server, while: (crew, events = 300) => moreEvents(crew, events) })
    })
  )

const run = (scenario: scenarios.Scenario) =>
  Effect.flatMap(Hostile, scenario.run).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))

export const suite = (name: Server.Name): void => {
  if (!Server.names.includes(name)) return
  layer(environment(name), { excludeTestServices: true, timeout: "3 minutes" })(name, (it) => {
    for (const scenario of scenarios.short) {
      it.effect(`loses, doubles and reorders nothing: ${scenario.name}`, () =>
        Effect.gen(function*() {
          const { problems, tally } = yield* run(scenario)
          assert.deepStrictEqual(problems, [])
          assert.isAbove(tally.appended, 0)
        }))
    }

    for (const mutant of [unlocked, unguarded]) {
      it.effect(`is seen to fail: ${mutant.name}`, () =>
        Effect.gen(function*() {
          // that its journal cannot be read at the end is a way to fail, too
          const result = yield* Effect.result(run(mutant))
          assert.isTrue(
            result._tag === "Success"
              ? result.success.problems.length > 0
              : result.failure instanceof JournalForked ||
                result.failure instanceof StorageError && result.failure.reason === "Damaged",
            String(result)
          )
        }))
    }
  })
}
