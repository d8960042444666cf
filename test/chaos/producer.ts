/**
 * Appends to random entities as fast as it is told, and offers the public events. Each acknowledged append is a line
 * `persistenceId sequenceNumber` on standard output.
 *
 * usage: producer FILE PORT ENTITIES RATE
 */
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { endWithParent, stopped } from "../kit/process.ts"
import { Counted, Counter, Counts, isPublic, Noted } from "./contract.ts"

const [filename, port, entities, rate] = process.argv.slice(2)

const append = Effect.gen(function*() {
  const id = `c-${yield* Random.nextIntBetween(0, Number(entities))}`
  const known = yield* Stream.runLast(Journal.readEncoded(PersistenceId.make("counter", id)))
  const n = Option.match(known, { onNone: () => 1, onSome: ({ sequenceNumber }) => sequenceNumber + 1 })
  const written = yield* Journal.append(Counter, {
    id,
    expected: Option.match(known, { onNone: () => "none" as const, onSome: ({ sequenceNumber }) => sequenceNumber }),
    events: [isPublic(n) ? new Counted({ n }) : new Noted({ n })]
  })
  process.stdout.write(`${written.persistenceId} ${written.sequenceNumber}\n`)
}).pipe(Effect.catchTag("SequenceConflict", () => Effect.void))

const appending = Layer.effectDiscard(
  append.pipe(
    Effect.repeat(Schedule.spaced(1000 / (Number(rate) / 4))),
    Effect.raceFirst(stopped),
    (worker) => Effect.all([worker, worker, worker, worker], { concurrency: "unbounded" }),
    Effect.andThen(Effect.sync(() => process.stdout.write("done\n"))),
    Effect.forkScoped
  )
)

const producing = EventProducer.layer(
  Counts,
  Source.journal(Counter).pipe(
    Source.filterMap(({ event }) => event._tag === "Counted" ? Option.some(event) : Option.none())
  )
)

endWithParent(
  Layer.launch(
    Layer.mergeAll(appending, producing).pipe(
      Layer.provide([SqliteStorage.layer({ filename: filename! }), GrpcServer.layer({ port: Number(port) })])
    )
  )
)
