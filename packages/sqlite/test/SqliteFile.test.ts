import { assert, describe, it } from "@effect/vitest"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import { StorageError } from "@sluice/core/StorageError"
import * as Database from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import Sqlite from "better-sqlite3"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { sql } from "kysely"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { temporaryFile } from "./files.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const NoteState = StateType.make("note", { codec: EventCodec.string })

const change = (expected: number) =>
  DurableStateStore.upsert(NoteState, { id: "n", expected: DurableStateStore.Revision.make(expected), state: "x" })

const opening = (filename: string) => Effect.scoped(Layer.build(SqliteStorage.layer({ filename })))

/** Opens the file for the effect alone. */
const within = <A, E, R>(filename: string, effect: Effect.Effect<A, E, R>, lockTimeout?: number) =>
  Effect.provide(effect, SqliteStorage.layer({ filename, lockTimeout }), { local: true })

const events = Stream.runCollect(Stream.map(Journal.read(Note, "n"), ({ event }) => event))

it.live("says in one line which file it is, and what became of the tables", () =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    const filename = yield* temporaryFile
    for (const name of [filename, filename, ":memory:"]) {
      yield* opening(name).pipe(
        Effect.provide(Logger.layer([logger])),
        Effect.provideService(References.MinimumLogLevel, "Info")
      )
    }
    assert.deepStrictEqual(lines.map((line) => line.replace(/\d+$/, "n")), [
      `Storage is SQLite file '${filename}': tables created, of version n`,
      `Storage is SQLite file '${filename}': tables of version n`,
      "Storage is SQLite in memory: tables created, of version n"
    ])
  }))

it.effect("looks for what others commit every 10 ms, and every 25 when there was nothing for a second", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    const storage = yield* Layer.build(SqliteStorage.layer({ filename }))
    const other = yield* Effect.acquireRelease(
      Effect.sync(() => new Sqlite(filename)),
      (other) => Effect.sync(() => other.close())
    )
    other.exec("CREATE TABLE other (n)")
    const changed = yield* Effect.provideContext(Journal.Journal.use((journal) => journal.changes("note")), storage)
    const woken = { times: 0 }
    yield* changed.pipe(Effect.andThen(Effect.sync(() => woken.times++)), Effect.forever, Effect.forkScoped)
    /** How many milliseconds it takes until a commit is noticed. */
    const noticed = Effect.gen(function*() {
      other.exec("INSERT INTO other VALUES (1)")
      const before = woken.times
      let waited = 0
      while (woken.times === before && waited < 1_000) {
        yield* TestClock.adjust(1)
        waited++
      }
      return waited
    })
    yield* TestClock.adjust(100)
    yield* noticed
    const busy = yield* Effect.forEach(Array.from({ length: 5 }), () => noticed)
    assert.deepStrictEqual(busy, [10, 10, 10, 10, 10])
    // the next look is the first that is later
    yield* TestClock.adjust(1_000)
    assert.strictEqual(yield* noticed, 25)
    assert.strictEqual(yield* noticed, 10)
  }))

it.live("in memory is a file of its own each time, which is gone when it is closed", () =>
  Effect.gen(function*() {
    const file = Effect.gen(function*() {
      yield* Journal.append(Note, { id: "n", events: ["first"] })
      assert.deepStrictEqual(yield* events, ["first"])
      const [main] = yield* Database.Database.use(({ run }) => run(sql<{ file: string }>`PRAGMA database_list`))
      assert.isTrue(Fs.existsSync(main!.file))
      return main!.file
    })
    const [one, other] = [yield* within(":memory:", file), yield* within(":memory:", file)]
    assert.notStrictEqual(one, other)
    for (const name of [one, other]) assert.isFalse(Fs.existsSync(Path.dirname(name)))
  }))

it.live("keeps its events and its identity when it is opened again", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    const identity = Journal.Journal.useSync((journal) => journal.identity)
    yield* within(filename, Journal.append(Note, { id: "n", events: ["first"] }))
    const before = yield* within(filename, identity)
    yield* within(filename, Journal.append(Note, { id: "n", events: ["second"] }))
    assert.deepStrictEqual(yield* within(filename, events), ["first", "second"])
    assert.strictEqual(yield* within(filename, identity), before)
    assert.notStrictEqual(yield* within(yield* temporaryFile, identity), before)
  }))

