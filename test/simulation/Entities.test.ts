import { assert, it } from "@effect/vitest"
import * as Simulation from "@sluice/testing/Simulation"
import { run, workloads } from "./entities.ts"
import { report } from "./report.ts"

/** A busy machine needs longer than one would think. */
const timeout = 600_000

it(
  "no command that was acknowledged is lost, none is executed twice, and replies are those of the states that they have led to",
  { timeout },
  () => {
    const found = Simulation.explore(workloads, run, { seeds: 50 })
    assert.isUndefined(found && report(found, "entities"))
  }
)
