import { assert, describe, it } from "@effect/vitest"
import * as ClusterPlacement from "@sluice/cluster/ClusterPlacement"
import { Placement } from "@sluice/core/Placement"
import { OwnTables } from "@sluice/sql/adapter/OwnTables"
import { Database } from "@sluice/sql/Database"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"

/** A process that takes part, with projections that have these numbers of workers. */
const start = (
  options: ClusterPlacement.Options,
  ...counts: ReadonlyArray<number>
): Effect.Effect<
  {
    readonly assigned: Map<number, ReadonlySet<number>>
    readonly first: Map<number, ReadonlySet<number>>
    readonly begin: (workers: number) => Effect.Effect<void>
    readonly end: Effect.Effect<void>
  },
  never,
  Database | OwnTables | Scope.Scope
> =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    // a process has a storage of its own
    const database = Context.make(Database, { ...(yield* Database) })
    const own = Layer.fresh(ClusterPlacement.layer(options)).pipe(Layer.provide(Layer.succeedContext(database)))
    const context = yield* Layer.buildWithScope(own, scope)
    const placement = Context.get(context, Placement)
    const assigned = new Map<number, ReadonlySet<number>>()
    const first = new Map<number, ReadonlySet<number>>()
    const begin = (workers: number) =>
      Stream.runForEach(placement.assigned("p", workers), (set) =>
        Effect.sync(() => {
          if (!first.has(workers)) first.set(workers, set)
          assigned.set(workers, set)
        })).pipe(Effect.forkIn(scope), Effect.asVoid)
    yield* Effect.forEach(counts, begin)
    return {
      assigned,
      begin,
      first,
      end: Effect.andThen(Scope.close(scope, Exit.void), Effect.sync(() => assigned.clear()))
    }
  })

type Process = Effect.Success<ReturnType<typeof start>>

/** Waits until each of so many workers runs in one of the processes, and so many in each. */
const spread = (processes: ReadonlyArray<Process>, ...counts: ReadonlyArray<number>) => {
  const workers = counts.reduce((sum, count) => sum + count, 0)
  return Wait.until(`${workers} workers to be spread ${counts.join("/")}`, () => {
    const sets = processes.map(({ assigned }) => assigned.get(workers))
    return sets.every((set) => set !== undefined) &&
      sets.map((set) => set.size).toSorted((a, b) => a - b).join() === counts.join() &&
      new Set(sets.flatMap((set) => [...set])).size === workers
  })
}

const fast = { takeover: "3 seconds" } as const

/** A database that counts statements, and that can be away, or not answer. */
const controlled = Effect.gen(function*() {
  const database = yield* Database
  const db = yield* OwnTables
  const state = { statements: 0, isAway: false, isMute: false }
  const run: Database["Service"]["run"] = (query) =>
    Effect.suspend(() => {
      state.statements++
      return state.isAway
        ? Effect.fail(
          new SqlError.SqlError({ reason: new SqlError.ConnectionError({ cause: new Error("away"), message: "away" }) })
        )
        : state.isMute
        ? Effect.never
        : database.run(query)
    })
  return { state, context: Context.make(Database, { ...database, run }).pipe(Context.add(OwnTables, db)) }
})

const rows = Effect.gen(function*() {
  const { run } = yield* Database
  const db = yield* OwnTables
  const runners = yield* run(db.selectFrom("sluice_runner").selectAll())
  return [...runners, ...yield* run(db.selectFrom("sluice_runner_shard").selectAll())].length
})

const inSqlite = <E>(test: Effect.Effect<void, E, Database | OwnTables | Scope.Scope>) =>
  Effect.provide(Effect.scoped(test), SqliteStorage.layer({ filename: ":memory:" }))

/** Follows what is assigned of 4 workers, and tells how many they are. */
const countOf = (context: Context.Context<never>) =>
  Effect.gen(function*() {
    const sets: Array<ReadonlySet<number>> = []
    yield* Effect.forkScoped(Stream.runForEach(
      Context.get(context, Placement).assigned("p", 4),
      (set) => Effect.sync(() => void sets.push(set))
    ))
    return () => sets.at(-1)?.size
  })

