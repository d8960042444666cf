/**
 * Runs a projection with others of its kind, each with a share of the workers, until its parent ends.
 *
 * usage: runner WHERE
 */
import * as ClusterPlacement from "@sluice/cluster/ClusterPlacement"
import * as Projection from "@sluice/core/Projection"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { endWithParent } from "../kit/process.ts"
import { open } from "../status/open.ts"
import { Numbered } from "./Numbered.ts"

const [where] = process.argv.slice(2)

endWithParent(
  Layer.launch(
    Projection.layer(Numbered).pipe(
      Layer.provide(ClusterPlacement.layer()),
      Layer.provide(open(JSON.parse(where!)))
    )
  ).pipe(Effect.orDie)
)
