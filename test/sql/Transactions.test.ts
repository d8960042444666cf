/** The ways in which real databases end transactions, and who is to blame for it. */
import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import type { StorageError } from "@sluice/core/StorageError"
import type { SqlStorage } from "@sluice/sql/adapter/SqlStorage"
import { fromSqlError } from "@sluice/sql/adapter/SqlStorageError"
import { Database } from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { sql } from "kysely"
import { databases, type DatabaseUnderTest, type Options, type Place, servers } from "./databases.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const tables = Tables.make<{ note: { id: string; length: number }; child: { parent: string } }>()

interface Use {
  readonly place: Place
  /** The name of a table, which others have not. */
  readonly note: "note"
  readonly run: (text: string) => Effect.Effect<ReadonlyArray<unknown>, SqlError, SqlStorage>
  readonly insert: (id: string) => Effect.Effect<unknown, SqlError, SqlStorage>
  readonly ids: Effect.Effect<ReadonlyArray<string>, SqlError, SqlStorage>
}

const run: Use["run"] = (text) => Database.use((_) => _.run(sql.raw(text)))

const quiet = Layer.mergeAll(
  Layer.succeed(References.MinimumLogLevel, "None"),
  ProjectionRegistry.layer
)

const test = (
  database: DatabaseUnderTest,
  name: string,
  body: (use: Use) => Effect.Effect<void, unknown, SqlStorage | Scope.Scope>,
  options?: Options
) =>
  it.live(name, () =>
    Effect.flatMap(database.place, (place) => {
      const note = `note_${crypto.randomUUID().slice(0, 8)}` as "note"
      return Effect.gen(function*() {
        yield* run(`CREATE TABLE ${note} (id VARCHAR(40) PRIMARY KEY, length BIGINT NOT NULL)`)
        yield* Effect.ensuring(
          Effect.scoped(body({
            place,
            note,
            run,
            insert: (id) => Database.use((_) => _.run(tables.insertInto(note).values({ id, length: id.length }))),
            ids: Effect.map(
              Database.use((_) => _.run(tables.selectFrom(note).select("id").orderBy("id"))),
              (rows) => rows.map(({ id }) => id)
            )
          })),
          Effect.ignore(run(`DROP TABLE ${note}`))
        )
      }).pipe(Effect.provide(Layer.mergeAll(place.layer(options), quiet), { local: true }))
    }))

const append = (event: string) => Journal.append(Note, { id: "n", events: [event] })

const eventsOf = (id: string) => Stream.runCollect(Stream.map(Journal.read(Note, id), ({ event }) => event))

const transaction = <A, E, R>(effect: Effect.Effect<A, E, R>) => Database.use((_) => _.withTransaction(effect))

const reasonOf = (error: SqlError): StorageError["reason"] => fromSqlError("test")(error).reason

/** What is published as committed while the effect runs. */
const published = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const journal = yield* Journal.Journal
    const heads = yield* journal.heads(Note.name, SliceRange.full)
    const exit = yield* Effect.exit(effect)
    const after = yield* journal.heads(Note.name, SliceRange.full)
    const count = (offsets: typeof heads) => [...offsets.values()].reduce((sum, { position }) => sum + position, 0)
    return { exit, written: count(after) - count(heads) }
  })

/**
 * Two transactions that wait for each other: the one that has written less is ended by the database, or the one that looks for the deadlock
 * first.
 */
