import * as Simulation from "@sluice/testing/Simulation"

/** What is simulated. */
export type Workload =
  | "projections"
  | "network"
  | "filters"
  | "scaling"
  | "versions"
  | "skips"
  | "automatic"
  | "entities"
  | "replicas"

/** What was found, and the command that shows it again. */
export const report = (
  found: Simulation.Counterexample<unknown>,
  workload: Workload
): string =>
  `${Simulation.format(found)}\nAgain: npm run test:simulation -- --workload ${workload} --seed ${found.seed} --trace`
