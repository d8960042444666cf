/** What the suite consists of. */
export type { Scenario } from "./Scenario.ts"
import type { Scenario } from "./Scenario.ts"
import { manyEntities, oneEntity } from "./scenarios/appenders.ts"
import { auxiliaryConnections } from "./scenarios/auxiliary.ts"
import { clock } from "./scenarios/clock.ts"
import { answersLost, sessionsEnded, swallowed } from "./scenarios/connections.ts"
import { strangeIds } from "./scenarios/ids.ts"
import { interruption } from "./scenarios/interruption.ts"
import { byDefault, staleSnapshot } from "./scenarios/isolation.ts"
import { databaseKilled, processKilled } from "./scenarios/killed.ts"
import { lateCommit } from "./scenarios/lateCommit.ts"
import { held } from "./scenarios/logs.ts"
import { lostTransactions } from "./scenarios/lostTransactions.ts"
import { pruned } from "./scenarios/pruned.ts"
import { transactions } from "./scenarios/transactions.ts"

/** Those that are part of `npm test`. */
export const short: ReadonlyArray<Scenario> = [
  oneEntity,
  manyEntities,
  transactions(300),
  held(1),
  held(16),
  processKilled(1),
  databaseKilled(1),
  answersLost,
  sessionsEnded,
  lateCommit,
  lostTransactions,
  interruption,
  auxiliaryConnections,
  byDefault("SERIALIZABLE"),
  staleSnapshot,
  strangeIds,
  pruned(2),
  clock
]

/** Those of `npm run test:hostile`, where each lasts for longer. */
export const long: ReadonlyArray<Scenario> = [
  oneEntity,
  manyEntities,
  transactions(5000),
  held(1),
  held(16),
  held(200),
  processKilled(5),
  databaseKilled(5),
  answersLost,
  sessionsEnded,
  swallowed,
  lateCommit,
  lostTransactions,
  interruption,
  auxiliaryConnections,
  byDefault("READ UNCOMMITTED"),
  byDefault("REPEATABLE READ"),
  byDefault("SERIALIZABLE"),
  staleSnapshot,
  strangeIds,
  pruned(10),
  clock
]