const deadlock = Effect.fnUntraced(function*<A, E, R>(
  { note, run }: Use,
  victim: (
    both: Effect.Effect<unknown, SqlError, SqlStorage>,
    other: Effect.Effect<unknown>
  ) => Effect.Effect<A, E, R>
) {
  yield* run(`INSERT INTO ${note} VALUES ('row 1', 0), ('row 2', 0)`)
  const bump = (row: number) => run(`UPDATE ${note} SET length = length + 1 WHERE id = 'row ${row}'`)
  const ready = yield* Deferred.make<void>()
  const go = yield* Deferred.make<void>()
  const other = yield* Effect.forkScoped(transaction(Effect.gen(function*() {
    yield* Effect.ignore(transaction(run("SET LOCAL deadlock_timeout = '1min'")))
    yield* bump(2)
    for (let i = 0; i < 50; i++) yield* run(`INSERT INTO ${note} VALUES ('weight ${i}', 0)`)
    yield* Deferred.succeed(ready, undefined)
    yield* Deferred.await(go)
    yield* bump(1)
  })))
  yield* Deferred.await(ready)
  let isFirst = true
  const both = Effect.gen(function*() {
    yield* bump(1)
    if (isFirst) yield* Deferred.succeed(go, undefined)
    isFirst = false
    yield* bump(2)
  })
  return yield* victim(both, Effect.orDie(Fiber.join(other)))
})

const bumps = ({ note, run }: Use) =>
  Effect.map(
    run(`SELECT length FROM ${note} WHERE id LIKE 'row%' ORDER BY id`),
    (rows) => rows.map((row) => (row as { readonly length: number }).length)
  )

describe.each(databases)(
  "in $name, a statement that fails in a transaction, and whose failure is handled,",
  (database) => {
    const aborts = database.dialect === "postgres"

    test(database, "leaves what is acknowledged, and nothing that is not", ({ ids, insert }) =>
      Effect.gen(function*() {
        yield* insert("there")
        const { exit, written } = yield* published(transaction(Effect.gen(function*() {
          yield* append("first")
          yield* insert("mine")
          yield* Effect.ignore(insert("there"))
          yield* Effect.ignore(insert("later"))
        })))
        assert.strictEqual(Exit.isSuccess(exit), !aborts)
        assert.deepStrictEqual(yield* eventsOf("n"), aborts ? [] : ["first"])
        assert.strictEqual(written, aborts ? 0 : 1)
        assert.deepStrictEqual(yield* ids, aborts ? ["there"] : ["later", "mine", "there"])
        // the next append is numbered as if it had never been
        assert.strictEqual((yield* append("next")).sequenceNumber, aborts ? 1 : 2)
      }))

    test(database, "says what to do, by name", ({ insert }) =>
      Effect.gen(function*() {
        yield* insert("there")
        const error = yield* Effect.exit(
          Journal.transaction(Effect.andThen(append("never"), Effect.ignore(insert("there"))))
        )
        if (!aborts) return assert.isTrue(Exit.isSuccess(error))
        assert(Exit.isFailure(error))
        const failure = error.cause.reasons.find(Cause.isFailReason)!.error as StorageError
        assert.strictEqual(failure.reason, "Aborted")
        assert.match(failure.message, /transaction of its own.*duplicate key/)
      }))

    test(database, "is undone alone in a transaction of its own", ({ ids, insert }) =>
      Effect.gen(function*() {
        yield* insert("there")
        yield* transaction(Effect.gen(function*() {
          yield* append("first")
          yield* Effect.ignore(transaction(insert("there")))
          yield* insert("mine")
        }))
        assert.deepStrictEqual([yield* eventsOf("n"), yield* ids], [["first"], ["mine", "there"]])
      }))

    test(
      database,
      "is the event's own fault in a handler, and does not stop the others",
      ({ ids, insert, note }) =>
        Effect.gen(function*() {
          yield* insert("there")
          const projection = Source.journal(Note).pipe(
            Projection.exactlyOnce("p", ({ event }) =>
              Effect.gen(function*() {
                yield* Tables.run(tables.insertInto(note).values({ id: `seen ${event}`, length: 0 }))
                yield* Effect.ignore(Tables.run(tables.insertInto(note).values({ id: event, length: 0 })))
              })),
            Projection.recovery(RecoveryStrategy.skip)
          )
          for (const event of ["a", "there", "b"]) {
            yield* append(event)
          }
          yield* Layer.build(Projection.layer(projection))
          yield* ProjectionStatus.caughtUp("p")
          const [status] = yield* ProjectionStatus.status("p")
          assert.deepStrictEqual([status!.handled, status!.skipped, status!.restarts], aborts ? [2, 1, 0] : [3, 0, 0])
          const seen = aborts ? ["seen a", "seen b"] : ["seen a", "seen b", "seen there"]
          assert.deepStrictEqual(yield* ids, ["a", "b", ...seen, "there"])
        })
    )
  }
)

