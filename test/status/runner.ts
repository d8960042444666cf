/**
 * Runs a projection, and says under a name how it is doing, until its parent ends.
 *
 * usage: runner WHERE NAME INTERVAL
 */
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import { Heartbeat, heartbeat } from "@sluice/core/HeartbeatStore"
import * as Projection from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { endWithParent } from "../kit/process.ts"
import { open } from "./open.ts"

const [where, name, interval] = process.argv.slice(2)

const Note = EntityType.make("note", { codec: EventCodec.string })

const Notes = Source.journal(Note).pipe(
  Projection.exactlyOnce("notes", () => Effect.void),
  Projection.workers(2)
)

endWithParent(
  Layer.launch(
    Projection.layer(Notes).pipe(
      Layer.provide(open(JSON.parse(where!))),
      Layer.provide(Layer.succeed(Heartbeat, heartbeat({ name: name!, interval: Number(interval) })))
    )
  )
)
