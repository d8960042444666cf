/**
 * Runs a projection with others of its kind, each with a share of the workers, until its parent ends.
 *
 * usage: runner WHERE PROJECTION
 */
import * as ClusterPlacement from "@sluice/cluster/ClusterPlacement"
import { Heartbeat, heartbeat } from "@sluice/core/HeartbeatStore"
import type * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { endWithParent } from "../kit/process.ts"
import { open } from "../status/open.ts"
import { Numbered } from "./Numbered.ts"
import { Automatic, Slow } from "./Slow.ts"

const [where, name] = process.argv.slice(2)

const projection = [Numbered, Slow, Automatic].find((projection) => projection.name === name)!

endWithParent(
  Layer.launch(
    Projection.layer<unknown, Projection.Stores | Journal.Journal>(projection).pipe(
      Layer.provide(ClusterPlacement.layer()),
      // who has it scaled waits for what its processes say of their workers
      Layer.provide(Layer.succeed(Heartbeat, heartbeat({ interval: "500 millis" }))),
      Layer.provide(open(JSON.parse(where!)))
    )
  ).pipe(Effect.orDie)
)