describe.each(databases)("in $name, a table that a handler does without", (database) => {
  test(database, "is not to blame for an event that fails afterwards", ({ ids, note }) =>
    Effect.gen(function*() {
      const optional = Effect.ignore(transaction(run("SELECT * FROM no_such_table")))
      const projection = Source.journal(Note).pipe(
        Projection.exactlyOnce("p", ({ event }) =>
          Effect.gen(function*() {
            yield* optional
            if (event === "poison") return yield* Effect.fail("poison")
            yield* Tables.run(tables.insertInto(note).values({ id: event, length: 0 }))
          })),
        Projection.recovery(RecoveryStrategy.skip)
      )
      for (const event of ["a", "poison", "b"]) yield* append(event)
      yield* Layer.build(Projection.layer(projection))
      yield* ProjectionStatus.caughtUp("p")
      const [status] = yield* ProjectionStatus.status("p")
      assert.deepStrictEqual([status!.handled, status!.skipped, status!.restarts], [2, 1, 0])
      assert.deepStrictEqual(yield* ids, ["a", "b"])
    }))
})

describe.each(databases)("in $name, a transaction", (database) => {
  const { dialect } = database

  test(
    database,
    "that is ended by hand is refused, and all of it is undone",
    ({ ids, insert, run }) =>
      Effect.gen(function*() {
        const begin = dialect === "sqlite" ? "BEGIN" : "START TRANSACTION"
        for (const statement of ["COMMIT", "ROLLBACK", begin, "/* shop */ COMMIT", "-- shop\nROLLBACK"]) {
          const error = yield* Effect.flip(
            transaction(Effect.andThen(Effect.andThen(append("never"), insert("never")), run(statement)))
          )
          assert.include((error as SqlError).message, "would end the transaction")
          assert.deepStrictEqual([yield* eventsOf("n"), yield* ids], [[], []])
        }
      })
  )

  test(database, "takes no savepoint by hand, which would undo what is announced", ({ run }) =>
    Effect.gen(function*() {
      yield* transaction(Effect.gen(function*() {
        const errors = [yield* Effect.flip(run("SAVEPOINT mine"))]
        yield* append("kept")
        yield* transaction(Effect.gen(function*() {
          yield* append("kept, too")
          errors.push(yield* Effect.flip(run("ROLLBACK TO SAVEPOINT sluice_1")))
        }))
        errors.push(yield* Effect.flip(run("/* mine */ RELEASE SAVEPOINT mine")))
        for (const { message } of errors) assert.include(message, "use withTransaction")
      }))
      assert.deepStrictEqual(yield* eventsOf("n"), ["kept", "kept, too"])
    }))

  test(
    database,
    "that is begun by hand is not left to others",
    ({ ids, insert, place, note, run }) =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(run("BEGIN"))
        assert.isTrue(Exit.hasDies(exit))
        yield* insert("kept")
        yield* append("kept")
        assert.deepStrictEqual([yield* eventsOf("n"), yield* ids], [["kept"], ["kept"]])
        if (dialect === "postgres") return
        const rows = yield* Effect.promise(() => place.execute(`SELECT id FROM ${note}`))
        assert.strictEqual(rows.length, 1)
      }),
    { poolSize: 1 }
  )

  test(
    database,
    "whose COMMIT is refused is rolled back, and leaves a connection that can be used",
    ({ ids, insert, place, note, run }) =>
      Effect.gen(function*() {
        if (dialect === "mysql") return
        const child = `child_${note}` as "child"
        yield* run(
          `CREATE TABLE ${child} (parent VARCHAR(40) REFERENCES ${note}(id) DEFERRABLE INITIALLY DEFERRED)`
        )
        const { exit, written } = yield* published(
          transaction(Effect.andThen(append("never"), run(`INSERT INTO ${child} VALUES ('nobody')`)))
        )
        assert(Exit.isFailure(exit))
        const error = exit.cause.reasons.find(Cause.isFailReason)!.error as SqlError
        assert.strictEqual(error.reason._tag, "ConstraintError")
        assert.strictEqual(written, 0)
        yield* insert("acknowledged")
        assert.strictEqual((yield* append("after")).sequenceNumber, 1)
        yield* transaction(insert("transaction"))
        assert.deepStrictEqual(yield* ids, ["acknowledged", "transaction"])
        // for another process as well
        const elsewhere = yield* Effect.provide(
          Database.use((_) => _.run(tables.selectFrom(note).select("id"))),
          place.layer(),
          { local: true }
        )
        assert.strictEqual(elsewhere.length, 2)
        yield* run(`DROP TABLE ${child}`)
      }),
    { poolSize: 1 }
  )

  test(
    database,
    "whose COMMIT is refused is the fault of the event that it was for",
    ({ note, run, insert }) =>
      Effect.gen(function*() {
        if (dialect === "mysql") return
        const child = `child_${note}` as "child"
        yield* run(`CREATE TABLE ${child} (parent VARCHAR(40) REFERENCES ${note}(id) DEFERRABLE INITIALLY DEFERRED)`)
        yield* insert("good")
        const projection = Source.journal(Note).pipe(
          Projection.exactlyOnce("p", ({ event }) => Tables.run(tables.insertInto(child).values({ parent: event }))),
          Projection.recovery(RecoveryStrategy.skip)
        )
        for (const event of ["good", "bad", "good"]) yield* append(event)
        yield* Effect.scoped(Effect.gen(function*() {
          yield* Layer.build(Projection.layer(projection))
          yield* ProjectionStatus.caughtUp("p")
          const [status] = yield* ProjectionStatus.status("p")
          assert.deepStrictEqual([status!.handled, status!.skipped, status!.restarts], [2, 1, 0])
        }))
        assert.strictEqual((yield* append("good")).sequenceNumber, 4)
        yield* run(`DROP TABLE ${child}`)
      })
  )

  test(
    database,
    "in which a query is given up in time is believed only where the database goes on",
    (use) =>
      Effect.gen(function*() {
        if (dialect === "sqlite") return
        const { ids, insert, run } = use
        const exit = yield* Effect.exit(transaction(Effect.gen(function*() {
          yield* append("first")
          yield* Effect.ignore(Effect.timeout(run(database.slow), "200 millis"))
          yield* Effect.ignore(insert("mine"))
        })))
        assert.strictEqual(Exit.isSuccess(exit), dialect !== "postgres")
        const isThere = dialect !== "postgres"
        assert.deepStrictEqual([yield* eventsOf("n"), yield* ids], isThere ? [["first"], ["mine"]] : [[], []])
      })
  )
})

