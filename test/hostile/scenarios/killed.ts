import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import { load, lostConnection, type Scenario } from "../Scenario.ts"

/** The server ends with SIGKILL in the middle of everything, and comes back. */
export const databaseKilled = (times: number): Scenario => ({
  name: "the database killed",
  run: (environment) =>
    load(environment, {
      space: "h_killed",
      workers: 2,
      appenders: 32,
      entities: 200,
      mix: { append: 8, expect: 1, commit: 2, rollback: 1 },
      hold: 20,
      mayFail: lostConnection,
      during: (crew) =>
        Effect.gen(function*() {
          const { kill, start } = environment.server
          for (let i = 0; i < times; i++) {
            yield* environment.while(crew)
            yield* kill
            yield* start
          }
          const before = crew.acknowledged()
          yield* Wait.until(
            "the workers to go on",
            () => crew.crashes.length > 0 || crew.acknowledged() > before + 500,
            { atMost: "2 minutes" }
          )
        })
    })
})

/** One of the processes ends with SIGKILL in the middle of everything, and is started again. */
export const processKilled = (times: number): Scenario => ({
  name: "a process killed",
  run: (environment) =>
    load(environment, {
      space: "h_process",
      workers: 2,
      appenders: 32,
      entities: 200,
      mix: { append: 8, expect: 1, commit: 2, rollback: 1 },
      hold: 20,
      during: (crew) =>
        Effect.gen(function*() {
          for (let i = 0; i < times; i++) {
            yield* environment.while(crew)
            yield* crew.kill(i % 2)
          }
          yield* environment.while(crew)
        })
    })
})
