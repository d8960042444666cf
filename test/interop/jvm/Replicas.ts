/**
 * A replica on the real Akka Projection gRPC and two of ours write the same entities and exchange their events while all are killed. In the end each has every event once, and all entities are
 * in the same state. With two of ours, neither may pass on to Akka what it has from the other.
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
import * as Peer from "./Peer.ts"
import { query } from "./psql.ts"

export interface Options {
  /** How often each replica is killed. */
  readonly kills: number
  readonly entities: number
  /** How many events each replica writes a second. */
  readonly rate: number
  readonly log: (line: string) => void
}

export interface Result {
  /** Events that were acknowledged, or are in the journal of the replica that has decided them. */
  readonly written: number
  /** Events in each of our journals. */
  readonly here: ReadonlyArray<number>
  /** Events in Akka's journal. */
  readonly there: number
  /** Written, and missing in a replica. */
  readonly lost: number
  /** In a journal more than once. */
  readonly doubled: number
  /** Events with other bytes, and entities with another state or version. */
  readonly diverged: number
}

const program = fileURLToPath(new URL("./replica.ts", import.meta.url))

/** What a replica has said of itself. */
class Said {
  /** The events that were acknowledged, as an entity, the replica and a number. */
  readonly acknowledged = new Set<string>()
  readonly events = new Map<string, string>()
  readonly versions = new Map<string, Map<string, number>>()
  readonly states = new Map<string, string>()
  doubled = 0

  readonly id: string

  constructor(id: string) {
    this.id = id
  }

  readonly hear = (line: string): void => {
    const [what, entity, ...rest] = line.split(" ") as [string, string, ...Array<string>]
    if (what === "wrote") this.acknowledged.add(`${entity} ${this.id} ${rest[0]}`)
    if (what === "state") this.states.set(entity, rest.join(" "))
    if (what !== "event") return
    const [origin, number, form, hex, version] = rest as [string, string, string, string, string]
    const event = `${entity} ${origin} ${number}`
    if (this.events.has(event)) this.doubled++
    this.events.set(event, `${form} ${hex}`)
    const versions = this.versions.get(entity) ?? new Map<string, number>()
    this.versions.set(entity, versions)
    for (const entry of version.split(",")) {
      const [replica, n] = entry.split("=") as [string, string]
      versions.set(replica, Math.max(Number(n), versions.get(replica) ?? 0))
    }
  }

  /** The last version of an entity, as a text. */
  readonly version = (entity: string): string =>
    Array.from(this.versions.get(entity) ?? [], ([replica, n]) => `${replica}=${n}`).toSorted().join(",")
}

const differences = <A>(keys: Iterable<string>, a: (key: string) => A, b: (key: string) => A): number =>
  Array.from(keys).filter((key) => a(key) !== b(key)).length

const compare = (ours: ReadonlyArray<Said>, theirs: Said): Result => {
  const all = [...ours, theirs]
  const written = new Set(all.flatMap((said) => [
    ...said.acknowledged,
    ...[...said.events.keys()].filter((event) => event.split(" ")[1] === said.id)
  ]))
  const everywhere = [...written].filter((event) => all.every(({ events }) => events.has(event)))
  const strange = all.flatMap(({ events }) => [...events.keys()].filter((event) => !written.has(event)))
  const entities = new Set(all.flatMap(({ states }) => [...states.keys()]))
  const apart = ours.map((said) =>
    differences(everywhere, (event) => said.events.get(event), (event) => theirs.events.get(event)) +
    differences(entities, (entity) => said.states.get(entity), (entity) => theirs.states.get(entity)) +
    differences(entities, said.version, theirs.version)
  )
  return {
    written: written.size,
    here: ours.map(({ events }) => events.size),
    there: theirs.events.size,
    lost: written.size - everywhere.length,
    doubled: all.reduce((sum, { doubled }) => sum + doubled, 0),
    diverged: apart.reduce((sum, n) => sum + n, strange.length)
  }
}

