/**
 * Two processes that replicate, killed with SIGKILL at random moments, and a count of what that did.
 */
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import * as Service from "../kit/Service.ts"
import { isPublic } from "./contract.ts"

export interface Options {
  readonly producerKills: number
  readonly consumerKills: number
  readonly entities: number
  /** Events per second. */
  readonly rate: number
  readonly log: (line: string) => void
}

export interface Result {
  /** Appends that were acknowledged, and all that are in the journal. */
  readonly acknowledged: number
  readonly appended: number
  readonly projected: number
  readonly lost: number
  readonly doubled: number
  readonly reordered: number
  /** Acknowledged, but not in the journal. */
  readonly forgotten: number
}

const file = (name: string): string => fileURLToPath(new URL(`./${name}.ts`, import.meta.url))

export const run = (options: Options): Effect.Effect<Result, unknown> =>
  Effect.gen(function*() {
    const directory = yield* Service.temporaryFolder
    const port = yield* freePort
    const journal = Path.join(directory, "producer.db")
    const projection = Path.join(directory, "consumer.db")

    const acknowledged: Array<string> = []
    const producer = yield* Service.start({
      command: process.execPath,
      args: () => Service.nodeArgs(file("producer"), journal, `${port}`, `${options.entities}`, `${options.rate}`),
      onLine: (line) => line !== "done" && acknowledged.push(line)
    })
    // another number of workers each time: slices are divided anew
    let incarnation = 0
    const consumer = yield* Service.start({
      command: process.execPath,
      args: () => Service.nodeArgs(file("consumer"), projection, `${port}`, `${1 + incarnation++ % 5}`)
    })

    const killing = (name: string, service: Service.Service, times: number) =>
      Effect.gen(function*() {
        for (let i = 1; i <= times; i++) {
          // the moments are random: while it starts, connects, catches up, or is live
          yield* Effect.sleep(yield* Random.nextBetween(100, 2000))
          yield* service.kill
          options.log(`${name} killed ${i} of ${times}`)
        }
      })
    const consumerKilling = yield* Effect.forkChild(killing("consumer", consumer, options.consumerKills))
    yield* killing("producer", producer, options.producerKills)
    yield* Fiber.join(consumerKilling)

    // lets both live until more is appended, then the journal rests
    const before = acknowledged.length
    yield* Wait.until("more events", () => acknowledged.length >= before + 20, { atMost: "3 minutes" })
    const done = yield* Effect.forkChild(producer.printed("done"), { startImmediately: true })
    yield* producer.send("stop")
    yield* Fiber.join(done)
    const events = readJournal(journal)
    const expected = events.filter((event) => isPublic(event.n)).length
    yield* Effect.sync(() => countSeen(projection)).pipe(
      Effect.repeat({ until: (seen) => seen >= expected, schedule: pollSchedule }),
      Effect.timeoutOption("30 seconds")
    )
    return compare(acknowledged, events, readSeen(projection))
  }).pipe(Effect.scoped)

const pollSchedule = Schedule.spaced("50 millis")

interface Row {
  readonly persistence_id: string
  readonly n: number
}

const query = <A>(filename: string, sql: string): Array<A> => {
  const database = new Sqlite(filename, { readonly: true })
  try {
    return database.prepare<[], A>(sql).all()
  } finally {
    database.close()
  }
}

const readJournal = (filename: string): Array<Row> =>
  query(filename, "SELECT persistence_id, sequence_number AS n FROM sluice_journal ORDER BY timestamp")

const readSeen = (filename: string): Array<Row> =>
  query(filename, "SELECT persistence_id, n FROM seen ORDER BY ordinal")

/** None before the consumer has got as far as to make its table. */
const countSeen = (filename: string): number => {
  if (!Fs.existsSync(filename)) return 0
  const [table] = query(filename, "SELECT name FROM sqlite_schema WHERE name = 'seen'")
  if (table === undefined) return 0
  return query<{ n: number }>(filename, "SELECT count(*) AS n FROM (SELECT DISTINCT persistence_id, n FROM seen)")[0]!.n
}

/** Knows nothing of how it came about: only what was appended, and what was seen in which order. */
export const compare = (
  acknowledged: ReadonlyArray<string>,
  events: ReadonlyArray<Row>,
  seen: ReadonlyArray<Row>
): Result => {
  const keyOf = ({ n, persistence_id }: Row) => `${persistence_id} ${n}`
  const journal = new Set(events.map(keyOf))
  const expected = events.filter((event) => isPublic(event.n))
  const times = new Map<string, number>()
  const last = new Map<string, number>()
  let reordered = 0
  for (const row of seen) {
    times.set(keyOf(row), (times.get(keyOf(row)) ?? 0) + 1)
    if (row.n < (last.get(row.persistence_id) ?? 0)) reordered++
    last.set(row.persistence_id, row.n)
  }
  return {
    acknowledged: acknowledged.length,
    appended: expected.length,
    projected: seen.length,
    lost: expected.filter((event) => !times.has(keyOf(event))).length,
    doubled: seen.length - times.size,
    reordered,
    forgotten: acknowledged.filter((line) => !journal.has(line)).length
  }
}
