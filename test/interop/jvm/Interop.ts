/**
 * The real Akka Projection gRPC consumes a stream of ours while either side is killed, and what it stored is compared with our
 * journal, event by event.
 */
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import { freePort } from "@sluice/testing/FreePort"
import * as TestServer from "@sluice/testing/TestServer"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { execFile } from "node:child_process"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import * as Service from "../../kit/Service.ts"
import { asReceived, isPublic, tagsOf } from "./contract.ts"
import * as Peer from "./Peer.ts"

export interface Options {
  readonly kills: number
  readonly entities: number
  readonly backlog: number
  readonly rate: number
  readonly log: (line: string) => void
}

export interface Result {
  readonly appended: number
  readonly received: number
  /** Events in each of the four slice ranges. */
  readonly inRange: ReadonlyArray<number>
  readonly lost: number
  readonly doubled: number
  readonly reordered: number
  /** Received otherwise than written: another slice, timestamp, class, text or tags. */
  readonly different: number
}

interface Appended {
  readonly persistence_id: string
  readonly sequence_number: number
  readonly slice: number
  readonly timestamp: number
}

/** Columns of the peer's table, as text. */
type Received = readonly [
  persistenceId: string,
  seqNr: string,
  slice: string,
  timestamp: string,
  className: string,
  event: string,
  tags: string
]

const file = (name: string): string => fileURLToPath(new URL(`./${name}`, import.meta.url))

const separator = "\u0001"

const query = (server: TestServer.TestServer, sql: string) =>
  Effect.callback<ReadonlyArray<ReadonlyArray<string>>>((resume) => {
    const args = ["-h", server.host, "-p", `${server.port}`, "-U", server.user, "-d", server.database, "-AtX", "-F"]
    execFile("psql", [...args, separator, "-c", sql], { maxBuffer: 2 ** 30 }, (error, stdout) =>
      // before the peer has made its table
      resume(
        Effect.succeed(
          error === null && stdout !== "" ? stdout.trimEnd().split("\n").map((_) => _.split(separator)) : []
        )
      ))
  })

export const run = (options: Options): Effect.Effect<Result, unknown> =>
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
    yield* received.pipe(
      Effect.repeat({ until: (n) => n >= appended.length, schedule: Schedule.spaced("200 millis") }),
      Effect.timeoutOption("60 seconds")
    )
    const rows = yield* query(
      server,
      "SELECT persistence_id, seq_nr, slice, timestamp_us, class, event, tags FROM received ORDER BY ordinal"
    )
    return compare(appended, rows as unknown as ReadonlyArray<Received>)
  }).pipe(Effect.scoped)

const readJournal = (filename: string): ReadonlyArray<Appended> => {
  const database = new Sqlite(filename, { readonly: true })
  try {
    return database.prepare<[], Appended>(
      "SELECT persistence_id, sequence_number, slice, timestamp FROM sluice_journal ORDER BY timestamp"
    ).all().filter((event) => isPublic(event.sequence_number))
  } finally {
    database.close()
  }
}

const ranges = SliceRange.split(4)

/** Knows only what was written, and what was received in which order. */
export const compare = (appended: ReadonlyArray<Appended>, rows: ReadonlyArray<Received>): Result => {
  const times = new Map<string, number>()
  const first = new Map<string, Received>()
  const last = new Map<string, number>()
  let reordered = 0
  for (const row of rows) {
    const [persistenceId, seqNr] = row
    const key = `${persistenceId} ${seqNr}`
    times.set(key, (times.get(key) ?? 0) + 1)
    if (!first.has(key)) first.set(key, row)
    if (Number(seqNr) < (last.get(persistenceId) ?? 0)) reordered++
    last.set(persistenceId, Number(seqNr))
  }
  let lost = 0
  let different = 0
  for (const { persistence_id, sequence_number, slice, timestamp } of appended) {
    const row = first.get(`${persistence_id} ${sequence_number}`)
    if (row === undefined) {
      lost++
      continue
    }
    const e = Number(persistence_id.slice(persistence_id.lastIndexOf("-") + 1))
    const tags = tagsOf(e).toSorted().join(",")
    const expected = [`${slice}`, `${timestamp}`, ...asReceived(e, sequence_number), tags]
    if (expected.some((value, i) => value !== row[i + 2])) different++
  }
  return {
    appended: appended.length,
    received: rows.length,
    inRange: ranges.map((range) => rows.filter(([id]) => SliceRange.contains(range, Slice.ofPersistenceId(id))).length),
    lost,
    doubled: rows.length - times.size,
    reordered,
    different
  }
}
