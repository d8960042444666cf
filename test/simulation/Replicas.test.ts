import { assert, it } from "@effect/vitest"
import * as Simulation from "@sluice/testing/Simulation"
import { run, workloads } from "./replicas.ts"
import { report } from "./report.ts"

/** A busy machine needs longer than one would think. */
const timeout = 600_000

it(
  "replicas that are written while links are cut and processes die have the same events in the end, each once, and the same states",
  { timeout },
  () => {
    const found = Simulation.explore(workloads, run, { seeds: 20, maxSteps: 1_000_000 })
    assert.isUndefined(found && report(found, "replicas"))
  }
)