it.live("tells a projection nothing while somebody else writes, and says so after the lock timeout, not many times later", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    const attempts = Effect.gen(function*() {
      const management = yield* ProjectionManagement.ProjectionManagement
      const key = { projection: "p", source: "journal:note" }
      yield* management.register(key)
      const other = yield* Effect.acquireRelease(
        Effect.sync(() => new Sqlite(filename)),
        (other) => Effect.sync(() => other.close())
      )
      other.exec("BEGIN IMMEDIATE")
      const began = yield* Clock.monotonicTimeNanos
      const error = yield* Effect.flip(ProjectionManagement.pause("p"))
      const waited = Number((yield* Clock.monotonicTimeNanos) - began) / 1e6
      assert(error._tag === "StorageError" && error.reason === "Busy")
      // ten times as long before
      assert.isBelow(waited, 9 * 1000)
    })
    yield* within(filename, Effect.scoped(attempts), 1000)
  }))

it.live("says so when the folder does not exist", () =>
  Effect.gen(function*() {
    const filename = Path.join(yield* temporaryFile, "missing", "journal.db")
    const error = yield* Effect.flip(opening(filename))
    assert.strictEqual(error._tag, "StorageError")
    assert.include(error.message, filename)
    assert.include(error.message, "directory does not exist")
  }))

it.live("says so when the file cannot be opened", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    Fs.mkdirSync(filename)
    const error = yield* Effect.flip(opening(filename))
    assert(error._tag === "StorageError" && error.reason === "Misconfigured")
    assert.include(error.message, filename)
  }))

it.live("says so when the file is no database", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    Fs.writeFileSync(
      filename,
      "a letter to a friend, long enough to be no header of a database, and then some more of it"
    )
    const error = yield* Effect.flip(opening(filename))
    assert(error._tag === "StorageError" && error.reason === "Damaged")
    assert.isFalse(error.isRetryable)
  }))

it.live("refuses tables of a later version", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    yield* opening(filename)
    const database = new Sqlite(filename)
    database.exec("INSERT INTO sluice_migration VALUES (99, 'from the future')")
    database.close()
    const error = yield* Effect.flip(opening(filename))
    assert.strictEqual(error._tag, "SchemaTooNew")
    assert.include(error.message, "99")
  }))

it.live("waits with opening while another process holds the whole file", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    const other = new Sqlite(filename)
    other.exec("BEGIN EXCLUSIVE; CREATE TABLE other (x)")
    const error = yield* Effect.flip(Effect.scoped(Layer.build(SqliteStorage.layer({ filename, lockTimeout: 50 }))))
    assert(error._tag === "StorageError" && error.reason === "Busy")
    const waiting = yield* Effect.forkChild(opening(filename), { startImmediately: true })
    other.exec("COMMIT")
    other.close()
    yield* Fiber.join(waiting)
  }))

it.live("is opened by several at once while it has no tables yet", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    yield* Effect.forEach(
      Array.from({ length: 8 }),
      () => within(filename, Journal.append(Note, { id: "n", events: ["here"] })),
      { concurrency: "unbounded" }
    )
    assert.strictEqual((yield* within(filename, events)).length, 8)
  }))

it.live("waits for another writer, and gives up after the lock timeout", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    yield* opening(filename)
    const other = new Sqlite(filename)
    other.exec("BEGIN IMMEDIATE")
    const append = Journal.append(Note, { id: "n", events: ["late"] })
    const error = yield* Effect.flip(within(filename, append, 100).pipe(Effect.timeout("5 seconds")))
    assert(error._tag === "StorageError" && error.reason === "Busy" && error.isRetryable)
    const waiting = yield* within(filename, append, 10_000).pipe(
      Effect.forkChild({ startImmediately: true })
    )
    // the event loop is free while it waits
    let turns = 0
    yield* Wait.until("the event loop to turn", () => ++turns > 60)
    other.exec("COMMIT")
    other.close()
    yield* Fiber.join(waiting)
    assert.deepStrictEqual(yield* within(filename, events), ["late"])
  }))

it.live("writes the service's own tables in the transaction of an append", () =>
  Effect.gen(function*() {
    const tables = Tables.make<{ note: { id: string } }>()
    yield* within(
      yield* temporaryFile,
      Effect.gen(function*() {
        const { run, sql: client, withTransaction } = yield* Database.Database
        yield* run(sql`CREATE TABLE note (id TEXT PRIMARY KEY)`)
        const write = Effect.andThen(
          Journal.append(Note, { id: "n", events: ["written"] }),
          run(tables.insertInto("note").values({ id: "n" }))
        )
        yield* Effect.flip(withTransaction(Effect.andThen(write, Effect.fail("changed my mind"))))
        assert.deepStrictEqual(yield* run(tables.selectFrom("note").selectAll()), [])
        assert.deepStrictEqual(yield* events, [])
        yield* withTransaction(write)
        assert.deepStrictEqual(yield* client`SELECT id FROM note`, [{ id: "n" }])
        assert.deepStrictEqual(yield* events, ["written"])
      })
    )
  }))