describe("placement in a cluster", () => {
  it.live("spreads workers over the processes, evenly, as they come and go", () =>
    inSqlite(Effect.gen(function*() {
      const a = yield* start(fast, 16)
      yield* spread([a], 16)
      const b = yield* start(fast, 16)
      const c = yield* start(fast, 16)
      yield* spread([a, b, c], 5, 5, 6)
      yield* b.end
      yield* spread([a, c], 8, 8)
      yield* a.end
      yield* spread([c], 16)
      yield* c.end
      assert.strictEqual(yield* rows, 0)
    })))

  it.live("places each number of workers by itself, and says so to a process that has none", () =>
    inSqlite(Effect.gen(function*() {
      const a = yield* start(fast, 1, 3, 64)
      const b = yield* start(fast, 1, 3, 64)
      yield* spread([a, b], 0, 1)
      yield* spread([a, b], 1, 2)
      yield* spread([a, b], 32, 32)
    })))

  it.live("waits for the others where a number of workers is new to them", () =>
    inSqlite(Effect.gen(function*() {
      const processes = yield* Effect.replicateEffect(start(fast, 4), 3)
      yield* spread(processes, 1, 1, 2)
      const { run } = yield* Database
      const db = yield* OwnTables
      const said = run(db.selectFrom("sluice_runner").selectAll().where("workers", "=", 16))
      for (const [i, { begin }] of processes.entries()) {
        yield* begin(16)
        yield* Wait.until("it to say so", Effect.map(said, (rows) => rows.length > i))
      }
      yield* spread(processes, 5, 5, 6)
      // none of them has had all before the others came
      assert.deepStrictEqual(processes.map(({ first }) => first.get(16)!.size).toSorted((a, b) => a - b), [5, 5, 6])
    })))

  it.live("has all workers of a process run in it, however often the process makes or builds the layer", () =>
    inSqlite(Effect.gen(function*() {
      const scope = yield* Scope.fork(yield* Effect.scope)
      const P = ClusterPlacement.layer(fast)
      const made = yield* Effect.all([
        Effect.flatMap(Layer.buildWithScope(P, scope), (context) => Scope.provide(countOf(context), scope)),
        Effect.flatMap(Layer.build(P), countOf),
        Effect.flatMap(Layer.build(ClusterPlacement.layer(fast)), countOf)
      ], { concurrency: "unbounded" })
      yield* Wait.until("all to have all", () => made.every((size) => size() === 4))
      const { run } = yield* Database
      const db = yield* OwnTables
      assert.strictEqual((yield* run(db.selectFrom("sluice_runner").selectAll())).length, 1)
      // whoever made it first may end
      yield* Scope.close(scope, Exit.void)
      const later = yield* Effect.flatMap(Layer.build(P), countOf)
      yield* Wait.until("the later one to have all", () => later() === 4)
      assert.strictEqual((yield* run(db.selectFrom("sluice_runner").selectAll())).length, 1)
    })))

  it.live("says once that the process takes part", () => {
    const said: Array<string> = []
    const logger = Logger.make(({ message }) => {
      if (String(message).startsWith("Takes part")) said.push(String(message))
    })
    return inSqlite(Effect.gen(function*() {
      yield* Layer.build(ClusterPlacement.layer({ host: "here" }))
      yield* Layer.build(ClusterPlacement.layer({ host: "here" }))
      assert.deepStrictEqual(said, ["Takes part in placing the workers of projections, as here, with a takeover of 6s"])
    })).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.live("may be made anew once it has ended, and with other options", () =>
    inSqlite(Effect.gen(function*() {
      for (const takeover of ["3 seconds", "4 seconds"] as const) {
        yield* Effect.scoped(Effect.gen(function*() {
          const placement = Context.get(yield* Layer.build(ClusterPlacement.layer({ takeover })), Placement)
          yield* Wait.end(
            "all workers",
            Stream.runHead(Stream.filter(placement.assigned("p", 4), (set) => set.size === 4))
          )
        }))
        assert.strictEqual(yield* rows, 0)
      }
    })))

  it.live("refuses to be made with two sets of options in one process", () =>
    inSqlite(Effect.gen(function*() {
      yield* Layer.build(ClusterPlacement.layer(fast))
      const exit = yield* Effect.exit(Layer.build(ClusterPlacement.layer({ takeover: "4 seconds" })))
      assert.isTrue(Exit.isFailure(exit) && /another takeover: make it once/.test(String(Cause.squash(exit.cause))))
    })))

  it.live("gives more workers to who has more weight", () =>
    inSqlite(Effect.gen(function*() {
      const a = yield* start(fast, 30)
      const b = yield* start({ ...fast, weight: 2 }, 30)
      yield* spread([a, b], 10, 20)
      assert.strictEqual(b.assigned.get(30)!.size, 20)
    })))

  it.live("gives no workers to who is unwell", () =>
    inSqlite(Effect.gen(function*() {
      const unwell = new Set<string>()
      const health = Layer.succeed(RunnerHealth.RunnerHealth, {
        isAlive: ({ host }) => Effect.sync(() => !unwell.has(host))
      })
      const a = yield* start({ ...fast, health, host: "a" }, 8)
      const b = yield* start({ ...fast, health, host: "b" }, 8)
      yield* spread([a, b], 4, 4)
      unwell.add("b")
      yield* spread([a, b], 0, 8)
      assert.strictEqual(a.assigned.get(8)!.size, 8)
      unwell.clear()
      yield* spread([a, b], 4, 4)
    })))

  it.live("stops the workers of a process without its database, and goes on by itself when that is back", () =>
    inSqlite(Effect.gen(function*() {
      const { context, state } = yield* controlled
      const a = yield* Effect.provideContext(start(fast, 8), context)
      const b = yield* start(fast, 8)
      yield* spread([a, b], 4, 4)
      state.isAway = true
      yield* Wait.until("a to stop its workers", () => a.assigned.get(8)!.size === 0)
      yield* spread([b], 8)
      state.isAway = false
      yield* spread([a, b], 4, 4)
      // it ends without waiting for a database that is away
      state.isAway = true
      yield* Wait.until("a to stop its workers", () => a.assigned.get(8)!.size === 0)
      yield* Wait.end("the end of a", a.end, { atMost: "20 seconds" })
      yield* spread([b], 8)
    })))

  it.live("says so when the database does not answer, and ends without waiting for it", () => {
    const said: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel === "Warn" || String(message).includes("again")) said.push(String(message))
    })
    return inSqlite(Effect.gen(function*() {
      const { context, state } = yield* controlled
      const a = yield* Effect.provideContext(start(fast, 8), context)
      yield* spread([a], 8)
      state.isMute = true
      yield* Wait.until("a warning", () => said.some((text) => text.includes("does not answer")))
      yield* Wait.until("a to stop its workers", () => a.assigned.get(8)!.size === 0)
      state.isMute = false
      yield* Wait.until(
        "the end of it to be said",
        () => said.some((text) => text.includes("reaches the database again"))
      )
      yield* spread([a], 8)
      said.length = 0
      state.isMute = true
      yield* Wait.until("a warning", () => said.length > 0)
      yield* Wait.end("the end", a.end, { atMost: "20 seconds" })
    })).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.live("leaves nothing behind when its start is interrupted", () =>
    inSqlite(Effect.gen(function*() {
      const { context, state } = yield* controlled
      const started = (statements: number) =>
        Effect.gen(function*() {
          state.statements = 0
          const a = yield* Effect.provideContext(start(fast, 8), context)
          yield* Wait.until(`${statements} statements`, () => state.statements >= statements)
          yield* a.end
          assert.strictEqual(yield* rows, 0)
        })
      for (const statements of [1, 2, 3, 4, 5, 6, 8, 10]) yield* started(statements)
    })))

  it.live("costs few statements, however many projections there are", () =>
    inSqlite(Effect.gen(function*() {
      const { context, state } = yield* controlled
      const counts = [1, 4, 8, 16]
      const a = yield* Effect.provideContext(
        start({}, ...counts, ...Array.from({ length: 100 }, () => 16)),
        context
      )
      yield* Effect.forEach(counts, (count) => spread([a], count))
      state.statements = 0
      const since = yield* Clock.currentTimeMillis
      yield* Wait.until("40 statements", () => state.statements >= 40)
      assert.isAbove((yield* Clock.currentTimeMillis) - since, 2_000)
    })))

  it.live.each<ClusterPlacement.Options>([
    { takeover: 999 },
    { takeover: "2 hours" },
    { takeover: Infinity },
    { weight: 0 },
    { weight: Number.NaN },
    { host: "" }
  ])("refuses %o", (options) =>
    inSqlite(Effect.gen(function*() {
      const exit = yield* Effect.exit(Layer.build(ClusterPlacement.layer(options)))
      assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof RangeError)
    })))
})
