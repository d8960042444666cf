/** Processes with two versions of a projection, of which the later one is killed at every step, while events come and are read. */
import { assert } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import { Database } from "@sluice/sql/Database"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { sql } from "kysely"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { nodeArgs } from "../kit/Service.ts"
import { open, type Where } from "../status/open.ts"
import { Note, type Step } from "./items.ts"

const runner = fileURLToPath(new URL("./runner.ts", import.meta.url))

const ended = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

const start = (
  where: Where,
  name: string,
  version: number,
  step?: Step
): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn(
        process.execPath,
        nodeArgs(runner, JSON.stringify(where), name, String(version), ...step === undefined ? [] : [step]),
        { stdio: ["pipe", "ignore", process.env["SERVICE_LOG"] === undefined ? "ignore" : "inherit"] }
      )
    ),
    (child) =>
      Effect.promise(async () => {
        if (ended(child)) return
        const exited = once(child, "exit")
        child.kill("SIGKILL")
        await exited
      })
  )

const phases = (name: string) =>
  ProjectionStatus.versions(name).pipe(
    Effect.map((versions) => versions.map(({ phase }) => phase).join(" ")),
    Effect.catchTag("UnknownProjection", () => Effect.succeed(""))
  )

const hasPhases = (name: string, expected: string) =>
  Wait.until(
    `the versions to be ${expected}`,
    Effect.map(phases(name), (found) => found === expected),
    { atMost: "4 minutes" }
  )

const written = 120

/** What the versions are after each step in which the later one was killed. */
const steps: ReadonlyArray<readonly [Step, phases: string]> = [
  ["building", "Live Building"],
  ["switching", "Live Building"],
  ["dropping", "Retired Live"],
  ["dropped", "Retired Live"]
]

/** Verifies that readers see all events that were there before at any moment, and that each event is in the later version once. */
export const rebuild = (where: Where) =>
  Effect.gen(function*() {
    const name = `items_${crypto.randomUUID().slice(0, 8)}`
    const { run } = yield* Database
    const count = Effect.map(
      run(sql<{ n: number }>`SELECT COUNT(*) AS n FROM ${sql.table(name)}`),
      ([row]) => row!.n
    )
    for (let i = 0; i < written; i++) yield* Journal.append(Note, { id: `n-${i % 10}`, events: ["before"] })
    yield* start(where, name, 1)
    yield* hasPhases(name, "Live")
    yield* Wait.until("the first version", Effect.map(count, (n) => n === written))
    const state = { goOn: true, later: 0, reads: 0 }
    const reading = yield* Effect.forkChild(Effect.gen(function*() {
      while (state.goOn) {
        assert.isAtLeast(yield* count, written)
        state.reads++
        yield* Effect.sleep(2)
      }
    }))
    const writing = yield* Effect.forkChild(Effect.gen(function*() {
      while (state.goOn) {
        yield* Journal.append(Note, { id: `n-${state.later++ % 10}`, events: ["after"] })
        yield* Effect.sleep(200)
      }
    }))
    for (const [step, expected] of steps) {
      const child = yield* start(where, name, 2, step)
      yield* Wait.until(`it to be killed while ${step}`, () => ended(child), { atMost: "4 minutes" })
      assert.strictEqual(child.signalCode, "SIGKILL", step)
      assert.strictEqual(yield* phases(name), expected, step)
    }
    yield* start(where, name, 2)
    yield* hasPhases(name, "Dropped Live")
    state.goOn = false
    yield* Fiber.join(writing)
    yield* Fiber.join(reading)
    assert.isAbove(state.reads, 0)
    const all = written + state.later
    yield* Wait.until("the later version", Effect.map(count, (n) => n >= all), { atMost: "4 minutes" })
    const rows = yield* run(
      sql<{ id: string; n: number }>`SELECT id, n FROM ${sql.table(name)} ORDER BY id, n`
    )
    const expected = Array.from({ length: 10 }, (_, id) => {
      const ofId = (total: number) => Math.floor(total / 10) + (id < total % 10 ? 1 : 0)
      return Array.from({ length: ofId(written) + ofId(state.later) }, (_, n) => ({ id: `n-${id}`, n: n + 1 }))
    }).flat()
    assert.deepStrictEqual(rows.map(({ id, n }) => ({ id, n })), expected)
    // the process of the first version runs on, and does nothing
    yield* Wait.until(
      "the workers of the first version to rest",
      Effect.map(
        ProjectionStatus.everywhere(name).pipe(Effect.catchTag("UnknownProjection", () => Effect.succeed([]))),
        (workers) => workers.every(({ state }) => state === "Retired")
      )
    )
  }).pipe(Effect.scoped, Effect.provide(open(where)))
