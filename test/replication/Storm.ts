/** Three regions on three databases, each written all the time, while links are cut, and services and databases die. */
import * as Journal from "@sluice/core/Journal"
import * as SliceRange from "@sluice/core/SliceRange"
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { type Respawned, respawned } from "../kit/Respawned.ts"
import * as Servers from "../kit/Servers.ts"
import { temporaryFolder } from "../kit/Service.ts"
import * as Switchboard from "../kit/Switchboard.ts"
import { open, type Where } from "../status/open.ts"
import type { Answer, Asked } from "./boardRegion.ts"
import { makeBoards } from "./Boards.ts"
import { commandOf, replicas } from "./commands.ts"
import * as Histories from "./histories.ts"

export interface Options {
  /** How many events there are in the end, of all regions together. */
  readonly events: number
  readonly entities: number
  /** How long a partition lasts, in seconds. */
  readonly lasts: number
  /** How long it may take after all is healed until all regions have all. */
  readonly within: Duration.Input
  readonly log?: ((line: string) => void) | undefined
}

/** What has to be there, and is not, or is different. */
export interface Outcome {
  readonly events: number
  readonly entities: number
  readonly lost: number
  readonly doubled: number
  /** Entities whose states are not the same everywhere. */
  readonly diverged: number
  /** What else is wrong with events or what is said of them. */
  readonly wrong: number
  /** Seconds, from when all was healed, and all was written. */
  readonly healed: number
  readonly kills: number
  readonly cuts: number
  readonly problems: ReadonlyArray<string>
}

/** Nobody listens there. */
const nowhere = 1

/** How many commands a region is given at once. */
const batch = 100

const region = fileURLToPath(new URL("boardRegion.ts", import.meta.url))

const boards = makeBoards({ replicas })

