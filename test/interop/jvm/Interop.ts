/**
 * The real Akka Projection gRPC consumes a stream of ours while either side is killed, and what it stored is compared with our
 * journal, event by event.
 */
import { freePort } from "@sluice/testing/FreePort"
import * as TestServer from "@sluice/testing/TestServer"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import * as Service from "../../kit/Service.ts"
import * as Comparison from "./Comparison.ts"
import { asReceived, isPublic, tagsOf } from "./contract.ts"
import * as Peer from "./Peer.ts"
import { query } from "./psql.ts"

export interface Options {
  readonly kills: number
  readonly entities: number
  readonly backlog: number
  readonly rate: number
  readonly log: (line: string) => void
}

interface Row {
  readonly persistence_id: string
  readonly sequence_number: number
  readonly slice: number
  readonly timestamp: number
}

const file = (name: string): string => fileURLToPath(new URL(`./${name}`, import.meta.url))

export const run = (options: Options): Effect.Effect<Comparison.Result, unknown> =>
  Effect.gen(function*() {
    const directory = yield* Service.temporaryFolder
    const journal = Path.join(directory, "producer.db")
    const server = yield* TestServer.postgres({ durable: true })
    const port = yield* freePort

    const producer = yield* Service.start({
      command: process.execPath,
      args: () =>
        Service.nodeArgs(
          file("producer.ts"),
          journal,
          ...[port, options.entities, options.backlog, options.rate].map(String)
        )
    })
    yield* producer.printed("ready")
    options.log(`the producer has appended ${options.backlog} events, and goes on`)
    const settings = {
      port,
      "stream-id": "things",
      ...Peer.database(server),
      mode: "exactly-once",
      ranges: 4,
      name: "interop",
      print: "no",
      conf: "akka.projection.restart-backoff.min-backoff = 200ms;akka.projection.restart-backoff.max-backoff = 1s"
    }
    const consumer = yield* Peer.start("consume", settings)

    const received = Effect.map(
      query(server, "SELECT count(DISTINCT (persistence_id, seq_nr)) FROM received"),
      (rows) => Number(rows[0]?.[0] ?? 0)
    )
    const untilMoreThan = (n: number) =>
      received.pipe(
        Effect.repeat({ until: (now) => now > n, schedule: Schedule.spaced("100 millis") }),
        Effect.timeoutOption("60 seconds")
      )
    const killing = (name: string, service: Service.Service, most: number, first: Effect.Effect<unknown>) =>
      Effect.gen(function*() {
        for (let i = 1; i <= options.kills; i++) {
          yield* first
          yield* Effect.sleep(yield* Random.nextBetween(0, most))
          yield* service.kill
          options.log(`${name} killed ${i} of ${options.kills}, ${yield* received} events received`)
        }
      })
    // a JVM takes some seconds to begin, and is to receive something each time
    const progress = Effect.flatMap(received, untilMoreThan)
    const consumerKilling = yield* Effect.forkChild(killing("the JVM consumer", consumer, 1000, progress))
    yield* killing("the producer", producer, 5000, Effect.sleep(500))
    yield* Fiber.join(consumerKilling)

    const before = yield* received
    yield* untilMoreThan(before)
    const done = yield* Effect.forkChild(producer.printed("done"), { startImmediately: true })
    yield* producer.send("stop")
    yield* Fiber.join(done)
    const appended = readJournal(journal)
    options.log(`${appended.length} events are public, ${before} of them were received while there was killing`)
    // for as long as more comes: how fast that is depends on the machine
    for (let known = yield* received; known < appended.length;) {
      const more = yield* untilMoreThan(known)
      if (Option.isNone(more)) break
      known = more.value
    }
    const rows = yield* query(
      server,
      "SELECT persistence_id, seq_nr, slice, timestamp_us, class, event, tags FROM received ORDER BY ordinal"
    )
    return Comparison.compare(appended, rows)
  }).pipe(Effect.scoped)

const readJournal = (filename: string): ReadonlyArray<Comparison.Written> => {
  const database = new Sqlite(filename, { readonly: true })
  try {
    return database.prepare<[], Row>(
      "SELECT persistence_id, sequence_number, slice, timestamp FROM sluice_journal ORDER BY timestamp"
    ).all().filter((event) => isPublic(event.sequence_number)).map(
      ({ persistence_id, sequence_number, slice, timestamp }) => {
        const e = Number(persistence_id.slice(persistence_id.lastIndexOf("-") + 1))
        const tags = tagsOf(e).toSorted().join(",")
        const as = [`${slice}`, `${timestamp}`, ...asReceived(e, sequence_number), tags]
        return { persistenceId: persistence_id, sequenceNumber: sequence_number, as }
      }
    )
  } finally {
    database.close()
  }
}
