/** Processes with a projection that is scaled, of which one is killed, while events come. */
import { assert } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { nodeArgs } from "../kit/Service.ts"
import { open, type Where } from "../status/open.ts"
import { Handled, Note } from "./Numbered.ts"

const runner = fileURLToPath(new URL("./runner.ts", import.meta.url))

const ids = Array.from({ length: 40 }, (_, i) => `n-${i}`)

const kill = (child: ChildProcess) =>
  Effect.promise(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, "exit")
    child.kill("SIGKILL")
    await exited
  })

const start = (where: Where, projection: string): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, nodeArgs(runner, JSON.stringify(where), projection), {
        stdio: ["pipe", "ignore", process.env["SERVICE_LOG"] === undefined ? "ignore" : "inherit"]
      })
    ),
    kill
  )

/** Waits until the living processes have the slices divided among so many workers, each once, all of which run. */
const divided = (projection: string, workers: number) =>
  Wait.until(
    `${workers} workers to run`,
    ProjectionStatus.everywhere(projection).pipe(
      Effect.map((found) => {
        const shown = found.filter(({ state }) => state !== "Unknown")
        return shown.every(({ state }) => state === "Running" || state === "CatchingUp") &&
          shown.map(({ range }) => SliceRange.format(range)).join() ===
            SliceRange.split(workers).map(SliceRange.format).join()
      }),
      Effect.catchTag("UnknownProjection", () => Effect.succeed(false))
    ),
    { atMost: "4 minutes" }
  )

/** Has it scaled by one that does not run it, and verifies that each event was handled once and in order. */
export const scaling = (where: Where) =>
  Effect.gen(function*() {
    const processes = [
      yield* start(where, "numbered"),
      yield* start(where, "numbered"),
      yield* start(where, "numbered")
    ]
    yield* divided("numbered", 1)
    const written = new Map<string, number>()
    const writers = { goOn: true }
    const writing = yield* Effect.forkChild(Effect.forEach([0, 1, 2, 3], (writer) =>
      Effect.gen(function*() {
        const own = ids.filter((_, i) => i % 4 === writer)
        for (let i = 0; writers.goOn; i++) {
          const id = own[i % own.length]!
          yield* Journal.append(Note, { id, events: ["written"] })
          written.set(id, (written.get(id) ?? 0) + 1)
          yield* Effect.sleep(5)
        }
      }), { concurrency: "unbounded", discard: true }))
    for (const workers of [4, 16, 3]) {
      yield* ProjectionManagement.scale("numbered", workers, { by: "a test" })
      // in the middle of it
      if (workers === 16) yield* kill(processes[1]!)
      yield* divided("numbered", workers)
    }
    writers.goOn = false
    yield* Fiber.join(writing)
    for (const [id, count] of written) {
      const handled = Effect.map(Stream.runCollect(Journal.read(Handled, id)), (all) => all.map(({ event }) => event))
      yield* Wait.until(`the events of ${id} to be handled`, Effect.map(handled, ({ length }) => length >= count))
      assert.deepStrictEqual(yield* handled, Array.from({ length: count }, (_, i) => `${i + 1}`), id)
    }
    const history = yield* ProjectionManagement.history("numbered")
    assert.deepStrictEqual(history.map(({ target }) => target), ["3 workers", "16 workers", "4 workers"])
  }).pipe(Effect.scoped, Effect.provide(open(where)))

/** Has it scaled, and a process join and leave, while calls take longer than that, and verifies that none of an entity overlap, or are out of order. */
export const handovers = (where: Where) =>
  Effect.gen(function*() {
    yield* start(where, "slow")
    yield* start(where, "slow")
    yield* divided("slow", 2)
    const some = ids.slice(0, 8)
    for (const id of some) yield* Journal.append(Note, { id, events: ["a", "b", "c"] })
    for (const workers of [8, 3]) {
      yield* ProjectionManagement.scale("slow", workers, { by: "a test" })
      yield* Effect.sleep("4 seconds")
      // takes its share over
      yield* start(where, "slow")
    }
    for (const id of some) {
      const handled = Effect.map(Stream.runCollect(Journal.read(Handled, id)), (all) => all.map(({ event }) => event))
      yield* Wait.until(`the events of ${id} to be handled`, Effect.map(handled, ({ length }) => length >= 6), {
        atMost: "4 minutes"
      })
      assert.deepStrictEqual(yield* handled, [1, 2, 3].flatMap((event) => [`${event} begins`, `${event} ends`]), id)
    }
  }).pipe(Effect.scoped, Effect.provide(open(where)))

/** Has a lag that takes too long, and verifies that all processes have more workers then, and why. */
export const automatic = (where: Where) =>
  Effect.gen(function*() {
    yield* start(where, "automatic")
    yield* start(where, "automatic")
    yield* divided("automatic", 1)
    for (const id of ids) yield* Journal.append(Note, { id, events: Array.from({ length: 50 }, () => "a") as ["a"] })
    yield* divided("automatic", 4)
    const why = yield* ProjectionManagement.scaling("automatic")
    assert.deepInclude(why, { workers: 4, isAutomatic: true, by: "automatic" })
    assert.match(why!.reason, /events behind/)
    const owners = new Set((yield* ProjectionStatus.everywhere("automatic")).map(({ owner }) => owner.incarnation))
    assert.strictEqual(owners.size, 2)
  }).pipe(Effect.scoped, Effect.provide(open(where)))
