/**
 * Runs the simulator: `npm run test:simulation -- --seeds 5000`, or one seed again with what has happened in it, `-- --seed 17 --trace`.
 * With `--workload network` services talk to each other.
 */
import { Simulation } from "@sluice/testing"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import { parseArgs } from "node:util"
import * as network from "./network.ts"
import * as projections from "./workload.ts"

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    workload: { type: "string", default: "projections" },
    trace: { type: "boolean", default: false },
    shrinks: { type: "string", default: "200" }
  }
})

const seed = values.seed === undefined ? undefined : Number(values.seed)
const from = seed ?? Number(values.from)
const seeds = seed === undefined ? Number(values.seeds) : 1
const begun = performance.now()
const options = { from, seeds, maxShrinks: Number(values.shrinks) }
const found: Simulation.Counterexample<unknown> | undefined = values.workload === "network"
  ? Simulation.explore(network.workloads, network.run, options)
  : Simulation.explore(projections.workloads, projections.run, options)
const seconds = ((performance.now() - begun) / 1000).toFixed(1)

if (found === undefined) {
  console.log(`${seeds} seeds from ${from} in ${seconds} s: nothing was found`)
} else {
  const { input, outcome } = found
  if (values.trace) { for (const line of outcome.trace) console.log(line) }
  console.log(`Seed ${found.seed} fails after ${outcome.steps} steps and ${Math.round(outcome.elapsed)} ms:`)
  if (Exit.isFailure(outcome.exit)) console.log(String(Cause.squash(outcome.exit.cause)))
  console.log(`With ${JSON.stringify(input)}`)
  console.log(`Again: npm run test:simulation -- --workload ${values.workload} --seed ${found.seed} --trace`)
  process.exitCode = 1
}