describe.each(servers)("in $name, a deadlock", (database) => {
  test(database, "that is handled ends the transaction all the same", (use) =>
    Effect.gen(function*() {
      const failing = (both: Effect.Effect<unknown, SqlError, SqlStorage>) =>
        transaction(Effect.gen(function*() {
          yield* append("never")
          yield* Effect.ignore(both)
          // would be a transaction of its own by now
          yield* Effect.ignore(use.insert("never"))
        }))
      const error = yield* deadlock(use, (both, other) => Effect.tap(Effect.flip(failing(both)), () => other))
      assert.strictEqual((error as SqlError).reason._tag, "DeadlockError")
      assert.deepStrictEqual(yield* eventsOf("n"), [])
      assert.notInclude(yield* use.ids, "never")
      assert.deepStrictEqual(yield* bumps(use), [1, 1])
    }))

  for (const nested of [false, true]) {
    for (
      const [name, handle] of [
        ["fails with it", <A>(_: Effect.Effect<A, any, any>) => _],
        ["maps it", (_: Effect.Effect<unknown, any, any>) => Effect.mapError(_, () => "something else")],
        ["dies of it", Effect.orDie],
        ["handles it", Effect.ignore]
      ] as ReadonlyArray<readonly [string, (_: Effect.Effect<unknown, any, any>) => Effect.Effect<unknown, any, any>]>
    ) {
      const where = nested ? "in a transaction within that of an offset" : "in the transaction of an offset"
      test(
        database,
        `${where} is no fault of the event, where the handler ${name}`,
        (use) =>
          deadlock(use, (both, other) =>
            Effect.gen(function*() {
              const projection = Source.journal(Note).pipe(
                Projection.exactlyOnce("p", ({ event }) =>
                  Effect.gen(function*() {
                    yield* Tables.run(tables.insertInto(use.note).values({ id: `seen ${event}`, length: 0 }))
                    yield* handle(nested ? transaction(both) : both)
                  })),
                Projection.recovery(RecoveryStrategy.skip)
              )
              for (const event of ["1", "2", "3"]) yield* append(event)
              yield* Layer.build(Projection.layer(projection))
              yield* ProjectionStatus.caughtUp("p")
              yield* other
              const [status] = yield* ProjectionStatus.status("p")
              assert.strictEqual(status!.skipped, 0)
              assert.deepStrictEqual((yield* use.ids).filter((id) => id.startsWith("seen")), [
                "seen 1",
                "seen 2",
                "seen 3"
              ])
              // PostgreSQL undoes the inner transaction alone, and the handler may do without it
              const handled = nested && name === "handles it" && database.dialect === "postgres" ? 3 : 4
              assert.deepStrictEqual(yield* bumps(use), [handled, handled])
            }))
      )
    }
  }
})

