/**
 * Runs the cart service as three processes on a PostgreSQL of its own, kills one of them, and tells how the others take its carts over, and whether any
 * command was lost or applied twice.
 */
import { PostgresStorage } from "@sluice/postgres"
import { Database } from "@sluice/sql"
import { freePort } from "@sluice/testing/FreePort"
import * as TestServer from "@sluice/testing/TestServer"
import { Clock, Console, Effect, Fiber, Option, References, Schedule, Schema } from "effect"
import type { Command } from "effect/cli"
import * as CommandLine from "../../kit/src/CommandLine.ts"
import * as DataFolder from "../../kit/src/DataFolder.ts"
import { Display } from "../../kit/src/Display.ts"
import * as Supervisor from "../../kit/src/Supervisor.ts"
import * as Commands from "./Commands.ts"
import * as Shoppers from "./Shoppers.ts"

class CommandsDiffer extends Schema.TaggedError<CommandsDiffer>()("CommandsDiffer", { folder: Schema.String }) {
  override get message(): string {
    return `The journal is not what was acknowledged. Please report it, with what is in ${this.folder}`
  }
}

class NoAnswer extends Schema.TaggedError<NoAnswer>()("NoAnswer", { what: Schema.String, carts: Schema.Int }) {
  override get message(): string {
    return `${patience} s after ${this.what}, ${this.carts} carts do not answer`
  }
}

const flags = { duration: CommandLine.duration(20), rate: CommandLine.rate(200) }

/** Seconds. */
const patience = 60

/** Seconds: a cart that answers later had to be taken over. */
const noticeable = 1.5

/** When what happens, as a share of the duration. */
const plan = { oneDies: 0.3, oneReturns: 0.75 }

const seconds = Effect.map(Clock.currentTimeMillis, (now) => now / 1000)

const run = Effect.fn("cluster")(function*({ duration, rate }: Command.Command.Config.Infer<typeof flags>) {
  const folder = yield* DataFolder.acquire("shopping-cart", Option.none())
  const { say } = yield* Display
  const server = yield* TestServer.postgres({ durable: false })
  yield* say(`PostgreSQL started on port ${server.port}; logs are in ${folder.path}`)
  const { database, host, password, port, user } = server
  const url = `postgres://${user}:${password}@${host}:${port}/${database}`

  const processes = yield* Effect.forEach(["1", "2", "3"], (name) =>
    Effect.gen(function*() {
      const httpPort = yield* freePort
      const supervisor = yield* Supervisor.make({
        name: `cart service ${name}`,
        entry: new URL("clusterService.ts", import.meta.url),
        environment: { DATABASE: url, HTTP_PORT: String(httpPort) },
        log: folder.of(`cart-${name}`).log
      })
      return { ...supervisor, name, address: `http://127.0.0.1:${httpPort}` }
    }))
  const [first, second, third] = processes as [typeof processes[0], typeof processes[0], typeof processes[0]]
  const shoppers = yield* Shoppers.make({ rate, addresses: processes.map((_) => _.address) })

  const start = (process: typeof first) =>
    Effect.flatMap(process.start, (pid) => say(`cart service ${process.name} started, pid ${pid}`))

  /** Waits until every cart has answered after that time, and tells how long it took, and how many had to wait. */
  const answered = Effect.fnUntraced(function*(what: string, since: number) {
    const first = new Map<string, number>()
    const look = Effect.sync(() => {
      for (const [id, at] of shoppers.answeredAt) {
        if (at > since * 1000 && !first.has(id)) first.set(id, at / 1000 - since)
      }
      return shoppers.ids.filter((id) => !first.has(id)).length
    })
    yield* Effect.repeat(look, { until: (left) => left === 0, schedule: Schedule.spaced("20 millis") }).pipe(
      Effect.timeoutOrElse({
        duration: `${patience} seconds`,
        orElse: () => Effect.flatMap(look, (carts) => Effect.fail(new NoAnswer({ what, carts })))
      })
    )
    const waited = [...first.values()]
    return { all: waited.length, late: waited.filter((time) => time > noticeable).length, took: Math.max(...waited) }
  })

  const play = Effect.gen(function*() {
    // the first one makes the tables
    yield* start(first)
    yield* Effect.forEach([second, third], start, { concurrency: 2 })
    const begin = yield* seconds
    const until = (share: number) =>
      Effect.flatMap(seconds, (now) => Effect.sleep(`${Math.max(0, begin + share * duration - now)} seconds`))
    const shopping = yield* Effect.forkScoped(shoppers.shop)

    const scene = Effect.gen(function*() {
      yield* until(plan.oneDies)
      // what has not begun to answer is not taken over
      yield* answered("the shop was opened", begin)
      const died = yield* seconds
      yield* second.kill
      yield* say("kill -9: cart service 2 is dead, and whoever shopped there turns to the others")
      const { all, late, took } = yield* answered("a process was killed", died)
      const waited = `${late} of them only after ${noticeable} s`
      yield* say(`takeover: all ${all} carts answer, ${took.toFixed(1)} s after the kill, and ${waited}`)
      yield* until(plan.oneReturns)
      yield* start(second)
      yield* until(1)
      yield* shoppers.close
      return took
    })
    const took = yield* Effect.raceFirst(scene, Effect.andThen(Fiber.join(shopping), Effect.never))
    yield* Fiber.join(shopping)
    yield* say("the shop is closed: everybody has an answer")
    return took
  })

  const took = yield* Effect.raceAllFirst([play, ...processes.map((_) => _.failure)])
  yield* Effect.forEach(processes, (_) => _.stop, { concurrency: "unbounded", discard: true })

  const commands = yield* Database.Database.pipe(
    Effect.flatMap((database) => Commands.verify(database, shoppers.acknowledged)),
    Effect.provide(PostgresStorage.layer({ url })),
    Effect.provideService(References.MinimumLogLevel, "Warn")
  )
  const { acknowledged, doubled, events, gaps, lost } = commands
  yield* Console.log(
    `commands=${acknowledged} repeated=${yield* shoppers.repeated} events=${events} takeover=${took.toFixed(1)}s ` +
      `lost=${lost} doubled=${doubled} gaps=${gaps}`
  )
  if (!Commands.isRight(commands)) return yield* new CommandsDiffer({ folder: folder.path })
})

CommandLine.run("npm run start:cluster --", {
  description:
    "The cart service runs as three processes on a PostgreSQL, which is started for it. One is killed while people shop, and the others take its carts over. " +
    "At the end the journal is compared with what was acknowledged.",
  flags,
  program: run
})
