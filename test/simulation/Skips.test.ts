import { assert, it } from "@effect/vitest"
import * as Simulation from "@sluice/testing/Simulation"
import { report } from "./report.ts"
import { run, skips } from "./skips.ts"

/** A busy machine needs longer than one would think. */
const timeout = 600_000

it("exactly what was to be is skipped, and once, however its workers are scaled and killed", { timeout }, () => {
  const found = Simulation.explore(skips, run, { seeds: 12, maxSteps: 1_000_000 })
  assert.isUndefined(found && report(found, "skips"))
})
