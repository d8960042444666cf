import { assert, it } from "@effect/vitest"
import * as Simulation from "@sluice/testing/Simulation"
import { report } from "./report.ts"
import { run, scalings } from "./scaling.ts"

/** A busy machine needs longer than one would think. */
const timeout = 600_000

it(
  "nothing is lost, doubled or reordered while workers are scaled and move, of whichever source, and what is said of them is true",
  { timeout },
  () => {
    const found = Simulation.explore(scalings, run, { seeds: 12 })
    assert.isUndefined(found && report(found, "scaling"))
  }
)
