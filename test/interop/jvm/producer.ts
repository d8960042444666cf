/**
 * Appends to the entities in turn, and offers the public events. It goes on where it was killed.
 *
 * usage: producer FILE PORT ENTITIES BACKLOG RATE
 */
import * as Journal from "@sluice/core/Journal"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Database from "@sluice/sql/Database"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { endWithParent, stopped } from "../../kit/process.ts"
import { eventOf, isPublic, tagsOf, Thing, Things } from "./contract.ts"

const [filename, port, entities, backlog, rate] = process.argv.slice(2)

const appending = Layer.effectDiscard(Effect.gen(function*() {
  const { sql } = yield* Database.Database
  const [row] = yield* sql<{ n: number }>`SELECT count(*) AS n FROM sluice_journal`
  let k = row!.n
  const append = Effect.suspend(() => {
    const e = k % Number(entities)
    const n = Math.floor(k / Number(entities)) + 1
    return Effect.tap(
      Journal.append(Thing, { id: `thing-${e}`, events: [eventOf(e, n)], tags: tagsOf(e) }),
      () => Effect.sync(() => k++)
    )
  })
  while (k < Number(backlog)) yield* append
  process.stdout.write("ready\n")
  yield* append.pipe(
    Effect.repeat(Schedule.fixed(1000 / Number(rate))),
    Effect.raceFirst(stopped),
    Effect.andThen(Effect.sync(() => process.stdout.write("done\n"))),
    Effect.forkScoped
  )
}))

const producing = EventProducer.layer(
  Things,
  Source.journal(Thing).pipe(Source.filter(({ sequenceNumber }) => isPublic(sequenceNumber)))
)

endWithParent(
  Layer.launch(
    Layer.provideMerge(producing, appending).pipe(
      Layer.provide([SqliteStorage.layer({ filename: filename! }), GrpcServer.layer({ port: Number(port) })])
    )
  )
)