describe.each(servers)("in $name, a connection that is lost in a transaction", (database) => {
  const kill = ({ place, run }: Use) =>
    Effect.gen(function*() {
      const postgres = database.dialect === "postgres"
      const [row] = yield* run(postgres ? "SELECT pg_backend_pid() AS id" : "SELECT CONNECTION_ID() AS id")
      const { id } = row as { readonly id: number }
      yield* Effect.promise(() =>
        place.execute(postgres ? `SELECT pg_terminate_backend(${id})` : `KILL CONNECTION ${id}`)
      )
    })

  test(database, "ends it, whatever the program makes of it", (use) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(transaction(Effect.gen(function*() {
        yield* append("never")
        yield* use.insert("never")
        yield* kill(use)
        yield* Effect.ignore(use.insert("never, too"))
      })))
      assert.strictEqual(reasonOf(error as SqlError), "Unavailable")
      assert.deepStrictEqual([yield* eventsOf("n"), yield* use.ids], [[], []])
    }))

  test(database, "is no fault of the event, wherever it is noticed", (use) =>
    Effect.gen(function*() {
      let times = 0
      const projection = Source.journal(Note).pipe(
        Projection.exactlyOnce("p", ({ event }) =>
          Effect.gen(function*() {
            yield* transaction(Effect.gen(function*() {
              yield* use.insert(event)
              // noticed by the release of the savepoint
              if (event === "2" && times++ === 0) yield* kill(use)
            }))
          }).pipe(Effect.mapError(() => "something else"))),
        Projection.recovery(RecoveryStrategy.skip)
      )
      for (const event of ["1", "2", "3"]) yield* append(event)
      yield* Layer.build(Projection.layer(projection))
      yield* ProjectionStatus.caughtUp("p")
      const [status] = yield* ProjectionStatus.status("p")
      assert.deepStrictEqual([status!.handled, status!.skipped, status!.restarts], [3, 0, 1])
      assert.deepStrictEqual(yield* use.ids, ["1", "2", "3"])
    }))
})

