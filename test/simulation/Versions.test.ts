import { assert, it } from "@effect/vitest"
import * as Simulation from "@sluice/testing/Simulation"
import { report } from "./report.ts"
import { run, versions } from "./versions.ts"

/** A busy machine needs longer than one would think. */
const timeout = 600_000

it(
  "readers see a whole version at any moment, whatever becomes of those that are built, live, retired, cancelled and dropped",
  { timeout },
  () => {
    const found = Simulation.explore(versions, run, { seeds: 12, maxSteps: 1_000_000 })
    assert.isUndefined(found && report(found, "versions"))
  }
)
