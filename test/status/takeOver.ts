/** Processes that run a projection, of which some are killed and halted, as another process sees them. */
import { assert } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import { Database } from "@sluice/sql/Database"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { nodeArgs } from "../kit/Service.ts"
import { open, type Where } from "./open.ts"

const runner = fileURLToPath(new URL("./runner.ts", import.meta.url))
const Note = EntityType.make("note", { codec: EventCodec.string })

/** In milliseconds. */
const interval = 500

const start = (where: Where, name: string): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, nodeArgs(runner, JSON.stringify(where), name, `${interval}`), {
        stdio: ["pipe", "ignore", process.env["SERVICE_LOG"] === undefined ? "ignore" : "inherit"]
      })
    ),
    (child) =>
      Effect.promise(async () => {
        if (child.exitCode !== null || child.signalCode !== null) return
        const exited = once(child, "exit")
        child.kill("SIGKILL")
        await exited
      })
  )

/** Nobody knows it until the first process has started it. */
const everywhere = ProjectionStatus.everywhere("notes").pipe(
  Effect.catchTag("UnknownProjection", () => Effect.succeed<ReadonlyArray<ProjectionStatus.ReportedWorker>>([]))
)

const rows = (owner: string, state: string) => [`${owner} 0-511 ${state}`, `${owner} 512-1023 ${state}`]

/** Waits until the workers are as these rows say. */
const shows = (...wanted: ReadonlyArray<string>) =>
  Wait.until(
    `the workers to be ${wanted.join(", ")}`,
    Effect.map(everywhere, (workers) => {
      const shown = workers.map(({ owner, range, state }) => `${owner.name} ${SliceRange.format(range)} ${state}`)
      return shown.toSorted().join() === [...wanted].toSorted().join()
    })
  )

/**
 * Processes come and go, and this one reads how they are doing, by the storage alone. A process is halted while nobody writes: on SQLite one
 * that is halted in a transaction halts everybody.
 */
export const takeOver = (where: Where) =>
  Effect.gen(function*() {
    const append = Journal.append(Note, { id: "n-1", events: ["one"] })
    yield* append
    const one = yield* start(where, "one")
    yield* shows(...rows("one", "Running"))
    yield* Wait.until("its lag", Effect.map(everywhere, (workers) => workers.every(({ lag }) => lag === 0)))

    one.kill("SIGKILL")
    yield* shows(...rows("one", "Unknown"))
    for (const { eta, lag, rate, timeLag } of yield* everywhere) {
      assert.deepStrictEqual([lag, timeLag, rate, eta], [undefined, undefined, undefined, undefined])
    }

    const two = yield* start(where, "two")
    yield* shows(...rows("two", "Running"))

    const halted = Effect.sync(() => two.kill("SIGSTOP"))
    yield* where.dialect === "sqlite" ? Database.use(({ withTransaction }) => withTransaction(halted)) : halted
    yield* shows(...rows("two", "Unknown"))
    yield* start(where, "three")
    yield* shows(...rows("three", "Running"))
    yield* append
    yield* Wait.until("its lag", Effect.map(everywhere, (workers) => workers.every(({ lag }) => lag === 0)))

    two.kill("SIGCONT")
    yield* Wait.until(
      "both to be known",
      Effect.map(everywhere, (workers) =>
        ["two", "three"].every((name) =>
          workers.some(({ owner, state }) => owner.name === name && state !== "Unknown")
        ))
    )
    // which is killed in the end
    two.kill("SIGKILL")
    yield* shows(...rows("three", "Running"))
  }).pipe(Effect.provide(open(where)))
