import { assert, it } from "@effect/vitest"
import * as Simulation from "@sluice/testing/Simulation"
import { automatic, run } from "./automatic.ts"
import { report } from "./report.ts"

/** A busy machine needs longer than one would think. */
const timeout = 600_000

it(
  "the number of workers follows the lag within its bounds and does not flap, and nothing is lost or doubled meanwhile",
  { timeout },
  () => {
    const found = Simulation.explore(automatic, run, { seeds: 4, maxSteps: 3_000_000 })
    assert.isUndefined(found && report(found, "automatic"))
  }
)
