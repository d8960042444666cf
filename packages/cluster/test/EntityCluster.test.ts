import { assert, describe, it } from "@effect/vitest"
import * as EntityCluster from "@sluice/cluster/EntityCluster"
import * as EntityClient from "@sluice/entity/EntityClient"
import { OwnTables } from "@sluice/sql/adapter/OwnTables"
import { Database } from "@sluice/sql/Database"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as SqlError from "effect/sql/SqlError"
import { available, makeAuthority } from "../../../test/kit/Certificates.ts"
import { shards } from "../src/internal/entities/shardOf.ts"
import { counter, Store } from "./counters.ts"

const fast = { takeover: "2 seconds" } as const

/** A database that can be away for one process. */
const withFaults = (database: Database["Service"], state: { isAway: boolean }): Database["Service"] => ({
  ...database,
  run: (query) =>
    Effect.suspend(() =>
      state.isAway
        ? Effect.fail(
          new SqlError.SqlError({ reason: new SqlError.ConnectionError({ cause: new Error("away"), message: "away" }) })
        )
        : database.run(query)
    )
})

/** A process of its own, with entities, in this one. */
const start = (store: Store, options: EntityCluster.ProcessOptions = {}, entityOptions: EntityCluster.Options = {}) =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const state = { isAway: false }
    const database = Context.make(Database, withFaults(yield* Database, state)).pipe(
      Context.add(OwnTables, yield* OwnTables)
    )
    const Counter = counter(store)
    const context = yield* EntityCluster.layer(Counter, entityOptions).pipe(
      Layer.provideMerge(Layer.fresh(EntityCluster.layerProcess({ ...fast, ...options }))),
      Layer.provide(Layer.succeedContext(database)),
      (layer) => Layer.buildWithScope(layer, scope)
    )
    const host = Context.get(context, EntityCluster.Host)
    return {
      state,
      client: yield* Effect.provideContext(EntityClient.make(Counter), context),
      has: (id: string) => host.has(Counter.name, id),
      end: Scope.close(scope, Exit.void)
    }
  })

type Process = Effect.Success<ReturnType<typeof start>>

/** A process that only calls. */
const calling = (
  store: Store,
  options: EntityCluster.CallerOptions = {},
  clientOptions?: EntityCluster.ClientOptions
) =>
  Effect.gen(function*() {
    const Counter = counter(store)
    const context = yield* Layer.build(
      EntityCluster.layerClient(Counter, clientOptions).pipe(
        Layer.provide(Layer.fresh(EntityCluster.layerCaller({ ...fast, ...options })))
      )
    )
    return yield* Effect.provideContext(EntityClient.make(Counter), context)
  })

const ids = Array.from({ length: 4 * shards }, (_, i) => `c-${i}`)

/** Waits until each entity belongs to one of the processes, and each process has some. */
const spread = (...processes: ReadonlyArray<Process>) =>
  Wait.until(
    `entities to be spread over ${processes.length}`,
    () =>
      ids.every((id) => processes.filter(({ has }) => has(id)).length === 1) &&
      processes.every(({ has }) => ids.filter(has).length > ids.length / processes.length / 3)
  )

/** An id that belongs to the process. */
const idOf = ({ has }: Process): string => ids.find(has)!

const rows = Effect.gen(function*() {
  const { run } = yield* Database
  const db = yield* OwnTables
  const runners = yield* run(db.selectFrom("sluice_runner").selectAll())
  return [...runners, ...yield* run(db.selectFrom("sluice_runner_shard").selectAll())].length
})

const inSqlite = <E>(test: Effect.Effect<void, E, Database | OwnTables | Scope.Scope>) =>
  Effect.provide(Effect.scoped(test), SqliteStorage.layer({ filename: ":memory:" }))

const addToAll = (client: Process["client"]) =>
  Effect.forEach(ids, (id) => client(id).Add({ by: 1 }), { concurrency: 50 })