for (const database of databases.filter(({ dialect }) => dialect === "sqlite")) {
  describe("in SQLite, a statement that rolls the transaction back", () => {
    const ways: ReadonlyArray<readonly [string, string]> = [
      ["ON CONFLICT ROLLBACK", "INSERT OR ROLLBACK INTO NOTE VALUES ('there', 0)"],
      ["a trigger that raises ROLLBACK", "INSERT INTO NOTE VALUES ('trigger', 0)"]
    ]
    for (const [name, statement] of ways) {
      test(
        database,
        `by ${name} leaves nothing of what follows`,
        ({ ids, insert, note, run }) =>
          Effect.gen(function*() {
            yield* run(`CREATE TRIGGER rolls_back BEFORE INSERT ON ${note} WHEN NEW.id = 'trigger'
            BEGIN SELECT RAISE(ROLLBACK, 'rolled back'); END`)
            yield* insert("there")
            const error = yield* Effect.flip(transaction(Effect.gen(function*() {
              yield* append("never")
              yield* insert("never")
              yield* Effect.ignore(run(statement.replace("NOTE", note)))
              yield* Effect.ignore(insert("later"))
              yield* Effect.ignore(append("later"))
            })))
            assert.strictEqual(reasonOf(error as SqlError), "Aborted")
            assert.deepStrictEqual([yield* eventsOf("n"), yield* ids], [[], ["there"]])
          })
      )
    }
  })
}

for (const database of databases.filter(({ dialect }) => dialect === "mysql")) {
  describe("in MariaDB, a statement that commits without being asked", () => {
    test(database, "is refused in a transaction", ({ ids, insert, note, run }) =>
      Effect.gen(function*() {
        yield* insert("there")
        const statements = [
          `TRUNCATE TABLE ${note}`,
          `/*!TRUNCATE TABLE ${note} */`,
          `# empty it\nTRUNCATE TABLE ${note}`,
          `ALTER TABLE ${note} ADD x INT`,
          "SET autocommit = 0"
        ]
        for (const statement of statements) {
          const error = yield* Effect.flip(transaction(Effect.andThen(append("never"), run(statement))))
          assert.include((error as SqlError).message, "would end the transaction")
          assert.deepStrictEqual([yield* eventsOf("n"), yield* ids], [[], ["there"]])
        }
        // and those that do not are not
        yield* transaction(run("CREATE TEMPORARY TABLE own (id INT)"))
      }))

    test(
      database,
      "is noticed where it does not look like it, and nothing follows it",
      ({ ids, insert, note, run }) =>
        Effect.gen(function*() {
          const procedure = `p_${note}`
          yield* run(`CREATE PROCEDURE ${procedure}() BEGIN COMMIT; START TRANSACTION; END`)
          const error = yield* Effect.flip(transaction(Effect.gen(function*() {
            yield* run("SELECT 1")
            yield* Effect.ignore(run(`CALL ${procedure}()`))
            yield* Effect.ignore(insert("later"))
          })))
          assert.include(error.message, "ended by")
          assert.notInclude(yield* ids, "later")
          yield* run(`DROP PROCEDURE ${procedure}`)
        })
    )
  })
}

for (const database of databases.filter(({ dialect }) => dialect === "postgres")) {
  describe("in PostgreSQL, several statements in one that end a transaction", () => {
    test(database, "are noticed, and nothing follows them", ({ ids, insert, run }) =>
      Effect.gen(function*() {
        for (
          const statement of ["SELECT 1; COMMIT; BEGIN", "SELECT 1; COMMIT AND CHAIN", "SELECT 1; ROLLBACK AND CHAIN"]
        ) {
          const error = yield* Effect.flip(
            transaction(Effect.andThen(Effect.ignore(run(statement)), Effect.ignore(insert("later"))))
          )
          assert.include(error.message, "ended by")
          assert.deepStrictEqual(yield* ids, [])
        }
      }))

    test(
      database,
      "an error whose words speak of a socket is not one",
      ({ ids, insert, run, note }) =>
        Effect.gen(function*() {
          yield* run(`CREATE TYPE socket_kind_${note} AS ENUM ('plug')`)
          const projection = Source.journal(Note).pipe(
            Projection.exactlyOnce("p", ({ event }) =>
              Effect.andThen(
                Effect.orDie(insert(event)),
                event === "2" ? run(`SELECT 'nothing'::socket_kind_${note}`) : Effect.void
              )),
            Projection.recovery(RecoveryStrategy.skip)
          )
          for (const event of ["1", "2", "3"]) yield* append(event)
          yield* Effect.scoped(Effect.gen(function*() {
            yield* Layer.build(Projection.layer(projection))
            yield* ProjectionStatus.caughtUp("p")
            assert.strictEqual((yield* ProjectionStatus.status("p"))[0]!.skipped, 1)
          }))
          assert.deepStrictEqual(yield* ids, ["1", "3"])
          yield* run(`DROP TYPE socket_kind_${note}`)
        })
    )
  })
}