it.live("an append that the database refuses fails alone among those committed with it", () =>
  Effect.gen(function*() {
    yield* within(
      yield* temporaryFile,
      Effect.gen(function*() {
        const { run } = yield* Database.Database
        yield* run(sql`CREATE TRIGGER refuse BEFORE INSERT ON sluice_journal WHEN NEW.persistence_id = 'note|n-3'
          BEGIN SELECT RAISE(ABORT, 'not this one'); END`)
        const exits = yield* Effect.forEach(
          Array.from({ length: 6 }, (_, i) => `n-${i}`),
          (id) => Effect.exit(Journal.append(Note, { id, events: ["x"] })),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(exits.map((exit) => exit._tag), [
          "Success",
          "Success",
          "Success",
          "Failure",
          "Success",
          "Success"
        ])
      })
    )
  }))

it.live("wakes readers for what another process appends", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    yield* within(
      filename,
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const changed = yield* journal.changes("note")
        let woken = false
        yield* Effect.forkChild(Effect.tap(changed, () => Effect.sync(() => (woken = true))), {
          startImmediately: true
        })
        const other = new Sqlite(filename)
        other.exec("CREATE TABLE unrelated (x)")
        other.close()
        yield* Wait.until("the reader to wake", () => woken)
      }).pipe(Effect.scoped)
    )
  }))

/** Within a process, SQLite shares what it knows of a file. This one is killed, and so leaves the log as it is. */
const elsewhere = (filename: string, statement: string): void => {
  const program = `
    new (require("better-sqlite3"))(${JSON.stringify(filename)}).exec(${JSON.stringify(statement)})
    process.kill(process.pid, "SIGKILL")`
  const { signal, stderr } = spawnSync(process.execPath, ["--eval", program], {
    cwd: import.meta.dirname,
    encoding: "utf8"
  })
  assert.strictEqual(signal, "SIGKILL", stderr)
}

