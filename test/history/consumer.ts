/**
 * Writes a row per event of the stream, exactly once.
 *
 * usage: consumer FILE PORT
 */
import * as Projection from "@sluice/core/Projection"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Layer from "effect/Layer"
import { endWithParent } from "../kit/process.ts"
import { createTable, seen } from "./contract.ts"

const [filename, port] = process.argv.slice(2)

endWithParent(
  Layer.launch(
    Projection.layer(seen(Number(port))).pipe(
      Layer.provide(createTable),
      Layer.provide(SqliteStorage.layer({ filename: filename! }))
    )
  )
)