export const run = Effect.fnUntraced(function*({ entities, events, lasts, log = () => {}, within }: Options) {
  const folder = yield* temporaryFolder
  const postgres = yield* Servers.start("postgres", { durable: true })
  const mariadb = yield* Servers.start("mariadb", { durable: true })
  const urlOf = ({ database, host, password, port, user }: typeof postgres, scheme: string): string =>
    `${scheme}://${user}:${password}@${host}:${port}/${database}`
  const places: ReadonlyArray<Where> = [
    { dialect: "sqlite", filename: Path.join(folder, "eu.db") },
    { dialect: "postgres", url: urlOf(postgres, "postgres"), schema: "public" },
    { dialect: "mysql", url: urlOf(mariadb, "mysql") }
  ]
  // made before the regions begin, and looked at when all is over
  const storages = yield* Effect.forEach(places, (place) => Layer.build(open(place)))

  const ports = yield* Effect.forEach(replicas, () => freePort)
  const lines = yield* Effect.forEach(
    replicas.flatMap((_, from) => replicas.flatMap((_, to) => from === to ? [] : [{ from, to }])),
    ({ from, to }) => Effect.map(Switchboard.start(ports[to]!), (line) => ({ from, to, line }))
  )
  const regions: Array<Respawned<Asked, Answer>> = []
  for (const [i, self] of replicas.entries()) {
    const known = Object.fromEntries(
      replicas.map((id, to) => [
        id,
        to === i ? ports[i]! : lines.find((line) => line.from === i && line.to === to)!.line.port
      ])
    )
    regions.push(yield* respawned<Asked, Answer>(region, JSON.stringify(places[i]), self, JSON.stringify(known)))
  }
  const isReady = () => regions.every(({ isReady }) => isReady)
  yield* Wait.until("the regions", isReady, { atMost: "2 minutes" })

  const ofEach = Math.ceil(events / replicas.length)
  const total = ofEach * replicas.length
  let written = 0
  /** Asks again until it is answered: what was executed is remembered. */
  const ask = (i: number, asked: Asked): Effect.Effect<Answer> =>
    Effect.flatMap(
      Effect.promise(() => regions[i]!.ask(asked)),
      (answer) =>
        answer === undefined ? Effect.andThen(Effect.sleep("50 millis"), ask(i, asked)) : Effect.succeed(answer)
    )
  const writing = Effect.forEach(replicas, (_, i) =>
    Effect.gen(function*() {
      for (let from = 0; from < ofEach; from += batch) {
        const to = Math.min(ofEach, from + batch)
        yield* ask(i, { from, to, entities })
        written += to - from
      }
    }), { concurrency: "unbounded", discard: true })

  let kills = 0
  let cuts = 0
  const cut = (which: (from: number, to: number) => boolean) =>
    Effect.suspend(() => {
      cuts++
      return Effect.forEach(
        lines.filter(({ from, to }) => which(from, to)),
        ({ line }) => Effect.andThen(line.lead(nowhere), line.cut),
        { discard: true }
      )
    })
  const heal = Effect.forEach(lines, ({ line, to }) => line.lead(ports[to]!), { discard: true })
  const aWhile = Effect.sleep(Duration.seconds(lasts))
  const during = (which: (from: number, to: number) => boolean) =>
    cut(which).pipe(Effect.andThen(aWhile), Effect.andThen(heal))
  const flapping = Effect.repeat(
    Effect.andThen(cut((from, to) => from + to === 1), Effect.andThen(Effect.sleep(lasts * 100), heal)).pipe(
      Effect.andThen(Effect.sleep(lasts * 100))
    ),
    { times: 4 }
  )
  const killing = (i: number) =>
    Effect.sync(() => {
      kills++
      regions[i]!.signal("SIGKILL")
    })
  const losing = ({ kill, start }: typeof postgres) =>
    Effect.suspend(() => {
      kills++
      return kill.pipe(Effect.andThen(aWhile), Effect.andThen(Effect.orDie(start)))
    })
  const disturbances: ReadonlyArray<readonly [string, Effect.Effect<unknown>]> = [
    ["all links are cut", during(() => true)],
    ["eu is killed", killing(0)],
    ["us does not reach ap, which reaches it", during((from, to) => from === 1 && to === 2)],
    ["PostgreSQL is killed", losing(postgres)],
    ["a link flaps", flapping],
    ["us is killed while it is alone", Effect.andThen(killing(1), during((from, to) => from === 1 || to === 1))],
    ["MariaDB is killed", losing(mariadb)],
    ["ap is killed", killing(2)]
  ]
  const disturbing = Effect.forEach(disturbances, ([name, disturbance], i) =>
    Effect.gen(function*() {
      // spread over all that is written
      const at = Math.floor(total * (i + 1) / (disturbances.length + 2))
      yield* Wait.until(`${at} events of ${total}`, () => written >= at, { atMost: "15 minutes" })
      log(`${written} of ${total} events are written, and ${name}`)
      yield* disturbance
    }), { discard: true })
  yield* Effect.all([writing, disturbing], { concurrency: 2 })
  yield* heal
  yield* Wait.until("the regions", isReady, { atMost: "2 minutes" })
  log(`all ${total} events are written, and nothing is cut any more`)

  const start = performance.now()
  /** Positions are dense, so that the last ones say how many events there are. */
  const stored = Effect.forEach(
    storages,
    (storage) =>
      Journal.Journal.use((journal) => journal.heads(boards.entityType.name, SliceRange.full)).pipe(
        Effect.map((heads) => Array.from(heads.values()).reduce((sum, { position }) => sum + position, 0)),
        Effect.provideContext(storage),
        // its connections may be those of the server that was killed
        Effect.orElseSucceed(() => 0)
      )
  )
  yield* Effect.ignoreCause(Wait.until(
    "all events in all regions",
    Effect.map(stored, (counts) => counts.every((count) => count >= total)),
    { atMost: within }
  ))
  const healed = (performance.now() - start) / 1000
  const counts = yield* stored
  log(`after ${healed.toFixed(1)} s the regions have ${counts.join(", ")} events`)

  const expected = new Map(Array.from({ length: entities }, (_, i) => [`b-${i}`, new Set<string>()]))
  for (const replica of replicas) {
    for (let n = 0; n < ofEach; n++) {
      const { id, token } = commandOf(replica, n, entities)
      expected.get(id)!.add(token)
    }
  }
  let lost = 0
  let doubled = 0
  let diverged = 0
  let wrong = 0
  const problems: Array<string> = []
  const checked = (id: string) =>
    Effect.gen(function*() {
      const histories = new Map<string, ReadonlyArray<Histories.Stored>>()
      for (const [i, replica] of replicas.entries()) {
        const events = yield* Histories.read(boards.entityType, replica, id, ({ token }) => token).pipe(
          Effect.provideContext(storages[i]!)
        )
        const texts = new Set(events.map(({ text }) => text))
        const tokens = expected.get(id)!
        lost += tokens.size - Array.from(tokens).filter((token) => texts.has(token)).length
        doubled += events.length - texts.size
        histories.set(replica, events)
      }
      const found = [...Histories.problems(histories), ...Histories.missing(histories)]
      wrong += found.length
      problems.push(...found.map((problem) => `${id}: ${problem}`))
    })
  yield* Effect.forEach(expected.keys(), checked, { concurrency: 8, discard: true })
  const ids = Array.from(expected.keys())
  for (let from = 0; from < ids.length; from += batch) {
    const show = ids.slice(from, from + batch)
    const [first, ...others] = yield* Effect.forEach(regions, (_, i) => ask(i, { show }))
    for (const [i, id] of show.entries()) {
      const state = first!.states![i]
      if (others.every(({ states }) => states![i] === state)) continue
      diverged++
      problems.push(`${id} is ${state}, and elsewhere ${others.map(({ states }) => states![i]).join(" and ")}`)
    }
  }
  const outcome: Outcome = {
    events: total,
    entities,
    lost,
    doubled,
    diverged,
    wrong,
    healed: Number(healed.toFixed(1)),
    kills,
    cuts,
    problems
  }
  return outcome
}, Effect.scoped)