describe("entities in a cluster", () => {
  it.live(
    "run in one process each, are called from all, and move as processes come and go",
    () =>
      inSqlite(Effect.gen(function*() {
        const store = new Store()
        // nobody is silent here, however busy the machine is
        const steady = { takeover: "20 seconds" } as const
        const a = yield* start(store, steady)
        yield* spread(a)
        yield* addToAll(a.client)
        const b = yield* start(store, steady)
        const c = yield* start(store, steady)
        yield* spread(a, b, c)
        const recovered = store.recovered
        for (const { client } of [a, b, c, { client: yield* calling(store, steady) }]) yield* addToAll(client)
        // no more than once for each that has moved, as they stay active
        assert.isAtMost(store.recovered - recovered, ids.length)
        // who goes gives its entities to the others, while commands come
        const busy = yield* Effect.forkChild(addToAll(c.client), { startImmediately: true })
        yield* a.end
        yield* Wait.end("all commands", Fiber.join(busy))
        yield* spread(b, c)
        yield* b.end
        yield* addToAll(c.client)
        assert.deepStrictEqual(new Set(ids.map((id) => store.count(id))), new Set([7]))
        yield* c.end
        assert.strictEqual(yield* rows, 0)
      })),
    300_000
  )

  it.live(
    "answer with replies, errors and values of every type, from near and far",
    () =>
      inSqlite(Effect.gen(function*() {
        const store = new Store()
        const a = yield* start(store)
        const b = yield* start(store)
        yield* spread(a, b)
        for (const id of [idOf(a), idOf(b)]) {
          const counter = a.client(id)
          assert.strictEqual(yield* counter.Add({ by: 2 }), 2)
          assert.strictEqual(yield* counter.Get(), 2n)
          const rejected = yield* Effect.flip(counter.Add({ by: -3 }))
          assert.isTrue(rejected._tag === "TooFew" && rejected.count === -1)
          assert.strictEqual((yield* counter.Echo({ size: 3_000_000 })).length, 3_000_000)
        }
        const { withTransaction } = yield* Database
        for (const { client } of [a, { client: yield* calling(store) }]) {
          const inTransaction = yield* Effect.flip(withTransaction(client(idOf(b)).Get()))
          assert.strictEqual(inTransaction._tag, "InvalidCommand")
        }
        for (const id of [idOf(a), idOf(b)]) {
          const tooLarge = yield* Effect.flip(a.client(id).Echo({ size: 5_000_000 }))
          assert.strictEqual(tooLarge._tag, "InvalidDecision")
          assert.match(tooLarge.message, /processes do not send each other more than 4194304/)
        }
        // the connection is as good as before
        assert.strictEqual(yield* a.client(idOf(b)).Get(), 2n)
      })),
    120_000
  )

  it.live("execute a command once where its answer is lost", () =>
    inSqlite(Effect.gen(function*() {
      const store = new Store()
      const a = yield* start(store)
      const b = yield* start(store)
      yield* spread(a, b)
      const id = idOf(b)
      yield* a.client(id).Get()
      // it is written, and then its process ends without a word
      const written = yield* Deferred.make<void>()
      store.before = () => {
        store.before = () => Effect.void
        return Effect.andThen(
          Effect.sync(() => {
            store.events.set(id, [{ by: 1, commandId: undefined, count: 1 }])
          }),
          Effect.andThen(Deferred.succeed(written, undefined), Effect.never)
        )
      }
      const sent = yield* Effect.forkChild(a.client(id).Add({ by: 5 }, { commandId: "five" }))
      yield* Wait.end("it to be written", Deferred.await(written))
      store.events.set(id, [{ by: 5, commandId: "five", count: 5 }])
      yield* Effect.forkChild(b.end)
      assert.strictEqual(yield* Wait.end("the answer", Fiber.join(sent)), 5)
      assert.strictEqual(store.count(id), 5)
    })), 120_000)

  it.live(
    "say that they are not reached, what was tried, and whether the command may have been executed",
    () =>
      inSqlite(Effect.gen(function*() {
        const store = new Store()
        const client = yield* calling(store, {}, { within: "1 second" })
        const nobody = yield* Effect.flip(client("c-1").Add({ by: 1 }))
        assert.strictEqual(nobody._tag, "EntityUnreachable")
        assert.match(
          nobody.message,
          /the command was not begun: try again: tried for \d+ ms: no process has it at the moment/
        )
        const a = yield* start(store)
        yield* spread(a)
        assert.strictEqual(yield* client("c-1").Add({ by: 1 }), 1)
        store.before = () => Effect.never
        const hung = yield* Effect.flip(client("c-1").Add({ by: 1 }))
        assert.isTrue(hung._tag === "EntityUnreachable" && hung.isUnknown)
        store.before = () => Effect.void
      })),
    120_000
  )

  it.live(
    "say of a command that has waited for others until its time was over that it was not executed, wherever they are",
    () =>
      inSqlite(Effect.gen(function*() {
        const store = new Store()
        const a = yield* start(store, {}, { within: "2 seconds" })
        yield* spread(a)
        const gate = yield* Deferred.make<void>()
        const begun = yield* Deferred.make<void>()
        store.before = () => Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(gate))
        const slow = yield* Effect.forkChild((yield* calling(store))("c-1").Add({ by: 1 }))
        yield* Wait.end("it to begin", Deferred.await(begun))
        for (const client of [a.client, yield* calling(store, {}, { within: "2 seconds" })]) {
          const late = yield* Effect.flip(client("c-1").Add({ by: 10 }))
          assert.strictEqual(late._tag, "Overloaded", late.message)
          assert.isTrue(late._tag === "Overloaded" && late.full === "time" && !late.isUnknown)
        }
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual(yield* Fiber.join(slow), 1)
        assert.strictEqual(yield* a.client("c-1").Get(), 1n)
      })),
    120_000
  )

  it.live(
    "are lost by a process without its database, which answers nothing out of date",
    () =>
      inSqlite(Effect.gen(function*() {
        const store = new Store()
        const a = yield* start(store)
        const b = yield* start(store)
        yield* spread(a, b)
        const id = idOf(a)
        yield* a.client(id).Add({ by: 1 })
        a.state.isAway = true
        yield* spread(b)
        assert.isFalse(a.has(id))
        yield* b.client(id).Add({ by: 1 })
        assert.strictEqual(store.count(id), 2)
        a.state.isAway = false
        yield* spread(a, b)
        assert.strictEqual(yield* a.client(id).Get(), 2n)
      })),
    120_000
  )

  it.live(
    "that have something in hand for too long are taken over nevertheless",
    () =>
      inSqlite(Effect.gen(function*() {
        const store = new Store()
        const a = yield* start(store)
        yield* spread(a)
        const gate = yield* Deferred.make<void>()
        const begun = new Set<string>()
        // all that are in hand hang, and go on when others have them
        store.before = (id) => Effect.andThen(Effect.sync(() => begun.add(id)), Deferred.await(gate))
        const hanging = yield* Effect.forkChild(
          Effect.forEach(ids.slice(0, 100), (id) => Effect.exit(a.client(id).Add({ by: 1 })), { concurrency: 100 })
        )
        yield* Wait.until("them to hang", () => begun.size === 100)
        const b = yield* start(store)
        yield* spread(a, b)
        store.before = () => Effect.void
        const moved = ids.slice(0, 100).filter(b.has)
        assert.isAbove(moved.length, 10)
        for (const id of moved) yield* b.client(id).Add({ by: 1 })
        yield* Deferred.succeed(gate, undefined)
        const exits = yield* Wait.end("the hanging ones", Fiber.join(hanging))
        // those that have moved were given up, and their callers cannot know whether they were executed
        assert.deepStrictEqual(
          exits.map((exit) => Exit.isSuccess(exit) || (Cause.squash(exit.cause) as { isUnknown: boolean }).isUnknown),
          exits.map(() => true)
        )
        assert.strictEqual(exits.filter(Exit.isSuccess).length, 100 - moved.length)
        assert.deepStrictEqual(new Set(ids.slice(0, 100).map((id) => store.count(id))), new Set([1]))
      })),
    120_000
  )

  it.live(
    "are read from what is stored where they come back to a process that was still busy with them",
    () =>
      inSqlite(Effect.gen(function*() {
        const store = new Store()
        const a = yield* start(store)
        yield* spread(a)
        const some = ids.slice(0, 100)
        const gate = yield* Deferred.make<void>()
        const begun = new Set<string>()
        store.before = (id) => Effect.andThen(Effect.sync(() => begun.add(id)), Deferred.await(gate))
        const hanging = yield* Effect.forkChild(
          Effect.forEach(some, (id) => Effect.exit(a.client(id).Get()), { concurrency: 100 })
        )
        yield* Wait.until("them to hang", () => begun.size === 100)
        const b = yield* start(store)
        yield* Wait.until("some to have moved", () => some.some(b.has))
        const id = some.find(b.has)!
        store.before = () => Effect.void
        assert.strictEqual(yield* b.client(id).Add({ by: 1 }), 1)
        yield* b.end
        yield* Wait.until("it to come back", () => a.has(id))
        const read = yield* Effect.forkChild(a.client(id).Get(), { startImmediately: true })
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual(yield* Wait.end("the read", Fiber.join(read)), 1n)
        yield* Wait.end("the hanging ones", Fiber.join(hanging))
      })),
    120_000
  )

  it.live(
    "are had by processes that are well, which is asked of where they are reached",
    () =>
      inSqlite(Effect.gen(function*() {
        const asked = new Set<string>()
        const health = Layer.succeed(
          RunnerHealth.RunnerHealth,
          RunnerHealth.RunnerHealth.of({
            isAlive: ({ host, port }) =>
              Effect.sync(() => {
                asked.add(`${host}:${port > 0}`)
                return host === "127.0.0.1"
              })
          })
        )
        const store = new Store()
        const a = yield* start(store, { health })
        const b = yield* start(store, { health })
        yield* spread(a, b)
        yield* Wait.until("somebody to be asked", () => asked.size > 0)
        assert.deepStrictEqual(asked, new Set(["127.0.0.1:true"]))
      })),
    120_000
  )

  it.live(
    "are not kept from others for long by one that is busy, when their process ends",
    () =>
      inSqlite(Effect.gen(function*() {
        const store = new Store()
        const a = yield* start(store, {}, { shutdownWithin: "5 minutes" })
        yield* spread(a)
        const begun = yield* Deferred.make<void>()
        store.before = () => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
        const sent = yield* Effect.forkChild(Effect.flip(a.client("c-1").Add({ by: 1 })))
        yield* Deferred.await(begun)
        yield* Wait.end("the process", a.end)
        const error = yield* Wait.end("the answer", Fiber.join(sent))
        assert.isTrue(error._tag === "EntityUnreachable" && error.isUnknown)
      })),
    120_000
  )

  it.live.each<EntityCluster.ProcessOptions>([
    { takeover: 999 },
    { takeover: "2 hours" },
    { weight: 0 },
    { host: "" },
    { host: "a@b" },
    { port: -1 },
    { port: 65_536 },
    { host: "192.0.2.1" },
    { listenAt: "0.0.0.0" }
  ])("refuse %o", (options) =>
    inSqlite(Effect.gen(function*() {
      const exit = yield* Effect.exit(Layer.build(EntityCluster.layerProcess(options)))
      assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof RangeError)
    })))

  it.runIf(available)(
    "are called between processes with certificates, and by none without",
    () =>
      Effect.runPromise(inSqlite(Effect.gen(function*() {
        const authority = makeAuthority()
        const tls = () => {
          const { certificate, key } = authority.issue("IP:127.0.0.1")
          return { authority: authority.certificate, certificate, key: Redacted.make(key) }
        }
        const store = new Store()
        const a = yield* start(store, { tls: tls(), listenAt: "0.0.0.0" })
        const b = yield* start(store, { tls: tls() })
        yield* spread(a, b)
        yield* addToAll(a.client)
        yield* addToAll(b.client)
        yield* addToAll(yield* calling(store, { tls: tls() }))
        const plain = yield* calling(store, {}, { within: "1 second" })
        const refused = yield* Effect.flip(plain(ids[0]!).Add({ by: 1 }))
        assert.isTrue(refused._tag === "EntityUnreachable" && !refused.isUnknown)
        assert.deepStrictEqual(new Set(ids.map((id) => store.count(id))), new Set([3]))
      })))
  )
})
