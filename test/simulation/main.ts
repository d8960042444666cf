/**
 * Runs the simulator: `npm run test:simulation -- --seeds 5000`, or one seed again with what has happened in it, `-- --seed 17 --trace`.
 * With `--workload network` services talk to each other, and with `--workload filters` what one reads of the other changes meanwhile.
 * With `--workload scaling` processes share the workers of a projection of several sources, whose number changes. With `--workload entities` they
 * send commands to the same entities.
 * With `--workload versions` new versions of a projection are built beside the one that is live, and
 * with `--workload skips` people have a projection go past events that fail for ever.
 * With `--workload automatic` the number of workers follows the lag.
 * With `--workload replicas` the same entities are written in three regions.
 */
import * as Simulation from "@sluice/testing/Simulation"
import type * as Arbitrary from "effect/Arbitrary"
import type * as Effect from "effect/Effect"
import { readArgs, wholeNumbers } from "../kit/readArgs.ts"
import { refuse } from "../kit/refuse.ts"
import { report } from "./report.ts"

const { values } = readArgs("test:simulation", {
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    workload: { type: "string", default: "projections" },
    trace: { type: "boolean", default: false },
    shrinks: { type: "string", default: "200" }
  }
})

const whole = wholeNumbers(values)

/** Enough for what is waited for to be named, where that never comes. */
const maxSteps = 3_000_000

/** Looks for a seed that fails. Of the last that was tried there is a trace in any case. */
const exploring = <A>(
  inputs: Arbitrary.Arbitrary<A>,
  scenario: (input: A) => Effect.Effect<unknown, unknown, Simulation.Simulation>
) =>
(options: { readonly from: number; readonly seeds: number; readonly maxShrinks: number }) => {
  let input: A
  const found: Simulation.Counterexample<unknown> | undefined = Simulation.explore(inputs, (generated) => {
    input = generated
    return scenario(generated)
  }, { ...options, maxSteps })
  const seed = options.from + options.seeds - 1
  return {
    found,
    trace: () => found?.outcome.trace ?? Simulation.run(scenario(input), { seed, maxSteps, trace: true }).trace
  }
}

/** What a workload needs is loaded for that one alone: it is most of what a short run does. */
const workloads = {
  projections: () => import("./workload.ts").then(({ run, workloads }) => exploring(workloads, run)),
  network: () => import("./network.ts").then(({ run, workloads }) => exploring(workloads, run)),
  filters: () => import("./network.ts").then(({ changing, run }) => exploring(changing, run)),
  scaling: () => import("./scaling.ts").then(({ run, scalings }) => exploring(scalings, run)),
  entities: () => import("./entities.ts").then(({ run, workloads }) => exploring(workloads, run)),
  versions: () => import("./versions.ts").then(({ run, versions }) => exploring(versions, run)),
  skips: () => import("./skips.ts").then(({ run, skips }) => exploring(skips, run)),
  automatic: () => import("./automatic.ts").then(({ automatic, run }) => exploring(automatic, run)),
  replicas: () => import("./replicas.ts").then(({ run, workloads }) => exploring(workloads, run))
}

const isWorkload = (name: string): name is keyof typeof workloads => Object.hasOwn(workloads, name)

const workload = isWorkload(values.workload)
  ? values.workload
  : refuse(`--workload is one of ${Object.keys(workloads).join(", ")}, not '${values.workload}'`)
const explore = await workloads[workload]()
const seed = values.seed === undefined ? undefined : whole("seed", 0)
const from = seed ?? whole("from", 0)
const seeds = seed === undefined ? whole("seeds", 0) : 1
const begun = performance.now()
const { found, trace } = explore({ from, seeds, maxShrinks: whole("shrinks", 0) })
const seconds = ((performance.now() - begun) / 1000).toFixed(1)

if (values.trace && (found !== undefined || seed !== undefined)) { for (const line of trace()) console.log(line) }
if (found === undefined) {
  console.log(`${seeds} seeds from ${from} in ${seconds} s: nothing was found`)
} else {
  console.log(report(found, workload))
  process.exitCode = 1
}
