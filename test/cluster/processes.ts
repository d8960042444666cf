/** Processes of one service that come, go, are killed and halted while events flow, and an oracle for what they have handled together. */
import { assert } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import { Database } from "@sluice/sql/Database"
import * as Wait from "@sluice/testing/Wait"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { sql } from "kysely"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { nodeArgs } from "../kit/Service.ts"
import { open, type Where } from "../status/open.ts"
import { Note, tables } from "./notes.ts"

const file = fileURLToPath(new URL("./runner.ts", import.meta.url))
const workers = 16
/** What is recommended; more where the machine is so busy that a process does not get to renew its leases in time. */
const takeover = process.env["CLUSTER_TAKEOVER"] ?? "15 seconds"
const entities = 32

interface Runner {
  readonly child: ChildProcess
  /** Which workers it has said last that it runs. */
  assigned: ReadonlyArray<number>
}

const start = (where: Where, name: string): Effect.Effect<Runner, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, nodeArgs(file, JSON.stringify(where), name, `${workers}`, takeover), {
        stdio: ["pipe", "pipe", process.env["SERVICE_LOG"] === undefined ? "ignore" : "inherit"]
      })
      const runner: Runner = { child, assigned: [] }
      createInterface({ input: child.stdout }).on("line", (line) => {
        runner.assigned = JSON.parse(line).assigned
      })
      child.stdin.on("error", () => {})
      return runner
    }),
    (runner) => end(runner, "SIGKILL")
  )

const end = ({ child }: Runner, how: "SIGKILL" | "asked") =>
  Effect.promise(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, "exit")
    if (how === "asked") child.stdin!.write("stop\n")
    else child.kill(how)
    await exited
  })

/** Waits until so many workers run in each of these processes, and each worker in one of them. */
const spread = (runners: ReadonlyArray<Runner>, ...counts: ReadonlyArray<number>) =>
  Wait.until(
    `workers to be spread ${counts.join("/")}`,
    () =>
      runners.map(({ assigned }) => assigned.length).toSorted((a, b) => a - b).join() === counts.join() &&
      new Set(runners.flatMap(({ assigned }) => assigned)).size === workers,
    { atMost: "5 minutes" }
  )

// a schema of PostgreSQL's is not where it goes
const createTable = Database.use(({ dialect, run }) =>
  Effect.andThen(
    run(sql`DROP TABLE IF EXISTS handled_by_runner`),
    run(sql`CREATE TABLE handled_by_runner (
    id ${
      sql.raw(
        dialect === "sqlite"
          ? "INTEGER PRIMARY KEY"
          : dialect === "mysql"
          ? "BIGINT AUTO_INCREMENT PRIMARY KEY"
          : "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
      )
    },
    persistence_id VARCHAR(255) NOT NULL,
    sequence_number BIGINT NOT NULL,
    runner VARCHAR(255) NOT NULL
  )`)
  )
)

/** Appends to some entities again and again, until it is told to stop; returns how many events each of them has then. */
const writer = Effect.gen(function*() {
  const appended = new Map<string, number>()
  const state = { isStopped: false }
  const append = Effect.gen(function*() {
    for (let i = 0; i < entities; i++) {
      const { persistenceId, sequenceNumber } = yield* Effect.retry(
        Journal.append(Note, { id: `n-${i}`, events: ["x"] }),
        { while: (error) => error._tag === "StorageError", schedule: Schedule.spaced("100 millis") }
      )
      appended.set(persistenceId, sequenceNumber)
    }
  })
  const fiber = yield* Effect.forkScoped(
    Effect.repeat(append, { until: () => state.isStopped, schedule: Schedule.spaced("500 millis") })
  )
  return Effect.suspend(() => {
    state.isStopped = true
    return Effect.as(Fiber.join(fiber), appended)
  })
})

