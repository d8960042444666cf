/**
 * Akka Projection gRPC on the JVM does the same: it appends to event sourced entities, and a consumer in a process of its own is sent their
 * events, all slices in one stream, and does nothing, or counts them in a table, exactly once, one by one or in groups of up to 500. Each of
 * its consumers is a new process, whose clock starts when it has warmed up with a part of the events.
 */
import { freePort } from "@sluice/testing/FreePort"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Peer from "../../interop/jvm/Peer.ts"
import { once } from "../baseline/postgres.ts"
import { type Bench, compare, type Sample, type Setting } from "../Bench.ts"
import { database, versus } from "../foreign.ts"
import { start as startProcess } from "../process.ts"
import { connect, connectAll, storage } from "../Target.ts"
import * as Work from "../Work.ts"
import * as append from "./append.ts"
import * as endToEnd from "./endToEnd.ts"
import * as entities from "./entities.ts"

/** The peer, and how to wait for the next numbers that it reports. */
const start = Effect.fnUntraced(function*(...[mode, settings]: Parameters<typeof Peer.start>) {
  const lines = yield* Queue.unbounded<string>()
  const { send } = yield* Peer.start(mode, settings, (line) => void Queue.offerUnsafe(lines, line))
  const until = (pattern: RegExp) => Queue.take(lines).pipe(Effect.repeat({ until: (line) => pattern.test(line) }))
  const report = Effect.map(
    until(/ rate=/),
    (line) => Object.fromEntries(Array.from(line.matchAll(/(\w+)=(\d+)/g), ([, name, value]) => [name!, Number(value)]))
  )
  return { send, until, report }
})

/** A producer on a database of its own, which appends, and which can be consumed. */
const producer = Effect.fnUntraced(function*(setting: Setting) {
  yield* Effect.sync(Peer.build)
  const url = yield* database(yield* setting.place)
  const { hostname, pathname, port: dbPort, username } = new URL(url)
  const port = yield* freePort
  const settings = {
    port,
    ...Peer.database({ host: hostname, port: Number(dbPort), user: username, database: pathname.slice(1) })
  }
  const { report, send, until } = yield* start("produce", { ...settings, entities: 1000 })
  yield* until(/^ready/)
  const count = Effect.promise(async () => Number((await once(url, "SELECT count(*) AS n FROM event_journal"))[0].n))
  let before = 0
  return {
    port,
    append: (events: number, callers: number): Effect.Effect<Sample> =>
      Effect.gen(function*() {
        yield* send(`${events} ${callers}`)
        const { appended, rate } = yield* report
        const stored = (yield* count) - before
        before += stored
        return { value: rate!, lost: Math.max(0, appended! - stored), doubled: Math.max(0, stored - appended!) }
      }),
    consume: (mode: "read" | "exactly-once" | "grouped", name: string, expect: number): Effect.Effect<Sample> =>
      Effect.scoped(Effect.gen(function*() {
        const { report } = yield* start("consume", {
          ...settings,
          mode,
          name,
          expect,
          warm: Math.floor(expect / 3),
          counts: "yes",
          print: "no",
          seconds: 120
        })
        const { doubled, gaps, rate, received } = yield* report
        return { value: rate!, lost: gaps! + Math.max(0, expect - received!), doubled: doubled! }
      }))
  }
})

const make = (name: string, run: Bench["run"]): Bench => ({
  name,
  adapters: ["postgres"],
  notQuick: true,
  run: (setting) =>
    Effect.suspend(() => {
      const missing = Peer.missing()
      if (missing.length === 0) return run(setting)
      console.error(`${name} is left out: it needs ${missing.join(" and ")}`)
      return Effect.succeed([])
    })
})

/** Fewer would say more about how it warms up. */
const scaled = (events: number, { size }: Setting) => Math.ceil(events * Math.max(0.3, size.scale))

export const akkaAppend = make("vs-akka-append", (setting) =>
  Effect.gen(function*() {
    const theirs = yield* producer(setting)
    return yield* Effect.forEach([32, 512], (callers) =>
      Effect.gen(function*() {
        const target = yield* setting.place
        const options = { bench: `append-${callers}-vs-akka`, callers, size: 1 }
        return yield* versus(
          setting,
          "akka-jvm",
          { bench: options.bench, unit: "events/s" },
          append.ours(options, setting, yield* connect(target)),
          theirs.append(scaled(10_000, setting), callers)
        ).pipe(Effect.provide(storage(target)))
      }))
  }))

