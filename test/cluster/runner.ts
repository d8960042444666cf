/**
 * Runs its share of a projection, says which workers that is, and ends when it is asked to.
 *
 * usage: runner WHERE NAME WORKERS TAKEOVER
 */
import * as ClusterPlacement from "@sluice/cluster/ClusterPlacement"
import { Placement } from "@sluice/core/Placement"
import * as Projection from "@sluice/core/Projection"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import { stopped } from "../kit/process.ts"
import { open } from "../status/open.ts"
import { notes } from "./notes.ts"

const [where, name, workers, takeover] = process.argv.slice(2)

/** Says which workers are placed here. */
const Told = Layer.effect(
  Placement,
  Effect.map(Placement, (placement) => ({
    lease: placement.lease,
    assigned: (projection, workers) =>
      Stream.tap(
        placement.assigned(projection, workers),
        (set) => Effect.sync(() => void process.stdout.write(`${JSON.stringify({ assigned: [...set] })}\n`))
      )
  }))
).pipe(Layer.provide(ClusterPlacement.layer({ takeover: takeover as Duration.Input })))

const running = Layer.launch(
  Projection.layer(notes(name!).pipe(Projection.workers(Number(workers)))).pipe(
    Layer.provide(Told),
    Layer.provide(open(JSON.parse(where!)))
  )
)

process.stdin.resume()
process.stdin.on("end", () => process.exit(0))
Effect.runPromise(
  Effect.raceFirst(running, stopped).pipe(
    Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)]))
  )
).then(
  () => process.exit(0),
  (error) => {
    console.error(error)
    process.exit(1)
  }
)
