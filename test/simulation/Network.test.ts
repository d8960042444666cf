import { assert, it } from "@effect/vitest"
import * as Simulation from "@sluice/testing/Simulation"
import { run, workloads } from "./network.ts"
import { report } from "./report.ts"

/** A busy machine needs longer than one would think. */
const timeout = 300_000

it(
  "nothing is lost, doubled or reordered between services, whatever becomes of the network, and all catch up",
  { timeout },
  () => {
    const found = Simulation.explore(workloads, run, { seeds: 30 })
    assert.isUndefined(found && report(found, "network"))
  }
)