/** Commands to a thousand event sourced entities that are active: a process of ours, and one on the JVM, on the same server. Each command is an event, and each is answered by a number. */
export const entityJvm: Bench = {
  ...make("entity-jvm", (setting) =>
    Effect.gen(function*() {
      const theirs = yield* producer(setting)
      return yield* Effect.forEach([32, 512], (callers) =>
        Effect.gen(function*() {
          const target = yield* setting.place
          const options = { bench: `entity-${callers}-vs-akka`, callers }
          return yield* versus(
            setting,
            "akka-jvm",
            { bench: options.bench, unit: "commands/s" },
            entities.commanding(options, setting, yield* connect(target)),
            theirs.append(scaled(10_000, setting), callers)
          ).pipe(Effect.provide(storage(target)))
        }))
    })),
  onlyByName: true
}

/** A producer that has so many events, and how they are consumed, in each run from the beginning. */
const filled = Effect.fnUntraced(function*(setting: Setting) {
  const theirs = yield* producer(setting)
  const there = scaled(60_000, setting)
  yield* theirs.append(there, 512)
  let run = 0
  const consume = (mode: Parameters<typeof theirs.consume>[0], events: number) =>
    Effect.suspend(() => theirs.consume(mode, `p${run++}`, events))
  return { there, consume }
})

export const akkaCatchUp = make("vs-akka-catch-up", (setting) =>
  Effect.gen(function*() {
    const { consume, there } = yield* filled(setting)
    const { target, total } = yield* endToEnd.loaded(setting, 200_000)
    const ours = yield* endToEnd.ours({ target, total })
    return yield* Effect.forEach([["", true], ["-each", false]] as const, ([suffix, isGrouped]) =>
      versus(
        setting,
        "akka-jvm",
        { bench: `catch-up-vs-akka${suffix}`, unit: "events/s" },
        ours(isGrouped),
        consume("read", there)
      ))
  }))

export const akkaExactlyOnce = make("vs-akka-exactly-once", (setting) =>
  Effect.gen(function*() {
    const { consume, there } = yield* filled(setting)
    return yield* Effect.forEach(
      [
        { bench: "exactly-once-bulk-vs-akka", isGrouped: true, events: 100_000, theirEvents: there },
        { bench: "exactly-once-vs-akka", isGrouped: false, events: 5000, theirEvents: scaled(4000, setting) }
      ],
      ({ bench, events, isGrouped, theirEvents }) =>
        Effect.scoped(Effect.gen(function*() {
          const { expected, target, total } = yield* endToEnd.loaded(setting, events)
          const sink = yield* setting.place
          const [connection] = yield* connectAll(sink, 1)
          const ours = yield* endToEnd.ours({ target, total, sink })
          return yield* versus(
            setting,
            "akka-jvm",
            { bench, unit: "events/s" },
            endToEnd.countingIn(connection, expected)("ours", ours(isGrouped)),
            consume(isGrouped ? "grouped" : "exactly-once", theirEvents)
          )
        }))
    )
  }))

/**
 * Our projection reads the stream of an Akka producer, and does nothing with the events, with its offsets in memory or in a database. The baseline is a reader by hand that does no more than
 * decode what comes: how much the producer can send.
 */
export const fromAkka = make("from-akka-catch-up", (setting) =>
  Effect.gen(function*() {
    const theirs = yield* producer(setting)
    const total = scaled(60_000, setting)
    yield* theirs.append(total, 512)
    const { port } = theirs
    const reader = yield* startProcess("baseline/akkaReader", { port, total })
    yield* reader.message()
    const sink = yield* setting.place
    let run = 0
    return yield* Effect.forEach(
      [
        { suffix: "", isExactlyOnce: false },
        { suffix: "-at-least-once", isExactlyOnce: false, sink },
        { suffix: "-exactly-once", isExactlyOnce: true, sink }
      ],
      ({ isExactlyOnce, suffix, ...where }) =>
        Effect.scoped(Effect.gen(function*() {
          const consumer = yield* startProcess("akkaConsumer", { port, total, ...where })
          yield* consumer.message()
          return yield* compare(
            setting,
            { bench: `from-akka-catch-up${suffix}`, unit: "events/s" },
            Work.counted(Effect.suspend(() => consumer.ask<Sample>("read", { name: `c${run++}`, isExactlyOnce }))),
            Work.counted(reader.ask<Sample>("read"))
          )
        }))
    )
  }))
