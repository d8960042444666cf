import { assert, it } from "@effect/vitest"
import { Simulation } from "@sluice/testing"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import { run, workloads } from "./network.ts"

/** A busy machine needs longer than one would think. */
const timeout = 300_000

it(
  "nothing is lost, doubled or reordered between services, whatever becomes of the network, and all catch up",
  { timeout },
  () => {
    const found = Simulation.explore(workloads, run, { seeds: 60 })
    if (found === undefined) return
    const { input, outcome, seed } = found
    const error = Exit.isFailure(outcome.exit) ? Cause.squash(outcome.exit.cause) : undefined
    assert.fail([
      `Seed ${seed}: ${String(error)}`,
      `With ${JSON.stringify(input)}`,
      `Again: npm run test:simulation -- --workload network --seed ${seed} --trace`
    ].join("\n"))
  }
)