describe("a file that is lost while it is open", () => {
  const endings = ["", "-wal", "-shm"]
  const harms: Record<string, (filename: string) => void> = {
    "as it was moved": (filename) => Fs.renameSync(filename, `${filename}.old`),
    "as it was removed with all that belongs to it": (filename) => {
      for (const ending of endings) Fs.rmSync(filename + ending)
    },
    "as its log was removed": (filename) => Fs.rmSync(`${filename}-wal`),
    "as the index of its log, with the locks, was removed": (filename) => Fs.rmSync(`${filename}-shm`),
    "as the index of its log was replaced": (filename) => {
      Fs.rmSync(`${filename}-shm`)
      elsewhere(filename, "CREATE TABLE other (x)")
    },
    "as another was put in its place": (filename) => {
      Fs.copyFileSync(filename, `${filename}.copy`)
      Fs.renameSync(`${filename}.copy`, filename)
    },
    "as its name leads nowhere": (filename) => {
      Fs.renameSync(filename, `${filename}.old`)
      Fs.symlinkSync(filename, filename)
    }
  }

  for (const [how, harm] of Object.entries(harms)) {
    it.live(`acknowledges nothing, ${how}`, () =>
      Effect.gen(function*() {
        const filename = yield* temporaryFile
        yield* within(
          filename,
          Effect.gen(function*() {
            const { run, withTransaction } = yield* Database.Database
            yield* run(sql`CREATE TABLE note (id TEXT PRIMARY KEY)`)
            const append = Journal.append(Note, { id: "n", events: ["x"] })
            yield* append
            harm(filename)
            for (let i = 0; i < 2; i++) {
              for (const write of [append, withTransaction(append), Journal.transaction(append)]) {
                const error = yield* Effect.flip(write)
                assert.include(String(error.cause), "moved, removed or replaced")
              }
              const error = yield* Effect.flip(run(sql`INSERT INTO note VALUES (${`${i}`})`))
              assert.include(String(error.reason.cause), filename)
            }
            const error = yield* Effect.flip(append)
            assert(error._tag === "StorageError" && error.reason === "Unavailable" && error.isRetryable)
            // what there is can be read
            assert.isAtLeast((yield* events).length, 1)
          })
        )
      }))
  }

  it.live("acknowledges nothing, as the log of the file was removed that a link leads to, or the link leads elsewhere", () =>
    Effect.gen(function*() {
      const real = yield* temporaryFile
      const link = yield* temporaryFile
      const append = Journal.append(Note, { id: "n", events: ["x"] })
      const failing = Effect.map(Effect.flip(append), ({ cause }) => assert.include(String(cause), "moved, removed"))
      Fs.symlinkSync(real, link)
      yield* within(
        link,
        Effect.gen(function*() {
          yield* append
          Fs.renameSync(`${real}-wal`, `${real}-wal.old`)
          yield* failing
          Fs.renameSync(`${real}-wal.old`, `${real}-wal`)
          yield* append
          Fs.unlinkSync(link)
          Fs.copyFileSync(real, `${link}.copy`)
          Fs.symlinkSync(`${link}.copy`, link)
          yield* failing
        })
      )
    }))

  it.live("is where it was after the process has changed its folder", () =>
    Effect.gen(function*() {
      const filename = yield* temporaryFile
      const folder = process.cwd()
      yield* within(
        Path.relative(folder, filename),
        Effect.gen(function*() {
          yield* Effect.acquireRelease(
            Effect.sync(() => process.chdir(Path.dirname(filename))),
            () => Effect.sync(() => process.chdir(folder))
          )
          yield* Journal.append(Note, { id: "n", events: ["x"] })
          assert.deepStrictEqual(yield* events, ["x"])
        }).pipe(Effect.scoped)
      )
    }))

  it.live("is not written to at a commit either, nor at the end", () =>
    Effect.gen(function*() {
      const filename = yield* temporaryFile
      yield* within(
        filename,
        Effect.gen(function*() {
          const { run, withTransaction } = yield* Database.Database
          yield* run(sql`CREATE TABLE note (id TEXT PRIMARY KEY)`)
          const lose = Effect.sync(() => {
            Fs.rmSync(`${filename}-shm`)
            elsewhere(filename, "INSERT INTO note VALUES ('theirs')")
          })
          const error = yield* Effect.flip(
            withTransaction(Effect.andThen(run(sql`INSERT INTO note VALUES ('ours')`), lose))
          )
          assert.include(String(error.reason.cause), "moved, removed or replaced")
        })
      )
      const found = new Sqlite(filename)
      assert.strictEqual(found.pragma("integrity_check", { simple: true }), "ok")
      assert.deepStrictEqual(found.prepare("SELECT id FROM note").pluck().all(), ["theirs"])
      found.close()
    }))

  it.live("has what was acknowledged before its log was removed", () =>
    Effect.gen(function*() {
      const filename = yield* temporaryFile
      yield* within(
        filename,
        Effect.andThen(
          Journal.append(Note, { id: "n", events: ["x"] }),
          Effect.sync(() => Fs.rmSync(`${filename}-wal`))
        )
      )
      assert.deepStrictEqual(yield* within(filename, events), ["x"])
    }))

  it.live("is written again once it is back, and nobody has missed anything", () =>
    Effect.gen(function*() {
      const filename = yield* temporaryFile
      yield* within(
        filename,
        Effect.gen(function*() {
          const append = (event: string) => Journal.append(Note, { id: "n", events: [event] })
          yield* append("first")
          const seen: Array<string> = []
          yield* Source.toStream(Source.journal(Note)).pipe(
            Stream.runForEach(({ event }) => Effect.sync(() => void seen.push(event))),
            Effect.forkScoped
          )
          yield* Wait.until("the first event", () => seen.length === 1)
          Fs.renameSync(filename, `${filename}.old`)
          Fs.symlinkSync(filename, filename)
          yield* Effect.flip(append("never"))
          yield* Effect.flip(append("nor this"))
          Fs.renameSync(`${filename}.old`, filename)
          yield* append("last")
          yield* Wait.until("the last event", () => seen.at(-1) === "last")
          assert.deepStrictEqual(seen, ["first", "last"])
          assert.deepStrictEqual(yield* events, seen)
        }).pipe(Effect.scoped)
      )
    }))
})

