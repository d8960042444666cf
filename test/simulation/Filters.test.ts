import { assert, it } from "@effect/vitest"
import * as Simulation from "@sluice/testing/Simulation"
import { changing, run } from "./network.ts"
import { report } from "./report.ts"

/** A busy machine needs longer than one would think. */
const timeout = 300_000

it(
  "what an acknowledged filter excludes is not handled, and all else is, in order, whatever becomes of those who change and follow it",
  { timeout },
  () => {
    const found = Simulation.explore(changing, run, { seeds: 20 })
    assert.isUndefined(found && report(found, "filters"))
  }
)
