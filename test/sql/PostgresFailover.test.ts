/** An address of PostgreSQL that leads to another server after a failover: to one that takes no writes yet, or has lost commits. */
import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import type { SnapshotStore } from "@sluice/core/SnapshotStore"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as Replica from "@sluice/replication/Replica"
import * as ReplicatedEventSourced from "@sluice/replication/ReplicatedEventSourced"
import * as Replication from "@sluice/replication/Replication"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import { freePort } from "@sluice/testing/FreePort"
import * as TestServer from "@sluice/testing/TestServer"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import Pg from "pg"
import { makeNotes } from "../../packages/replication/test/kit/Notes.ts"
import * as PostgresPair from "../kit/PostgresPair.ts"
import * as Switchboard from "../kit/Switchboard.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const append = (event: string) => Journal.append(Note, { id: "a", events: [event] })
const workers = ProjectionStatus.status("notes")

it.live(
  "after a failover, a server that takes no writes is left, and lost events are noticed",
  () =>
    Effect.gen(function*() {
      const { caughtUp, cut, primary, promote, standby } = yield* PostgresPair.start
      const address = yield* Switchboard.start(primary.port)
      const { database, host, user } = primary
      const journal = (port: number) => Layer.fresh(PostgresStorage.layerJournal({ host, port, user, database }))
      const handled: Array<string> = []
      const until = (event: string) => Wait.until(`event ${event} to be handled`, () => handled.includes(event))
      const projection = Projection.layer(
        Source.journal(Note).pipe(
          Projection.exactlyOnce("notes", ({ event }) => Effect.sync(() => void handled.push(event)))
        )
      )
      yield* Effect.gen(function*() {
        yield* append("1")
        yield* until("1")
        yield* caughtUp

        // the name leads to a reader first
        const misled = yield* Effect.flip(Effect.scoped(Layer.build(journal(standby.port))))
        assert.instanceOf(misled, StorageError)
        assert.strictEqual(misled.reason, "ReadOnly")
        yield* address.lead(standby.port)
        yield* address.cut
        const waiting = yield* Effect.forkScoped(append("2"))
        yield* Wait.until("attempts at the reader", () => address.made(standby.port) > 2)
        yield* address.lead(primary.port)
        assert.strictEqual((yield* Fiber.join(waiting)).sequenceNumber, 2)
        yield* until("2")
        yield* Wait.until("no connection to the reader", () => address.open(standby.port) === 0)
        yield* caughtUp

        // two events are acknowledged, and lost with the server that has them, while more are on their way
        yield* cut
        yield* append("3")
        yield* append("4")
        yield* until("4")
        yield* promote
        yield* address.lead(standby.port)
        yield* address.cut
        yield* Effect.forEach(["3'", "4'", "5'"], append)
        yield* Wait.until(
          "the projection to stop",
          Effect.map(workers, (workers) => workers.every(({ state }) => state === "Stopped"))
        )
        const [worker] = yield* workers
        assert.instanceOf(worker!.failure && Cause.squash(worker!.failure.cause), Journal.JournalForked)
        assert.deepStrictEqual(handled, ["1", "2", "3", "4"])
      }).pipe(
        Effect.scoped,
        Effect.provide(
          projection.pipe(
            Layer.provideMerge(journal(address.port)),
            Layer.provide(SqliteStorage.layerOffsetStore({ filename: ":memory:" }))
          )
        )
      )
    }).pipe(Effect.scoped),
  120_000
)

