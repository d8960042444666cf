import * as EntityType from "@sluice/core/EntityType"
import * as Slice from "@sluice/core/Slice"
import * as Effect from "effect/Effect"
import { Thing } from "../contract.ts"
import * as Mutant from "../Mutant.ts"
import { load, type Scenario } from "../Scenario.ts"

const ids = Array.from({ length: 10_000 }, (_, i) => `t-${i}`)
  .filter((id) => Slice.ofPersistenceId(EntityType.persistenceId(Thing, id)) < 2)

/** What each other scenario could be, on an adapter that assigns positions without the lock. */
const withoutLocks = (name: string, space: string, uniquePositions: boolean): Scenario => ({
  name,
  run: (environment) =>
    Effect.gen(function*() {
      const { server } = environment
      return yield* load(environment, {
        space,
        url: yield* Mutant.withoutLocks(server, space, { uniquePositions }),
        workers: 2,
        appenders: 16,
        // of few logs, so that appends of different entities meet
        entities: ids,
        mix: { append: 1, commit: 1 },
        hold: 20,
        // some never get there
        patience: "2 seconds",
        during: (crew) => environment.while(crew, 500)
      })
    })
})

export const unlocked = withoutLocks("a mutant without locks", "h_unlocked", true)
export const unguarded = withoutLocks("a mutant without locks and unique positions", "h_unguarded", false)