it.live("is neither read nor written on, once the journal of another was restored into it", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    const another = yield* temporaryFile
    const append = Journal.append(Note, { id: "n", events: ["x"] })
    const query = Database.Database.use(({ run }) => run(sql`SELECT 1`))
    const projection = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))
    yield* within(another, Effect.all([append, append, change(0)]))
    yield* within(
      filename,
      Effect.gen(function*() {
        yield* append
        yield* change(0)
        assert.lengthOf(yield* events, 1)
        yield* Layer.build(Projection.layer(projection))
        yield* ProjectionStatus.caughtUp("notes")
        const source = new Sqlite(another)
        yield* Effect.promise(() => source.backup(filename))
        source.close()
        const state = DurableStateStore.get(NoteState, "n")
        const all = [append, Journal.transaction(append), append, change(1), state, Journal.transaction(state), events]
        for (const refused of all as ReadonlyArray<Effect.Effect<unknown, Effect.Error<(typeof all)[number]>, any>>) {
          const error = yield* Effect.flip(refused)
          assert(error._tag === "StorageError" && error.reason === "Replaced")
          assert.include(error.message, "start the service again")
        }
        const worker = Effect.map(ProjectionStatus.status("notes"), ([worker]) => worker!)
        yield* Wait.until("the projection to stop", Effect.map(worker, ({ state }) => state === "Stopped"))
        const error = Cause.squash((yield* worker).failure!.cause)
        assert(error instanceof StorageError && error.reason === "Replaced")
        yield* Effect.flip(query)
      })
    )
    assert.lengthOf(yield* within(filename, events), 2)
  }))

it.live("does not keep a log that has grown while somebody was reading", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    yield* within(
      filename,
      Effect.gen(function*() {
        const small = Journal.append(Note, { id: "n", events: ["x"] })
        const large = Journal.append(Note, { id: "n", events: ["x".repeat(4_000_000)] })
        const size = () => Fs.statSync(`${filename}-wal`).size
        yield* small
        const reader = new Sqlite(filename, { readonly: true })
        reader.exec("BEGIN; SELECT * FROM sluice_journal")
        while (size() < 80 * 1024 * 1024) yield* large
        reader.close()
        // one writer copies it into the file, and the next begins it again
        yield* small
        yield* small
        assert.isAtMost(size(), 64 * 1024 * 1024)
      })
    )
  }))

it.live("refuses integers that a number does not hold, and takes bigints", () =>
  Effect.gen(function*() {
    yield* within(
      yield* temporaryFile,
      Effect.gen(function*() {
        const { run, sql: client } = yield* Database.Database
        yield* run(sql`CREATE TABLE big (n INTEGER, x REAL)`)
        const largest = Number.MAX_SAFE_INTEGER
        for (const n of [BigInt(largest), -BigInt(largest), 0n]) {
          yield* run(sql`INSERT INTO big VALUES (${n}, 1e21)`)
          assert.deepStrictEqual(yield* run(sql`DELETE FROM big RETURNING n, x`), [{ n: Number(n), x: 1e21 }])
        }
        for (const n of [BigInt(largest) + 1n, 2n ** 53n + 1n, -(2n ** 63n)]) {
          yield* run(sql`DELETE FROM big`)
          yield* run(sql`INSERT INTO big VALUES (${n}, NULL)`)
          const error = yield* Effect.flip(run(sql`SELECT n FROM big`))
          assert.include(String(error.reason.cause), `${n} is no safe integer: select it as text`)
          assert.isTrue(Exit.isFailure(yield* Effect.exit(Stream.runDrain(client`SELECT n FROM big`.stream))))
          assert.isTrue(Exit.isFailure(yield* Effect.exit(run(sql`SELECT sum(n) FROM big`))))
          assert.deepStrictEqual(yield* run(sql`SELECT CAST(n AS TEXT) AS n FROM big`), [{ n: `${n}` }])
        }
      })
    )
  }))