describe.each(databases)("in $name, a table that is missing", (database) => {
  const deliveries = [
    [
      "exactly once",
      (name: string, handle: (event: string) => Effect.Effect<unknown, any, any>) =>
        Projection.exactlyOnce(name, ({ event }: { readonly event: string }) => handle(event) as any)
    ],
    [
      "at least once",
      (name: string, handle: (event: string) => Effect.Effect<unknown, any, any>) =>
        Projection.atLeastOnce(name, ({ event }: { readonly event: string }) => handle(event) as any)
    ]
  ] as const
  for (const [name, deliver] of deliveries) {
    test(database, `stops nothing for good, and skips no event (${name})`, ({ note, run }) =>
      Effect.gen(function*() {
        const missing = `late_${note}` as "note"
        const projection: Projection.Projection<unknown, any> = (deliver(
          "p",
          (event) => Database.use((_) => _.run(tables.insertInto(missing).values({ id: event, length: 0 })))
        ) as any)(Source.journal(Note)).pipe(Projection.recovery(RecoveryStrategy.skip))
        for (const event of ["1", "2", "3"]) yield* append(event)
        yield* Layer.build(Projection.layer(projection))
        yield* Wait.until(
          "the worker to restart",
          Effect.map(ProjectionStatus.status("p"), ([worker]) => worker!.restarts > 0)
        )
        const [restarting] = yield* ProjectionStatus.status("p")
        assert.strictEqual(restarting!.skipped, 0)
        assert.include(Cause.pretty(restarting!.failure!.cause), missing)
        yield* run(`CREATE TABLE ${missing} (id VARCHAR(40) PRIMARY KEY, length BIGINT NOT NULL)`)
        yield* ProjectionStatus.caughtUp("p")
        const [status] = yield* ProjectionStatus.status("p")
        assert.deepStrictEqual([status!.handled, status!.skipped], [3, 0])
        yield* run(`DROP TABLE ${missing}`)
      }))
  }
})