/** Everything that was appended is handled once, and each entity's events in their order. */
const verify = (appended: ReadonlyMap<string, number>) =>
  Effect.gen(function*() {
    const { run } = yield* Database
    const expected = new Map(
      appended.entries().map(([id, last]) => [id, Array.from({ length: last }, (_, i) => i + 1)])
    )
    const events = appended.values().reduce((sum, last) => sum + last, 0)
    const count = tables.selectFrom("handled_by_runner").select((eb) => eb.fn.countAll<number>().as("n"))
    yield* Wait.until(
      `${events} events to be handled`,
      // asking is not for nothing where there are many
      Effect.delay(Effect.map(run(count), ([row]) => row!.n >= events), "250 millis"),
      { atMost: "5 minutes" }
    )
    const handled = new Map<string, Array<number>>()
    for (
      const { persistence_id, sequence_number } of yield* run(
        tables.selectFrom("handled_by_runner").selectAll().orderBy("id")
      )
    ) {
      const numbers = handled.get(persistence_id)
      if (numbers === undefined) handled.set(persistence_id, [sequence_number])
      else numbers.push(sequence_number)
    }
    assert.deepStrictEqual(handled, expected)
    return events
  })

const seconds = (taken: Duration.Duration) => `${Duration.toSeconds(taken).toFixed(1)} s`

const report = (where: Where, what: string) => Effect.sync(() => console.error(`cluster, ${where.dialect}: ${what}`))

/** Says how long the effect has taken. */
const timed = <E, R>(where: Where, what: string, effect: Effect.Effect<unknown, E, R>) =>
  Effect.flatMap(Effect.timed(effect), ([taken]) => report(where, `${what} after ${seconds(taken)}`))

/** They come, go, are killed and halted. */
export const comeAndGo = (where: Where) =>
  Effect.gen(function*() {
    yield* createTable
    const stopWriting = yield* writer
    const a = yield* start(where, "a")
    yield* timed(where, "one process has all workers", spread([a], 16))
    const b = yield* start(where, "b")
    const c = yield* start(where, "c")
    yield* timed(where, "three have 5, 5 and 6", spread([a, b, c], 5, 5, 6))
    yield* timed(where, "two have 8 each, of one that ends,", Effect.andThen(end(b, "asked"), spread([a, c], 8, 8)))
    yield* timed(where, "one has all, of one that is killed,", Effect.andThen(end(c, "SIGKILL"), spread([a], 16)))

    const d = yield* start(where, "d")
    yield* timed(where, "two have 8 each", spread([a, d], 8, 8))
    // on SQLite one that is halted in a transaction halts everybody
    const halt = Effect.sync(() => d.child.kill("SIGSTOP"))
    yield* where.dialect === "sqlite" ? Database.use(({ withTransaction }) => withTransaction(halt)) : halt
    yield* timed(where, "one has all, of one that is halted,", spread([a], 16))
    assert.lengthOf(d.assigned, 8)
    // it goes on with what it had, which is another's by now
    d.child.kill("SIGCONT")
    yield* timed(where, "two have 8 each again", spread([a, d], 8, 8))

    const events = yield* verify(yield* stopWriting)
    yield* report(where, `${events} events handled once, and in order`)
  }).pipe(Effect.scoped, Effect.provide(open(where)))

/** Their database goes away for as long as it takes them to notice, and comes back. */
export const withoutDatabase = (
  where: Where,
  database: { readonly stop: Effect.Effect<void>; readonly start: Effect.Effect<void, unknown> }
) =>
  Effect.gen(function*() {
    yield* createTable
    const stopWriting = yield* writer
    const runners = [yield* start(where, "a"), yield* start(where, "b")]
    yield* timed(where, "two have 8 each", spread(runners, 8, 8))
    yield* database.stop
    yield* timed(
      where,
      "no worker runs",
      Wait.until("no worker to run", () => runners.every(({ assigned }) => assigned.length === 0))
    )
    yield* database.start
    yield* timed(where, "two have 8 each again, of a database that is back,", spread(runners, 8, 8))
    const events = yield* verify(yield* stopWriting)
    yield* report(where, `${events} events handled once, and in order`)
  }).pipe(Effect.scoped, Effect.provide(open(where)))
