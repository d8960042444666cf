/** What MySQL and MariaDB are set to, and what others leave in a session, must not matter. */
import { assert, it, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import { SwitchTooSlow } from "@sluice/core/ProjectionVersion"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import { StorageError } from "@sluice/core/StorageError"
import type { Transaction } from "@sluice/core/Transaction"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import type { SqlStorage } from "@sluice/sql/adapter/SqlStorage"
import { fromSqlError } from "@sluice/sql/adapter/SqlStorageError"
import { Database } from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as TestServer from "@sluice/testing/TestServer"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { sql } from "kysely"
import * as Mysql from "mysql2/promise"
import { inject } from "vitest"
import * as Proxy from "../hostile/Proxy.ts"
import * as Mysqld from "../kit/Mysqld.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const NoteState = StateType.make("note", { codec: EventCodec.string })

class Server extends Context.Service<Server, {
  /** What the person who looks after the server does. */
  readonly run: (...statements: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<any>>
  /** A place of its own, for a user who may do nothing else. */
  readonly place: Effect.Effect<
    MysqlStorage.Options & { readonly port: number; readonly database: string },
    never,
    Scope.Scope
  >
  readonly isMariaDB: boolean
}>()("sluice/test/MysqlSessions/Server") {}

const server = (program: (() => string) | undefined) =>
  Layer.effect(
    Server,
    Effect.gen(function*() {
      const { port, version } = yield* Effect.suspend(() => TestServer.mysql({ durable: false, program: program?.() }))
      const admin = yield* Effect.acquireRelease(
        Effect.promise(() => Mysql.createConnection({ host: "127.0.0.1", port, user: "root" })),
        (connection) => Effect.sync(() => connection.destroy())
      )
      const run = (...statements: ReadonlyArray<string>) =>
        Effect.promise(async () => {
          let rows: any
          for (const statement of ["SET autocommit = 1, sql_select_limit = DEFAULT", ...statements]) {
            ;[rows] = await admin.query(statement)
          }
          return rows as ReadonlyArray<any>
        })
      let count = 0
      const place = Effect.acquireRelease(
        Effect.gen(function*() {
          const database = `place_${count++}`
          yield* run(
            `CREATE DATABASE ${database}`,
            `CREATE USER '${database}'@'%' IDENTIFIED BY 'secret'`,
            `GRANT ALL ON ${database}.* TO '${database}'@'%'`
          )
          return { host: "127.0.0.1", port, user: database, password: Redacted.make("secret"), database }
        }),
        ({ database }) => run(`DROP DATABASE ${database}`)
      )
      return Server.of({ run, place, isMariaDB: version.includes("MariaDB") })
    })
  )

/** Sets global variables until the scope ends. */
const set = (settings: Readonly<Record<string, string | number>>) =>
  Effect.gen(function*() {
    const { run } = yield* Server
    const names = Object.keys(settings)
    const [before] = yield* run(`SELECT ${names.map((name) => `@@global.${name} AS ${name}`).join(", ")}`)
    const assign = (values: Readonly<Record<string, string | number>>) =>
      run(...names.map((name) =>
        `SET GLOBAL ${name} = ${typeof values[name] === "number" ? values[name] : `'${values[name]}'`}`
      ))
    yield* Effect.acquireRelease(assign(settings), () =>
      assign(before))
  })

const texts = ["", "o'brien", "back\\slash", "x' OR 1=1 -- ", "\\' OR 1=1 -- ", "é 🛒 茶", "nul\0 \x1a\r\n\t\" `", "\\"]
const tables = Tables.make<{ own: { id: number; text: string; at: Date } }>()
const createOwn = sql`CREATE TABLE own (id INT PRIMARY KEY, text VARCHAR(100), at DATETIME(3)) CHARACTER SET utf8mb4`

/** Appends, reads and projects, and returns what was not as it should be. */
const round = Effect.gen(function*() {
  const { run } = yield* Database
  yield* run(createOwn)
  const at = new Date("2026-03-08T02:30:00.123Z")
  for (const [id, text] of texts.entries()) {
    yield* run(tables.insertInto("own").values({ id, text, at }))
    yield* Journal.append(Note, { id: `n ${text.replaceAll("\0", "")}`, events: [text], tags: ["🍵\\'"] })
  }
  const own = yield* run(tables.selectFrom("own").selectAll().orderBy("id"))
  assert.deepStrictEqual(own.map(({ text }) => text), texts)
  assert.deepStrictEqual(own.map((row) => row.at), texts.map(() => at))
  for (const text of texts) {
    const found = yield* run(tables.selectFrom("own").select("id").where("text", "=", text))
    assert.deepStrictEqual(found, [{ id: texts.indexOf(text) }])
    const [event] = yield* Stream.runCollect(Journal.read(Note, `n ${text.replaceAll("\0", "")}`))
    assert.deepStrictEqual([event?.event, event?.tags], [text, ["🍵\\'"]])
  }
  const seen: Array<string> = []
  yield* Layer.build(Projection.layer(
    Source.journal(Note).pipe(
      Projection.exactlyOnce("all", ({ event }) => Effect.sync(() => void seen.push(event)))
    )
  ))
  yield* ProjectionStatus.caughtUp("all")
  assert.deepStrictEqual(seen.toSorted(), texts.toSorted())
})

/** Handles events, of which one is bad, and tells why it stops there. */
const stopping = (name: string, effect: Effect.Effect<unknown, StorageError, Transaction>) =>
  Effect.gen(function*() {
    yield* Layer.build(Projection.layer(
      Source.journal(Note).pipe(
        Projection.exactlyOnce(name, ({ event }) => event === "bad" ? effect : Effect.void),
        Projection.recovery(RecoveryStrategy.fail)
      )
    ))
    const error = yield* Effect.flip(ProjectionStatus.caughtUp(name))
    assert(error._tag === "WorkerStopped" && error.event?.sequenceNumber === 2)
    return error.cause
  })

const servers = [["MariaDB", undefined], ...(inject("mysql") === "" ? [] : [["MySQL", Mysqld.find] as const])] as const

for (const [name, program] of servers) {
  layer(server(program), { excludeTestServices: true, timeout: "3 minutes" })(`a session of ${name}`, (it) => {
    it.effect("is what it has to be, whatever the server is set to", () =>
      Effect.gen(function*() {
        const { isMariaDB, place } = yield* Server
        const options = yield* place
        yield* set({
          sql_mode: "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,PIPES_AS_CONCAT,HIGH_NOT_PRECEDENCE",
          autocommit: 0,
          completion_type: "CHAIN",
          time_zone: "-08:00",
          default_storage_engine: "MyISAM",
          innodb_default_row_format: "compact",
          character_set_server: "latin1",
          group_concat_max_len: 4,
          [isMariaDB ? "tx_isolation" : "transaction_isolation"]: "SERIALIZABLE",
          [isMariaDB ? "tx_read_only" : "transaction_read_only"]: 1,
          init_connect: "SET NAMES latin1, sql_select_limit = 3, sql_safe_updates = 1, foreign_key_checks = 0"
        })
        yield* Effect.provide(Effect.scoped(round), MysqlStorage.layer(options))
      }).pipe(Effect.scoped))

    it.effect("locks the logs that it is told to, and no others, whatever the server makes of a list of them", () =>
      Effect.gen(function*() {
        const { isMariaDB, place, run } = yield* Server
        const options = yield* place
        yield* set(
          isMariaDB
            ? { in_predicate_conversion_threshold: 2 }
            : { range_optimizer_max_mem_size: 1000 }
        )
        const free = yield* Effect.provide(
          Effect.gen(function*() {
            yield* Journal.append(Note, { id: "n", events: ["registers the logs"] })
            const database = yield* Database
            const slices = Array.from({ length: 200 }, (_, i) => 5 * i)
            return yield* database.withTransaction(Effect.andThen(
              database.run(
                sql`SELECT slice FROM sluice_head FORCE INDEX (PRIMARY) WHERE entity_type = 'note' AND slice IN (${
                  sql.raw(slices.join(","))
                }) ORDER BY slice FOR UPDATE SKIP LOCKED`
              ),
              run(`SELECT slice FROM ${options.database}.sluice_head WHERE entity_type = 'note' FOR UPDATE SKIP LOCKED`)
            ))
          }),
          MysqlStorage.layer(options)
        )
        assert.strictEqual(free.length, 1024 - 200)
      }).pipe(Effect.scoped))

    it.effect("may be in a database whose name has more than ASCII, whatever the server's character set", () =>
      Effect.gen(function*() {
        const { place, run } = yield* Server
        const { user, ...options } = yield* place
        yield* set({ character_set_server: "latin1" })
        for (const database of ["läden", "магазин"]) {
          yield* Effect.acquireRelease(
            run(`CREATE DATABASE \`${database}\``, `GRANT ALL ON \`${database}\`.* TO '${user}'@'%'`),
            () => run(`DROP DATABASE \`${database}\``)
          )
          const layer = MysqlStorage.layer({ ...options, user: user!, database })
          yield* Effect.provide(Effect.scoped(round), layer)
        }
      }).pipe(Effect.scoped))

    it.effect("takes values for values, though somebody has made backslashes ordinary characters", () =>
      Effect.gen(function*() {
        const { run, withTransaction } = yield* Database
        yield* run(createOwn)
        yield* withTransaction(Effect.gen(function*() {
          yield* run(sql`SET sql_mode = 'NO_BACKSLASH_ESCAPES'`)
          for (const [id, text] of texts.entries()) {
            yield* run(tables.insertInto("own").values({ id, text, at: new Date(0) }))
          }
          for (const [id, text] of texts.entries()) {
            const found = yield* run(tables.selectFrom("own").select("id").where("text", "=", text))
            assert.deepStrictEqual(found, [{ id }])
          }
          // nor do the parts of an object become parts of the query
          const found = yield* run(sql`SELECT id FROM own WHERE text = ${{ text: 1 }}`)
          assert.deepStrictEqual(found, [])
        }))
      }).pipe(provideFresh()))

    it.effect("is set back before the next one gets it", () =>
      Effect.gen(function*() {
        const { run, sql: client, withTransaction } = yield* Database
        const { run: admin } = yield* Server
        const [row] = yield* run<{ name: string }>(sql`SELECT DATABASE() AS name`)
        yield* admin(`GRANT RELOAD ON *.* TO '${row!.name}'@'%'`)
        // which is so from the next connection on
        yield* Effect.ignore(run(sql`KILL CONNECTION_ID()`))
        const settings = run<any>(
          sql`SELECT @@sql_mode AS mode, @@autocommit AS autocommit, @@time_zone AS zone, CAST(@@sql_select_limit AS CHAR) AS \`limit\`,
            @@character_set_client AS charset, @seen AS seen, IS_USED_LOCK('own') AS locked, DATABASE() AS name`
        )
        const before = yield* settings
        yield* run(createOwn)
        yield* run(sql`CREATE PROCEDURE \`leave\`() SET @seen = 1`)
        for (
          const leave of [
            run(sql`SET sql_mode = ''`),
            run(sql`SET autocommit = 0`),
            run(sql`SET NAMES latin1`),
            run(sql`SET @seen = 1, time_zone = '-08:00', sql_select_limit = 1`),
            withTransaction(run(sql`SET SESSION sql_select_limit = 1`)),
            Effect.andThen(run(sql`CREATE TEMPORARY TABLE left_over (id INT)`), run(sql`SELECT 1`)),
            run(sql`SELECT GET_LOCK('own', 1)`),
            withTransaction(run(sql`DO get_lock('own', 1)`)),
            run(sql`SELECT @seen := 7`),
            run(sql`SELECT 7 INTO @seen`),
            Stream.runDrain(client`SELECT @seen := 7`.stream),
            run(sql`LOCK TABLES own READ`),
            run(sql`FLUSH TABLES WITH READ LOCK`),
            run(sql`PREPARE left_over FROM 'SELECT 1'`),
            run(sql`CALL \`leave\`()`),
            run(sql`USE information_schema`),
            withTransaction(run(sql`USE information_schema`)),
            // which is said to whoever does it
            Effect.catchDefect(run(sql`START TRANSACTION`), () => Effect.void)
          ]
        ) {
          yield* leave
          assert.deepStrictEqual(yield* settings, before)
          const error = yield* Effect.flip(run(sql`SELECT * FROM left_over`))
          assert.include(String(error.reason.cause), "left_over")
          const unprepared = yield* Effect.flip(run(sql`EXECUTE left_over`))
          assert.include(String(unprepared.reason.cause), "left_over")
          yield* run(sql`UPDATE own SET text = 'mine'`)
        }
        yield* run(tables.insertInto("own").values({ id: 1, text: "committed", at: new Date(0) }))
        assert.deepStrictEqual((yield* admin(`SELECT COUNT(*) AS n FROM ${row!.name}.own`)).map(({ n }) => n), [1])
      }).pipe(provideFresh({ poolSize: 1 })))

    it.effect("may be taken to another database: events go into the storage's own tables", () =>
      Effect.gen(function*() {
        const { place, run: admin } = yield* Server
        const [own, other] = [yield* place, yield* place]
        yield* admin(`GRANT ALL ON ${other.database}.* TO '${own.user}'@'%'`)
        const within = (name: string, effect: Effect.Effect<unknown, unknown, SqlStorage>) =>
          Effect.provide(effect, MysqlStorage.layer(name === "own" ? { ...own, poolSize: 1 } : other), { local: true })
        yield* within("other", Journal.append(Note, { id: "n", events: ["theirs"] }))
        yield* within(
          "own",
          Effect.gen(function*() {
            const { run, withTransaction } = yield* Database
            const append = Journal.append(Note, { id: "n", events: ["ours"] })
            yield* withTransaction(Effect.andThen(run(sql.raw(`USE ${other.database}`)), append))
            yield* withTransaction(append)
            const events = yield* Stream.runCollect(Journal.read(Note, "n"))
            assert.deepStrictEqual(events.map(({ event }) => event), ["ours", "ours"])
          })
        )
        const [row] = yield* admin(`SELECT COUNT(*) AS n FROM ${other.database}.sluice_journal`)
        assert.strictEqual(row.n, 1)
      }).pipe(Effect.scoped))

    it.effect("is opened in its database, wherever the server would have it", () =>
      Effect.gen(function*() {
        const { place } = yield* Server
        const options = yield* place
        yield* set({ init_connect: "USE information_schema" })
        yield* Effect.provide(Effect.scoped(round), MysqlStorage.layer(options))
      }).pipe(Effect.scoped))

    it.effect("gets no value that the server has no word for, nor takes it for another", () =>
      Effect.gen(function*() {
        const { run } = yield* Database
        yield* run(sql`CREATE TABLE own (id INT, a INT, \`NaN\` INT, \`Infinity\` INT)`)
        yield* run(sql`INSERT INTO own VALUES (1, 2, 3, 4)`)
        for (const value of [Number.NaN, Infinity, -Infinity, new Date(Number.NaN)]) {
          const error = yield* Effect.flip(run(sql`UPDATE own SET a = ${value}`))
          assert.match(error.message, /a value is/)
          assert.strictEqual(fromSqlError("write")(error).reason, "Failed")
        }
        assert.deepStrictEqual(yield* run(sql`SELECT a FROM own`), [{ a: 2 }])
      }).pipe(provideFresh({ poolSize: 1 })))

    it.effect("is opened with the password of the day", () =>
      Effect.gen(function*() {
        const { place, run } = yield* Server
        const options = yield* place
        let password = "secret"
        let asked = 0
        const storage = MysqlStorage.layer({
          ...options,
          password: Effect.sync(() => {
            asked++
            return Redacted.make(password)
          })
        })
        yield* Effect.gen(function*() {
          yield* Journal.append(Note, { id: "n", events: ["one"] })
          password = "another"
          yield* run(`ALTER USER '${options.user}'@'%' IDENTIFIED BY 'another'`)
          const before = asked
          const sessions = yield* run(`SELECT id FROM information_schema.processlist WHERE user = '${options.user}'`)
          yield* Effect.forEach(sessions, ({ id }) => Effect.ignoreCause(run(`KILL ${id}`)))
          const { sequenceNumber } = yield* Journal.append(Note, { id: "n", events: ["two"] })
          assert.strictEqual(sequenceNumber, 2)
          assert.isAbove(asked, before)
        }).pipe(Effect.provide(storage))
      }).pipe(Effect.scoped))

    it.effect("says so if the password is not to be had", () =>
      Effect.gen(function*() {
        const options = yield* (yield* Server).place
        const storage = MysqlStorage.layer({ ...options, password: Effect.fail("the vault is shut") })
        const error = yield* Effect.flip(Effect.scoped(Layer.build(storage)))
        assert.instanceOf(error, StorageError)
        assert.deepStrictEqual([error.reason, error.operation], ["Unavailable", "connect"])
        assert.include(error.message, "password")
      }).pipe(Effect.scoped))

    it.effect("on a server that takes no writes is left for one that does", () =>
      Effect.gen(function*() {
        const { run } = yield* Server
        yield* Journal.append(Note, { id: "n", events: ["one"] })
        const append = yield* Effect.scoped(Effect.gen(function*() {
          yield* set({ read_only: 1 })
          const connections = Effect.map(run("SHOW GLOBAL STATUS LIKE 'Connections'"), ([{ Value }]) => Number(Value))
          const before = yield* connections
          const append = yield* Effect.forkChild(Journal.append(Note, { id: "n", events: ["two"] }))
          // whose name may lead elsewhere by now
          yield* Wait.until("it to connect again", Effect.map(connections, (n) => n >= before + 2))
          return append
        }))
        assert.strictEqual((yield* Fiber.join(append)).sequenceNumber, 2)
      }).pipe(provideFresh(), Effect.provideService(References.MinimumLogLevel, "None")))

    it.effect("on a server that takes no writes any more commits nothing, and what would begin with the commit does not", () =>
      Effect.gen(function*() {
        const { run: admin } = yield* Server
        const { afterCommit, run } = yield* Database
        const events = Array.from({ length: 10 }, (_, i) => String(i + 1))
        yield* run(sql`CREATE TABLE handled (event VARCHAR(10), INDEX (event))`)
        const [{ name }] = (yield* run<{ name: string }>(sql`SELECT DATABASE() AS name`)) as [{ name: string }]
        yield* Journal.append(Note, { id: "n", events })
        const refusing = yield* Deferred.make<void>()
        const committed: Array<string> = []
        const writable = yield* Effect.forkChild(Effect.andThen(
          Deferred.await(refusing),
          // until the transaction is over, which holds a lock
          admin(`SELECT event FROM ${name}.handled WHERE event = '5' FOR UPDATE`, "SET GLOBAL read_only = 0")
        ))
        yield* Layer.build(Projection.layer(
          Source.journal(Note).pipe(Projection.exactlyOnce("refused", ({ event }) =>
            Effect.gen(function*() {
              yield* run(sql`INSERT INTO handled VALUES (${event})`)
              yield* afterCommit(Effect.sync(() => void committed.push(event)))
              if (event !== "5" || (yield* Deferred.isDone(refusing))) return
              yield* admin("SET GLOBAL read_only = 1")
              yield* Deferred.succeed(refusing, undefined)
            })))
        ))
        yield* ProjectionStatus.caughtUp("refused")
        yield* Fiber.join(writable)
        const rows = yield* run<{ event: string }>(sql`SELECT event FROM handled ORDER BY CAST(event AS SIGNED)`)
        assert.deepStrictEqual(rows.map(({ event }) => event), events)
        assert.deepStrictEqual(committed, events)
      }).pipe(Effect.scoped, provideFresh(), Effect.provideService(References.MinimumLogLevel, "None")))

    it.effect("that is silent while it is being set is given up", () =>
      Effect.gen(function*() {
        const options = yield* (yield* Server).place
        const proxy = yield* Proxy.start(options.port)
        yield* proxy.rule(({ bytes }) => bytes.includes("SET @@session") ? "swallow" : bytes)
        const error = yield* Effect.flip(
          Effect.scoped(Layer.build(MysqlStorage.layer({ ...options, port: proxy.port, connectTimeout: 300 })))
        )
        assert.instanceOf(error, StorageError)
        assert.strictEqual(error.reason, "Unavailable")
      }).pipe(Effect.scoped))

    it.effect("that is lost ends a stream of its rows", () =>
      Effect.gen(function*() {
        const { run: admin } = yield* Server
        const { sql: client } = yield* Database
        const reading = yield* Effect.forkChild(
          Stream.runDrain(
            client`SELECT REPEAT('x', 100000) AS text, SLEEP(0.1) AS slept FROM information_schema.columns LIMIT 400`
              .stream
          )
        )
        const readers = admin("SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT REPEAT%'")
        yield* Wait.until("it to be read", Effect.map(readers, (_) => _.length > 0))
        for (const { id } of yield* readers) yield* admin(`KILL ${id}`)
        const error = yield* Effect.flip(Fiber.join(reading))
        assert.strictEqual(error.reason._tag, "ConnectionError")
      }).pipe(provideFresh()))

    for (
      const [how, body] of [["fails", "SIGNAL SQLSTATE '45000'"], ["is given up", "DO SLEEP(60)"]] as const
    ) {
      it.effect(`leaves nothing of an append that ${how} half-way, though its transaction goes on`, () =>
        Effect.gen(function*() {
          const { run: admin } = yield* Server
          const { run, withTransaction } = yield* Database
          const append = (event: string) => Journal.append(Note, { id: "n", events: [event] })
          const [row] = yield* run<{ name: string }>(sql`SELECT DATABASE() AS name`)
          yield* append("one")
          yield* admin(
            `CREATE DEFINER = '${row!.name}'@'%' TRIGGER ${row!.name}.halfway
              BEFORE UPDATE ON ${row!.name}.sluice_head FOR EACH ROW ${body}`
          )
          yield* withTransaction(Effect.gen(function*() {
            const appending = yield* Effect.forkChild(append("two"))
            if (how === "is given up") {
              const asleep = admin(`SELECT id FROM information_schema.processlist
                WHERE db = '${row!.name}' AND state = 'User sleep'`)
              yield* Wait.until("the events to be written", Effect.map(asleep, (_) => _.length > 0))
              yield* Fiber.interrupt(appending)
            }
            assert.strictEqual((yield* Fiber.await(appending))._tag, "Failure")
          }))
          yield* admin(`DROP TRIGGER ${row!.name}.halfway`)
          assert.strictEqual((yield* append("three")).sequenceNumber, 2)
          assert.strictEqual((yield* withTransaction(append("four"))).position, 3)
          const events = yield* Stream.runCollect(Journal.read(Note, "n"))
          assert.deepStrictEqual(events.map(({ event }) => event), ["one", "three", "four"])
        }).pipe(provideFresh()))
    }

    it.effect("is ended where its transaction is idle, and leaves its locks to others", () =>
      Effect.gen(function*() {
        const append = Journal.append(Note, { id: "n", events: ["x"] })
        const begun = yield* Latch.make(false)
        const idle = yield* Effect.forkChild(
          Journal.transaction(Effect.andThen(append, Effect.andThen(begun.open, Effect.never)))
        )
        yield* begun.await
        yield* append
        yield* Fiber.interrupt(idle)
      }).pipe(provideFresh({ transactionTimeout: 1000 })))

    it.effect("refuses what an option of the server prevents, and is not taken for one that takes no writes", () =>
      Effect.gen(function*() {
        const { run } = yield* Database
        const error = yield* Effect.flip(run(sql`SELECT 1 INTO OUTFILE '/etc/x'`))
        assert.strictEqual(fromSqlError("write")(error).reason, "Failed")
      }).pipe(Effect.scoped, (effect) =>
        Effect.gen(function*() {
          const { place, run } = yield* Server
          const options = yield* place
          yield* run(`GRANT FILE ON *.* TO '${options.user}'@'%'`)
          yield* Effect.provide(effect, MysqlStorage.layer(options), { local: true })
        }).pipe(Effect.scoped)))

    it.effect("may run a projection whose handler takes too long: that is the handler's fault, by name", () =>
      Effect.gen(function*() {
        const { isMariaDB } = yield* Server
        if (isMariaDB) yield* set({ idle_transaction_timeout: 1, idle_write_transaction_timeout: 1 })
        const slow = isMariaDB
          ? sql`SELECT SLEEP(60) AS slept`
          : sql`SELECT COUNT(*) AS n FROM information_schema.collations a, information_schema.collations b,
            information_schema.collations c, information_schema.collations d`
        yield* Effect.gen(function*() {
          yield* Journal.append(Note, { id: "n", events: ["good", "bad"] })
          assert.instanceOf(yield* stopping("idles", Effect.sleep("1 minute")), Handler.HandlerTooSlow)
          const cause = yield* stopping("is slow", Tables.run(slow))
          assert.instanceOf(cause, StorageError)
          assert.include(cause.message, "a statement of the handler")
        }).pipe(Effect.scoped, provideFresh({ transactionTimeout: 2000, statementTimeout: 1500 }))
      }).pipe(Effect.scoped))

    it.effect("may switch to a version: where that takes too long, it is interrupted, and tried again", () =>
      Effect.gen(function*() {
        const management = yield* ProjectionManagement.ProjectionManagement
        const version = { of: "versions", version: 1 }
        yield* management.declare(version)
        const switching = Effect.andThen(Tables.run(sql`SELECT 1`), Effect.never)
        const error = yield* Effect.flip(management.complete(version, () => true, switching))
        assert.deepStrictEqual(error, new SwitchTooSlow({ ...version, limit: 1800 }))
        assert.isTrue(yield* management.complete(version, () => true, Tables.run(sql`SELECT 1`)))
      }).pipe(provideFresh({ transactionTimeout: 2000 })))

    it.effect("registers a projection in all slices, however deep a recursion may be", () =>
      Effect.gen(function*() {
        const { isMariaDB } = yield* Server
        yield* set({ [isMariaDB ? "max_recursive_iterations" : "cte_max_recursion_depth"]: 20 })
        const rows = yield* ProjectionManagement.ProjectionManagement.use((management) =>
          management.register({ projection: "p", source: "journal:note" })
        ).pipe(Effect.andThen(Database.use(({ sql }) => sql`SELECT COUNT(*) AS n FROM sluice_offset`)), provideFresh())
        assert.deepStrictEqual(rows, [{ n: 1024 }])
      }).pipe(Effect.scoped))

    it.effect("is of the journal that the storage was opened with: nothing is appended to another", () =>
      Effect.gen(function*() {
        const { place, run } = yield* Server
        const options = yield* place
        const append = Journal.append(Note, { id: "n", events: ["x"] })
        yield* Effect.gen(function*() {
          yield* append
          yield* run(`UPDATE ${options.database}.sluice_meta SET value = 'another' WHERE \`key\` = 'journal'`)
          for (
            const { id } of yield* run(`SELECT id FROM information_schema.processlist WHERE db = '${options.database}'`)
          ) {
            yield* run(`KILL ${id}`)
          }
          yield* Wait.until(
            "it to be said",
            Effect.map(
              Effect.flip(append),
              (error) =>
                error._tag === "StorageError" && error.reason === "Replaced" && error.message.includes("'another'")
            )
          )
          const [row] = yield* run(`SELECT COUNT(*) AS n FROM ${options.database}.sluice_journal`)
          assert.deepStrictEqual(row, { n: 1 })
          // what is read on a connection that was just ended fails for that
          yield* Wait.until(
            "it to be said to readers",
            Effect.map(
              Effect.flip(Stream.runCollect(Journal.read(Note, "n"))),
              (error) => error.message.includes("'another'")
            )
          )
        }).pipe(Effect.provide(MysqlStorage.layer(options)))
      }).pipe(Effect.scoped))

    it.effect("has room for what may be appended, also when the server comes back with less", () =>
      Effect.gen(function*() {
        const { place, run } = yield* Server
        const options = yield* place
        const append = Journal.append(Note, { id: "n", events: ["x"] })
        const lose = Effect.gen(function*() {
          for (
            const { id } of yield* run(`SELECT id FROM information_schema.processlist WHERE db = '${options.database}'`)
          ) {
            yield* run(`KILL ${id}`)
          }
        })
        yield* Effect.gen(function*() {
          yield* append
          yield* Effect.scoped(Effect.gen(function*() {
            yield* set({ max_allowed_packet: 1024 * 1024 })
            yield* lose
            const refused = Effect.map(
              Effect.flip(append),
              (error) =>
                error._tag === "StorageError" && error.reason === "Misconfigured" &&
                error.message.includes("max_allowed_packet")
            )
            yield* Wait.until("it to be said", refused)
          }))
          yield* append
        }).pipe(Effect.provide(MysqlStorage.layer(options)))
      }).pipe(Effect.scoped))

    it.effect("has room for what may be appended, or the storage does not open", () =>
      Effect.gen(function*() {
        const options = yield* (yield* Server).place
        yield* set({ max_allowed_packet: 1024 * 1024 })
        const error = yield* Effect.flip(Effect.scoped(Layer.build(MysqlStorage.layer(options))))
        assert.instanceOf(error, StorageError)
        assert.strictEqual(error.reason, "Misconfigured")
        assert.match(error.message, /max_allowed_packet.*1048576.*maxEventBytes to 491520/)
        yield* Effect.gen(function*() {
          const { run } = yield* Database
          const event = "x".repeat(491_000)
          const append = Journal.append(Note, { id: "n", events: [event, event, event] })
          yield* append
          yield* Journal.transaction(append)
          const [row] = yield* run<{ bytes: string }>(sql`SELECT SUM(LENGTH(payload)) AS bytes FROM sluice_journal`)
          assert.strictEqual(Number(row!.bytes), 6 * event.length)
          // so it has for what is made of events
          const snapshot = { id: "n", sequenceNumber: SequenceNumber.make(1), state: event }
          yield* SnapshotStore.save(NoteState, snapshot)
          yield* SnapshotStore.save(NoteState, { ...snapshot, state: event.replace("x", "y") })
          const saved = yield* SnapshotStore.load(NoteState, "n")
          assert.strictEqual(Option.getOrThrow(saved).state, event.replace("x", "y"))
          yield* Layer.build(Projection.layer(
            Source.journal(Note).pipe(
              Projection.exactlyOnce("all", () => Effect.fail("poison")),
              Projection.recovery(RecoveryStrategy.deadLetter)
            )
          ))
          yield* ProjectionStatus.caughtUp("all")
          const [letters] = yield* run<{ bytes: string }>(
            sql`SELECT SUM(LENGTH(payload)) AS bytes FROM sluice_dead_letter`
          )
          // those that wait behind it are stored without content
          assert.strictEqual(Number(letters!.bytes), event.length)
          // as for whoever sends too much at a time, he is told at once, and that it is no lost connection
          const refused = yield* Effect.flip(run(sql`SELECT LENGTH(${"x".repeat(1024 * 1024)}) AS n`))
          assert.notStrictEqual(refused.reason._tag, "ConnectionError")
          assert.include(String(refused.reason.cause), "max_allowed_packet")
        }).pipe(Effect.provide(MysqlStorage.layer({ ...options, maxEventBytes: 491_520 })))
      }).pipe(Effect.scoped))
  })
}

for (const [name, program] of servers) {
  it.live(
    `a session of ${name} is refused by name where a log of statements prevents writes`,
    () =>
      Effect.gen(function*() {
        const { port } = yield* TestServer.mysql({
          durable: false,
          program: program?.(),
          settings: ["log-bin=binlog", "server-id=1", "binlog-format=STATEMENT"]
        })
        const storage = MysqlStorage.layer({ url: `mysql://test:test@127.0.0.1:${port}/test` })
        const error = yield* Effect.flip(Effect.scoped(Layer.build(storage)))
        assert(error instanceof StorageError && error.reason === "Misconfigured")
        assert.include(error.message, "binlog_format")
      }).pipe(Effect.scoped),
    60_000
  )
}

/** Runs the effect on a storage of its own. */
function provideFresh(more?: Partial<MysqlStorage.Options>) {
  return <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.scoped(Effect.gen(function*() {
      const options = yield* (yield* Server).place
      return yield* Effect.provide(effect, MysqlStorage.layer({ ...options, ...more }), { local: true })
    }))
}
