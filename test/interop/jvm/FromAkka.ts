/**
 * Our projections consume a stream of the real Akka Projection gRPC while either side is killed, and what they stored is compared with
 * Akka's journal, event by event.
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
import * as Peer from "./Peer.ts"
import { query } from "./psql.ts"

export interface Options {
  readonly form: "string" | "protobuf"
  readonly guarantee: "exactly-once" | "at-least-once"
  readonly storage: "sqlite" | "postgres"
  /** How often each side is killed. */
  readonly kills: number
  readonly entities: number
  readonly rate: number
  readonly log: (line: string) => void
}

const consumer = fileURLToPath(new URL("./consumer.ts", import.meta.url))

const columns = "persistence_id, seq_nr, slice, timestamp_us, event, tags"

export const run = (options: Options): Effect.Effect<Comparison.Result, unknown> =>
  Effect.gen(function*() {
    const directory = yield* Service.temporaryFolder
    const server = yield* TestServer.postgres({ durable: true })
    const port = yield* freePort

    let isWriting = true
    const producer = yield* Peer.start("produce", () => ({
      port,
      ...Peer.database(server),
      payload: options.form,
      entities: options.entities,
      events: isWriting ? 1_000_000_000 : 0,
      rate: options.rate
    }))

    const filename = Path.join(directory, "consumer.db")
    const url = `postgres://${server.user}:${server.password}@${server.host}:${server.port}/${server.database}`
    const projection = yield* Service.start({
      command: process.execPath,
      args: () =>
        Service.nodeArgs(
          consumer,
          `127.0.0.1:${port}`,
          options.form,
          options.guarantee,
          "4",
          options.storage === "sqlite" ? filename : url
        )
    })

    const read = (statement: string): Effect.Effect<ReadonlyArray<ReadonlyArray<string>>> =>
      options.storage === "sqlite" ? Effect.sync(() => readSqlite(filename, statement)) : query(server, statement)
    const received = Effect.map(
      read("SELECT count(*) FROM (SELECT DISTINCT persistence_id, seq_nr FROM received) AS _"),
      (rows) => Number(rows[0]?.[0] ?? 0)
    )
    const untilMoreThan = (n: number) =>
      received.pipe(
        Effect.repeat({ until: (now) => now > n, schedule: Schedule.spaced("100 millis") }),
        Effect.timeoutOption("120 seconds")
      )
    const progress = Effect.flatMap(received, untilMoreThan)
    const killing = (name: string, service: Service.Service, most: number) =>
      Effect.gen(function*() {
        for (let i = 1; i <= options.kills; i++) {
          // a JVM takes some seconds to begin, and is to send something each time
          yield* progress
          yield* Effect.sleep(yield* Random.nextBetween(0, most))
          yield* service.kill
          options.log(`${name} killed ${i} of ${options.kills}, ${yield* received} events received`)
        }
      })
    const producerKilling = yield* Effect.forkChild(killing("the JVM producer", producer, 3000))
    yield* killing("our projection", projection, 2000)
    yield* Fiber.join(producerKilling)

    const before = yield* received
    yield* untilMoreThan(before)
    // once more, to write nothing any more
    isWriting = false
    yield* producer.kill
    const appended = yield* readJournal(server)
    options.log(`${appended.length} events are written, ${before} of them were received while there was killing`)
    // on a busy machine it takes long, but something arrives
    let arrived = yield* received
    while (arrived < appended.length) {
      const more = yield* untilMoreThan(arrived)
      if (Option.isNone(more)) break
      arrived = more.value
    }
    return Comparison.compare(appended, yield* read(`SELECT ${columns} FROM received ORDER BY ordinal`))
  }).pipe(Effect.scoped)

const readSqlite = (filename: string, statement: string): ReadonlyArray<ReadonlyArray<string>> => {
  try {
    const database = new Sqlite(filename, { readonly: true })
    try {
      return database.prepare<[], Array<unknown>>(statement).raw().all().map((row) => row.map(String))
    } finally {
      database.close()
    }
  } catch {
    // before the projection has made its table
    return []
  }
}

const readJournal = (server: TestServer.TestServer): Effect.Effect<ReadonlyArray<Comparison.Written>> =>
  Effect.map(
    query(
      server,
      `SELECT persistence_id, seq_nr, slice, (extract(epoch FROM db_timestamp) * 1000000)::bigint,
        convert_from(event_payload, 'UTF8'), array_to_string(tags, ',') FROM event_journal ORDER BY db_timestamp`
    ),
    (rows) =>
      rows.map(([persistenceId, sequenceNumber, ...as]) => ({
        persistenceId: persistenceId!,
        sequenceNumber: Number(sequenceNumber),
        as
      }))
  )
