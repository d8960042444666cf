import { Simulation } from "@sluice/testing"

/** What was found, and the command that shows it again. */
export const report = (
  found: Simulation.Counterexample<unknown>,
  workload:
    | "projections"
    | "network"
    | "filters"
    | "scaling"
    | "versions"
    | "skips"
    | "automatic"
    | "entities"
    | "replicas"
): string =>
  `${Simulation.format(found)}\nAgain: npm run test:simulation -- --workload ${workload} --seed ${found.seed} --trace`
