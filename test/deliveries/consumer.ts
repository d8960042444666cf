/**
 * Writes a line when its handler begins with an event, and another one when it ends.
 *
 * usage: consumer FILE LOG DELIVERY WORKERS
 */
import type { Envelope } from "@sluice/core/Envelope"
import * as Projection from "@sluice/core/Projection"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Fs from "node:fs"
import { endWithParent } from "../kit/process.ts"
import { deliveries, type Delivery } from "./contract.ts"

const [filename, log, delivery, workers] = process.argv.slice(2)

const write = (what: string, { persistenceId, sequenceNumber }: Envelope<string>) =>
  Effect.sync(() => Fs.appendFileSync(log!, `${what} ${persistenceId} ${sequenceNumber}\n`))

const projection = deliveries[delivery as Delivery]((envelope) =>
  Effect.gen(function*() {
    yield* write("begins", envelope)
    yield* Effect.sleep(yield* Random.nextIntBetween(0, 4))
    yield* write("ends", envelope)
  })
)

endWithParent(
  Layer.launch(
    Projection.layer(Projection.workers(Number(workers))(projection)).pipe(
      Layer.provide(SqliteStorage.layer({ filename: filename! }))
    )
  )
)
