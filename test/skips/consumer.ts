/**
 * Runs the projection.
 *
 * usage: consumer FILE
 */
import * as Projection from "@sluice/core/Projection"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Layer from "effect/Layer"
import { endWithParent } from "../kit/process.ts"
import { Seen } from "./contract.ts"

endWithParent(
  Layer.launch(
    Projection.layer(Seen).pipe(Layer.provide(SqliteStorage.layer({ filename: process.argv[2]! })))
  )
)
