import type * as Context from "effect/Context"
import type { Storage } from "./connect.ts"
import type { Observation } from "./Observation.ts"
import type { Server } from "./Server.ts"

/** @internal What is behind a simulated database. */
export interface Database {
  readonly server: Server
  readonly storage: Context.Context<Storage>
  readonly observers: Set<(observation: Observation) => void>
}

/** @internal By the database that users have. */
export const internals = new WeakMap<object, Database>()