it.live("runs a statement again that it has kept, whatever has become of its table, and of more than it keeps", () =>
  Effect.gen(function*() {
    yield* within(
      yield* temporaryFile,
      Effect.gen(function*() {
        const { run, sql: client } = yield* Database.Database
        const insert = (n: number) => run(sql`INSERT INTO kept (n) VALUES (${n})`)
        const all = run(sql`SELECT * FROM kept ORDER BY n`)
        yield* run(sql`CREATE TABLE kept (n INTEGER)`)
        yield* insert(1)
        assert.deepStrictEqual(yield* all, [{ n: 1 }])
        yield* run(sql`ALTER TABLE kept ADD COLUMN x TEXT DEFAULT 'x'`)
        yield* insert(2)
        assert.deepStrictEqual(yield* all, [{ n: 1, x: "x" }, { n: 2, x: "x" }])
        yield* run(sql`ALTER TABLE kept RENAME COLUMN x TO y`)
        assert.deepStrictEqual(yield* all, [{ n: 1, y: "x" }, { n: 2, y: "x" }])
        yield* run(sql`DROP TABLE kept`)
        assert.include(String((yield* Effect.flip(insert(3))).reason.cause), "no such table: kept")
        assert.include(String((yield* Effect.flip(all)).reason.cause), "no such table: kept")
        yield* run(sql`CREATE TABLE kept (n INTEGER, x TEXT DEFAULT 'y')`)
        yield* Effect.forEach(
          Array.from({ length: 250 }, (_, i) => i),
          (i) => client.unsafe(`INSERT INTO kept (n) VALUES (${i})`)
        )
        yield* insert(250)
        assert.deepStrictEqual(yield* run(sql`SELECT count(*) AS n, max(n) AS last FROM kept`), [{ n: 251, last: 250 }])
        assert.deepStrictEqual((yield* all).at(-1), { n: 250, x: "y" })
      })
    )
  }))

it.live("runs a statement again that somebody has read row by row, and not to the end", () =>
  Effect.gen(function*() {
    yield* within(
      yield* temporaryFile,
      Effect.gen(function*() {
        const { sql: client } = yield* Database.Database
        // more than is read at once
        const numbers = client<
          { n: number }
        >`WITH RECURSIVE all_of(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM all_of WHERE n < 5000) SELECT n FROM all_of`
        for (let i = 0; i < 3; i++) {
          assert.strictEqual((yield* numbers).length, 5000)
          assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(numbers.stream, 1)), [{ n: 1 }])
        }
      })
    )
  }))

it.live("writes an append that comes while a transaction is open after that, and keeps it where that is undone", () =>
  Effect.gen(function*() {
    yield* within(
      yield* temporaryFile,
      Effect.gen(function*() {
        const hasAppended = yield* Deferred.make<void>()
        const mayEnd = yield* Deferred.make<void>()
        const undone = yield* Effect.forkChild(Effect.exit(Journal.transaction(Effect.gen(function*() {
          yield* Journal.append(Note, { id: "n", events: ["undone"] })
          yield* Deferred.succeed(hasAppended, undefined)
          yield* Deferred.await(mayEnd)
          return yield* Effect.fail("no")
        }))))
        yield* Deferred.await(hasAppended)
        const kept = yield* Effect.forkChild(Journal.append(Note, { id: "n", events: ["kept"] }))
        // an append that did not wait would be over
        yield* Effect.sleep("50 millis")
        assert.isUndefined(kept.pollUnsafe())
        yield* Deferred.succeed(mayEnd, undefined)
        assert(Exit.isFailure(yield* Fiber.join(undone)))
        assert.strictEqual((yield* Fiber.join(kept)).sequenceNumber, 1)
        assert.deepStrictEqual(yield* events, ["kept"])
      })
    )
  }))

it.live("says so when the folder, or the file, cannot be written to", () =>
  Effect.gen(function*() {
    const filename = yield* temporaryFile
    const folder = Path.dirname(filename)
    yield* opening(filename)
    Fs.chmodSync(filename, 0o444)
    Fs.chmodSync(folder, 0o555)
    // nothing is forbidden to root
    const program = `
      import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
      import { Effect, Layer, References } from "effect"
      const reasonOf = (filename) =>
        Effect.runPromise(Effect.match(Effect.scoped(Layer.build(SqliteStorage.layer({ filename }))), {
          onSuccess: () => "opened",
          onFailure: (error) => error.reason
        }).pipe(Effect.provideService(References.LogToStderr, true)))
      await reasonOf(":memory:")
      if (process.getuid() === 0) {
        process.setgid(65534)
        process.setuid(65534)
      }
      for (const filename of ${JSON.stringify([filename, `${filename}.new`, Path.join(folder, "missing", "a.db")])}) {
        console.log(await reasonOf(filename))
      }`
    const { stderr, stdout } = spawnSync(
      process.execPath,
      ["--conditions=@sluice/source", "--input-type=module", "--eval", program],
      { cwd: import.meta.dirname, encoding: "utf8" }
    )
    Fs.chmodSync(folder, 0o755)
    assert.deepStrictEqual(stdout.trim().split("\n"), ["ReadOnly", "ReadOnly", "Misconfigured"], stderr)
  }))
