import { assert, it } from "@effect/vitest"
import { Simulation } from "@sluice/testing"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import { run, workloads } from "./workload.ts"

/** A busy machine needs longer than one would think. */
const timeout = 600_000

it(
  "nothing is lost, doubled or reordered, whatever the seed, and all catch up after the last fault",
  { timeout },
  () => {
    const found = Simulation.explore(workloads, run, { seeds: 300 })
    if (found === undefined) return
    const { input, outcome, seed } = found
    const error = Exit.isFailure(outcome.exit) ? Cause.squash(outcome.exit.cause) : undefined
    assert.fail([
      `Seed ${seed}: ${String(error)}`,
      `With ${JSON.stringify(input)}`,
      `Again: npm run test:simulation -- --seed ${seed} --trace`
    ].join("\n"))
  }
)
