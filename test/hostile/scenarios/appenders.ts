import * as Effect from "effect/Effect"
import * as Disturbance from "../Disturbance.ts"
import { load, type Scenario } from "../Scenario.ts"

/**
 * 64 appenders in two processes, and their tails, which must not wait for a transaction that writes to another database, nor for one that
 * somebody has forgotten.
 */
const appenders = (name: string, space: string, entities: number): Scenario => ({
  name,
  run: (environment) =>
    load(environment, {
      space,
      workers: 2,
      appenders: 32,
      entities,
      mix: { append: 9, expect: 1 },
      during: (crew) =>
        Effect.gen(function*() {
          // they stay open until the tails have seen everything
          yield* Disturbance.writeElsewhere(environment.server)
          yield* Disturbance.idleInTransaction(environment.server, space)
          yield* environment.while(crew)
        })
    })
})

export const oneEntity = appenders("64 appenders on 1 entity", "h_one", 1)
export const manyEntities = appenders("64 appenders on 10,000 entities", "h_many", 10_000)
