import { load, type Scenario } from "../Scenario.ts"

/** Transactions over a few logs, which are held open, rolled back or interrupted, and take the logs in any order. */
export const transactions = (hold: number): Scenario => ({
  name: "transactions held open",
  run: (environment) =>
    load(environment, {
      space: "h_transactions",
      workers: 2,
      appenders: 16,
      entities: 40,
      mix: { append: 6, expect: 2, commit: 4, rollback: 2, interrupt: 2 },
      hold,
      during: (crew) => environment.while(crew, 100)
    })
})
