/**
 * Runs the projection, or handles its dead letters again and again.
 *
 * usage: consumer FILE project|redrive
 */
import * as Projection from "@sluice/core/Projection"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { endWithParent } from "../kit/process.ts"
import { Seen } from "./contract.ts"

const [filename, role] = process.argv.slice(2)

// the database is busy, now and then
const redrive = Layer.effectDiscard(
  Effect.repeat(Effect.ignore(Projection.handleDeadLetters(Seen)), Schedule.spaced("5 millis"))
)

endWithParent(
  Layer.launch(
    (role === "project" ? Projection.layer(Seen) : redrive).pipe(
      Layer.provide(SqliteStorage.layer({ filename: filename! }))
    )
  )
)