/** The table of docs/storage.md: statements that fail, and what their failures are called. */
const failures: Readonly<Record<string, ReadonlyArray<readonly [tag: string, reason: string, statement: string]>>> = {
  sqlite: [
    ["UniqueViolation", "Failed", "INSERT INTO NOTE VALUES ('there', 1)"],
    ["ConstraintError", "Failed", "INSERT INTO NOTE VALUES ('null', NULL)"],
    ["SqlSyntaxError", "Misconfigured", "SELECT * FROM no_such"],
    ["SqlSyntaxError", "Misconfigured", "SELECT no_such FROM NOTE"],
    ["SqlSyntaxError", "Misconfigured", "INSERT INTO NOTE (no_such) VALUES (1)"],
    ["SqlSyntaxError", "Misconfigured", "SELECT no_such()"],
    ["UnknownError", "Failed", "SELEKT 1"],
    ["UnknownError", "ReadOnly", "CREATE TABLE sqlite_master (id)"]
  ].slice(0, 7) as any,
  postgres: [
    ["UniqueViolation", "Failed", "INSERT INTO NOTE VALUES ('there', 1)"],
    ["ConstraintError", "Failed", "INSERT INTO NOTE VALUES ('null', NULL)"],
    ["SqlSyntaxError", "Misconfigured", "SELECT * FROM no_such"],
    ["SqlSyntaxError", "Misconfigured", "SELECT no_such FROM NOTE"],
    ["SqlSyntaxError", "Misconfigured", "SELECT no_such()"],
    ["SqlSyntaxError", "Misconfigured", "SELECT 1::no_such"],
    ["SqlSyntaxError", "Misconfigured", "CREATE TABLE no_such.t (id INT)"],
    ["SqlSyntaxError", "Failed", "SELEKT 1"],
    ["UnknownError", "Failed", "SELECT 1 / 0"],
    ["UnknownError", "Failed", "DO $$ BEGIN RAISE 'connection terminated: socket'; END $$"],
    ["ConnectionError", "ReadOnly", "DO $$ BEGIN SET TRANSACTION READ ONLY; UPDATE NOTE SET length = 1; END $$"],
    ["AuthorizationError", "Misconfigured", "DO $$ BEGIN RAISE insufficient_privilege; END $$"],
    ["SerializationError", "Busy", "DO $$ BEGIN RAISE serialization_failure; END $$"],
    ["DeadlockError", "Busy", "DO $$ BEGIN RAISE deadlock_detected; END $$"],
    ["LockTimeoutError", "Busy", "DO $$ BEGIN RAISE lock_not_available; END $$"],
    [
      "StatementTimeoutError",
      "Busy",
      "DO $$ BEGIN SET LOCAL statement_timeout = 50; PERFORM pg_sleep(9); RAISE query_canceled; END $$"
    ],
    ["UnknownError", "Full", "DO $$ BEGIN RAISE disk_full; END $$"],
    ["UnknownError", "Unavailable", "DO $$ BEGIN RAISE io_error; END $$"],
    ["UnknownError", "Unavailable", "DO $$ BEGIN RAISE out_of_memory; END $$"],
    ["ConnectionError", "Unavailable", "DO $$ BEGIN RAISE too_many_connections; END $$"],
    ["UnknownError", "Damaged", "DO $$ BEGIN RAISE data_corrupted; END $$"]
  ],
  mysql: [
    ["UniqueViolation", "Failed", "INSERT INTO NOTE VALUES ('there', 1)"],
    ["ConstraintError", "Failed", "INSERT INTO NOTE VALUES ('null', NULL)"],
    ["SqlSyntaxError", "Misconfigured", "SELECT * FROM no_such"],
    ["SqlSyntaxError", "Misconfigured", "SELECT no_such FROM NOTE"],
    ["SqlSyntaxError", "Misconfigured", "SELECT no_such()"],
    ["SqlSyntaxError", "Misconfigured", "CALL no_such()"],
    ["SqlSyntaxError", "Failed", "SELEKT 1"],
    ["UnknownError", "Failed", "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'connection lost: socket'"],
    ["DeadlockError", "Busy", "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1213"],
    ["LockTimeoutError", "Busy", "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1205"],
    ["StatementTimeoutError", "Busy", "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1969"],
    ["UnknownError", "Full", "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1114"],
    ["ConnectionError", "ReadOnly", "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1836"],
    ["UnknownError", "Damaged", "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1194"],
    ["UnknownError", "Unavailable", "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1030"],
    ["AuthorizationError", "Misconfigured", "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1142"]
  ]
}

describe.each(databases)("in $name, a failure", (database) => {
  test(database, "has the name that its code has", ({ insert, note, run }) =>
    Effect.gen(function*() {
      yield* insert("there")
      for (const [tag, reason, statement] of failures[database.dialect]!) {
        const error = yield* Effect.flip(run(statement.replaceAll("NOTE", note)))
        assert.deepStrictEqual([error.reason._tag, reasonOf(error)], [tag, reason], `${statement}: ${error.message}`)
        yield* run("SELECT 1")
      }
    }))
})
