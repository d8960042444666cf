import { assert, it } from "@effect/vitest"
import * as Simulation from "@sluice/testing/Simulation"
import { report } from "./report.ts"
import { run, workloads } from "./workload.ts"

/** A busy machine needs longer than one would think. */
const timeout = 600_000

it(
  "nothing is lost, doubled or reordered, whatever the seed, and all catch up after the last fault",
  { timeout },
  () => {
    const found = Simulation.explore(workloads, run, { seeds: 120 })
    assert.isUndefined(found && report(found, "projections"))
  }
)