/** Waits until there are so many more; for two minutes at most. */
const untilMore = (count: Effect.Effect<number>, atLeast: number) =>
  Effect.flatMap(count, (before) =>
    count.pipe(
      Effect.repeat({ until: (now) => now >= before + atLeast, schedule: Schedule.spaced("100 millis") }),
      Effect.timeoutOption("120 seconds")
    ))

export const run = (options: Options): Effect.Effect<Result, unknown> =>
  Effect.gen(function*() {
    const directory = yield* Service.temporaryFolder
    const server = yield* TestServer.postgres({ durable: true })
    const replicas = yield* Effect.forEach(["eu", "us", "jvm"], (id) =>
      Effect.map(freePort, (port) => ({
        said: new Said(id),
        port,
        filename: Path.join(directory, `${id}.db`)
      })))
    const addresses = replicas.map(({ port, said }) => `${said.id}=${port}`)
    const othersOf = (id: string) => addresses.filter((address) => !address.startsWith(`${id}=`)).join(",")
    const theirs = replicas[2]!

    let isWriting = true
    const rate = () => isWriting ? options.rate : 0
    const akka = yield* Peer.start("replica", () => ({
      id: theirs.said.id,
      port: theirs.port,
      others: othersOf(theirs.said.id),
      ...Peer.database(server),
      entities: options.entities,
      rate: rate()
    }), theirs.said.hear)
    const inAkka = {
      name: "the replica on the JVM",
      service: akka,
      count: Effect.map(query(server, "SELECT count(*) FROM event_journal"), (rows) => Number(rows[0]?.[0] ?? 0))
    }
    const inOurs = yield* Effect.forEach(
      replicas.filter((replica) => replica !== theirs),
      ({ filename, port, said }) =>
        Effect.map(
          Service.start({
            command: process.execPath,
            args: () =>
              Service.nodeArgs(
                program,
                filename,
                said.id,
                ...[port, othersOf(said.id), options.entities, rate()].map(String)
              ),
            onLine: said.hear
          }),
          (service) => ({
            name: `our replica '${said.id}'`,
            service,
            count: Effect.sync(() => countSqlite(filename))
          })
        )
    )
    const all = [...inOurs, inAkka]
    const each = <A>(f: (replica: typeof inAkka) => Effect.Effect<A>) =>
      Effect.forEach(all, f, { concurrency: "unbounded" })

    const counts = each(({ count }) => count)
    yield* each(({ count, name, service }) =>
      Effect.gen(function*() {
        for (let i = 1; i <= options.kills; i++) {
          // a JVM takes some seconds to begin, and is to have something each time
          yield* untilMore(count, options.rate)
          yield* Effect.sleep(yield* Random.nextBetween(0, 3000))
          yield* service.kill
          options.log(`${name} killed ${i} of ${options.kills}, ${(yield* counts).join("/")} events in the journals`)
        }
      })
    )
    yield* each(({ count }) => untilMore(count, options.rate))

    isWriting = false
    const ask = (line: string, answer: string) =>
      each(({ service }) =>
        Effect.gen(function*() {
          const answered = yield* Effect.forkChild(service.printed(answer), { startImmediately: true })
          yield* service.send(line)
          yield* Fiber.join(answered)
        })
      )
    yield* ask("stop", "stopped")
    options.log(`the writing has ended, ${(yield* counts).join("/")} events in the journals`)
    // for as long as more comes: how fast that is depends on the machine
    while (new Set(yield* counts).size > 1) {
      if (Option.isNone(yield* untilMore(Effect.map(counts, (all) => all.reduce((a, b) => a + b)), 1))) break
    }
    yield* ask("dump", "dumped")
    return compare(replicas.filter((_) => _ !== theirs).map(({ said }) => said), theirs.said)
  }).pipe(Effect.scoped)

const countSqlite = (filename: string): number => {
  try {
    const database = new Sqlite(filename, { readonly: true })
    try {
      return database.prepare<[], { n: number }>("SELECT count(*) AS n FROM sluice_journal").get()!.n
    } finally {
      database.close()
    }
  } catch {
    // before the replica has made its tables
    return 0
  }
}