it.live(
  "after a failover, events of another region that were lost come again, before those that follow them",
  () =>
    Effect.gen(function*() {
      const { caughtUp, cut, primary, promote, standby } = yield* PostgresPair.start
      const address = yield* Switchboard.start(primary.port)
      const { database, host, user } = primary
      const notes = makeNotes("notes", { snapshotEvery: 2 })
      const region = Effect.fnUntraced(function*<E>(
        id: string,
        other: string,
        ports: Readonly<Record<string, number>>,
        storage: Layer.Layer<Journal.Journal | SnapshotStore | Projection.Stores, E>
      ) {
        const replicas = { [other]: { address: `localhost:${ports[other]}` } }
        const context = yield* Layer.build(
          Layer.fresh(
            Replication.layer(notes, { replicas, consumers: 1 })
              .pipe(
                Layer.provideMerge(ReplicatedEventSourced.layer(notes)),
                Layer.provideMerge([
                  Replica.layer(id),
                  GrpcServer.layer({ port: ports[id]! }),
                  storage,
                  ProjectionRegistry.layer
                ])
              )
          )
        )
        return {
          client: yield* Effect.provideContext(ReplicatedEventSourced.client(notes), context),
          has: (entity: string, ...texts: ReadonlyArray<string>) =>
            Wait.until(
              `${entity} to have ${texts.join()} at ${id}`,
              Stream.runCollect(Journal.read(notes.entityType, `${entity}|${id}`)).pipe(
                Effect.map((events) => Array.from(events, ({ event }) => event.text).join() === texts.join()),
                Effect.provideContext(context)
              ),
              { atMost: "90 seconds" }
            )
        }
      })
      const ports = { eu: yield* freePort, us: yield* freePort }
      const us = yield* region("us", "eu", ports, MemoryStorage.layer)
      const eu = yield* region("eu", "us", ports, PostgresStorage.layer({ host, port: address.port, user, database }))
      const write = (text: string) => Effect.forEach(["a", "b"], (id) => us.client(id).Add({ text }), { discard: true })
      yield* write("1")
      yield* eu.has("a", "1")
      yield* eu.has("b", "1")
      yield* caughtUp
      yield* cut
      yield* write("2")
      yield* write("3")
      yield* eu.has("a", "1", "2", "3")
      yield* eu.has("b", "1", "2", "3")
      yield* promote
      yield* address.lead(standby.port)
      yield* address.cut
      yield* us.client("a").Add({ text: "4" })
      yield* eu.has("a", "1", "2", "3", "4")
      // also where nothing follows them
      yield* eu.has("b", "1", "2", "3")
    }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")),
  240_000
)

it.live(
  "what no standby has confirmed that commits have to wait for is not acknowledged, however often it is sent",
  () =>
    Effect.gen(function*() {
      const settings = ["wal_level=replica", "max_wal_senders=4"]
      const { database, host, port, user } = yield* TestServer.postgres({ durable: true, settings })
      const connect = Effect.acquireRelease(
        Effect.promise(async () => {
          const client = new Pg.Client({ host, port, user, database })
          await client.connect()
          return client
        }),
        (client) => Effect.promise(() => client.end())
      )
      const admin = yield* connect
      const other = yield* connect
      const one = (query: string) => Effect.promise(async () => (await admin.query(query)).rows.length === 1)
      const waitFor = (standbys: string) =>
        Effect.promise(async () => {
          await admin.query(`ALTER SYSTEM SET synchronous_standby_names = '${standbys}'`)
          await admin.query("SELECT pg_reload_conf()")
        })
      const written = Effect.promise(async () => {
        const { rows } = await admin.query("SELECT count(*)::int AS n FROM sluice_journal")
        return rows[0].n as number
      })
      yield* Effect.gen(function*() {
        yield* append("1")
        yield* waitFor("nobody")
        // the setting is in force when somebody waits for it
        const others = yield* Effect.forever(
          Effect.promise(() => other.query("SELECT pg_logical_emit_message(true, 'test', '')"))
        ).pipe(Effect.forkScoped)
        yield* Wait.until("commits to wait", one("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))
        const attempt = yield* Effect.forkScoped(Effect.exit(append("2")))
        // as the server itself sees it, once it is told to wait no more
        yield* Wait.until("it to be written", Effect.map(written, (n) => n === 2), { atMost: "30 seconds" })
        const exit = yield* Effect.timeoutOption(Fiber.join(attempt), "10 seconds")
        if (exit._tag === "Some") assert.isTrue(Exit.isFailure(exit.value))
        yield* waitFor("")
        yield* Fiber.join(attempt)
        yield* Fiber.interrupt(others)
        assert.strictEqual((yield* append("3")).sequenceNumber, 3)
        assert.strictEqual(yield* written, 3)
      }).pipe(
        Effect.scoped,
        Effect.provide(PostgresStorage.layer({ host, port, user, database, statementTimeout: 500 }))
      )
    }).pipe(Effect.scoped),
  120_000
)
