/** The ways in which a transaction can end, on a server that ends it so. */
import { assert, describe, it } from "@effect/vitest"
import * as Offset from "@sluice/core/Offset"
import { StorageError } from "@sluice/core/StorageError"
import type { Dialect } from "@sluice/sql/adapter/Dialect"
import * as Naming from "@sluice/sql/adapter/Naming"
import * as SqlOffsetStore from "@sluice/sql/adapter/SqlOffsetStore"
import { fromSqlError } from "@sluice/sql/adapter/SqlStorageError"
import type * as Database from "@sluice/sql/Database"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { sql } from "kysely"
import { errorOf, FakeServer } from "./fakeServer.ts"

const dialects: ReadonlyArray<Dialect> = ["sqlite", "postgres", "mysql"]

/** Runs a test against a server, and keeps what was announced. */
const test = (
  name: string,
  dialect: Dialect,
  body: (use: {
    readonly server: FakeServer
    readonly database: Database.Database["Service"]
    readonly run: (sql: string) => Effect.Effect<unknown, SqlError>
    readonly announced: Array<string>
    /** Runs the effect in a transaction, which announces when it commits. */
    readonly transaction: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E | SqlError>
  }) => Effect.Effect<void, unknown, Scope.Scope>,
  ways = waysOf(dialect)
) => {
  for (const values of ways) {
    it.effect(`${name} (${[dialect, ...values].join(" with ")})`, () =>
      Effect.gen(function*() {
        const server = new FakeServer(dialect)
        const database = yield* server.database
        const announced: Array<string> = []
        yield* body({
          server,
          database,
          announced,
          run: (text) => values.length === 0 ? database.run(sql.raw(text)) : database.sql.unsafe(text, values),
          transaction: (effect) =>
            database.withTransaction(
              Effect.andThen(database.afterCommit(Effect.sync(() => announced.push("committed"))), effect)
            )
        })
      }))
  }
}

/** The values of statements: on PostgreSQL a transaction begins together with one that has values. */
const waysOf = (dialect: Dialect): ReadonlyArray<ReadonlyArray<string>> =>
  dialect === "postgres" ? [[], ["values"]] : withoutValues

const withoutValues: ReadonlyArray<ReadonlyArray<string>> = [[]]

describe.each(dialects)("a transaction on %s", (dialect) => {
  const lost = errorOf(dialect, "lost")

  test(
    "is committed when the server says so",
    dialect,
    ({ announced, run, server, transaction }) =>
      Effect.gen(function*() {
        yield* transaction(run("INSERT 1"))
        assert.deepStrictEqual(server.sent, ["BEGIN", "INSERT 1", "COMMIT"])
        assert.deepStrictEqual([announced, server.released], [["committed"], ["clean"]])
      })
  )

  test("that is still open after its COMMIT has failed, and is rolled back", dialect, (use) =>
    Effect.gen(function*() {
      const { announced, run, server, transaction } = use
      server.when("COMMIT", { status: "open" })
      const error = yield* Effect.flip(transaction(run("INSERT 1")))
      assert.strictEqual(fromSqlError("test")(error).reason, "Broken")
      assert.deepStrictEqual(server.sent, ["BEGIN", "INSERT 1", "COMMIT", "ROLLBACK"])
      assert.deepStrictEqual([announced, server.released], [[], ["clean"]])
    }))

  test(
    "whose COMMIT is refused fails so, and is rolled back",
    dialect,
    ({ announced, run, server, transaction }) =>
      Effect.gen(function*() {
        server.when("COMMIT", { error: errorOf(dialect, "constraint"), status: "open" })
        const error = yield* Effect.flip(transaction(run("INSERT 1")))
        assert.strictEqual(error.reason._tag, "ConstraintError")
        assert.isFalse(fromSqlError("test")(error).isOfStorage)
        assert.deepStrictEqual(server.sent.slice(2), ["COMMIT", "ROLLBACK"])
        assert.deepStrictEqual([announced, server.released], [[], ["clean"]])
      })
  )

  if (dialect === "postgres") {
    test(
      "whose COMMIT is refused by a trigger fails so, whatever code that has chosen beside those of the server's own troubles",
      dialect,
      (use) =>
        Effect.gen(function*() {
          const { run, server, transaction } = use
          for (const code of ["OWN01", "45000", "38001", "21000", "P0002"]) {
            server.when("COMMIT", {
              error: Object.assign(new Error("raised"), { code, severity: "ERROR" }),
              status: "none"
            })
            const error = yield* Effect.flip(transaction(run("INSERT 1")))
            assert.isFalse(fromSqlError("test")(error).isOfStorage, code)
          }
          for (const code of ["57P01", "53100", "58030", "55000", "54001", "XX000", "25006", "0A000"]) {
            server.when("COMMIT", {
              error: Object.assign(new Error("of the server"), { code, severity: "ERROR" }),
              status: "none"
            })
            const error = yield* Effect.flip(transaction(run("INSERT 1")))
            assert.isTrue(fromSqlError("test")(error).isOfStorage, code)
          }
          for (const code of ["EXXXX", undefined]) {
            server.when("COMMIT", { error: Object.assign(new Error("of the driver"), { code }), status: "none" })
            const error = yield* Effect.flip(transaction(run("INSERT 1")))
            assert.strictEqual(fromSqlError("test")(error).reason, "Broken")
          }
        })
    )
  }

  test(
    "whose COMMIT fails for a reason without a name is nobody's fault",
    dialect,
    ({ run, server, transaction }) =>
      Effect.gen(function*() {
        server.when("COMMIT", { error: errorOf(dialect, "internal"), status: "none" })
        const error = yield* Effect.flip(transaction(run("INSERT 1")))
        assert.strictEqual(fromSqlError("test")(error).reason, "Broken")
      })
  )

  test(
    "whose COMMIT is not answered fails, announces nothing, and leaves no connection",
    dialect,
    (use) =>
      Effect.gen(function*() {
        const { announced, run, server, transaction } = use
        server.when("COMMIT", { error: lost, status: "open" })
        server.when("ROLLBACK", { error: lost, status: "open" })
        const error = yield* Effect.flip(transaction(run("INSERT 1")))
        assert.isTrue(fromSqlError("test")(error).isOfStorage)
        assert.deepStrictEqual([announced, server.released], [[], ["closed"]])
      })
  )

  test(
    "that cannot be rolled back fails as its effect did, and leaves no connection",
    dialect,
    (use) =>
      Effect.gen(function*() {
        const { run, server, transaction } = use
        server.when("ROLLBACK", { error: errorOf(dialect, "internal"), status: "open" })
        assert.strictEqual(yield* Effect.flip(transaction(Effect.andThen(run("INSERT 1"), Effect.fail("no")))), "no")
        assert.deepStrictEqual(server.released, ["closed"])
      })
  )

  test("that cannot begin fails", dialect, ({ run, server, transaction }) =>
    Effect.gen(function*() {
      server.when("BEGIN", { error: errorOf(dialect, "internal") })
      const error = yield* Effect.flip(transaction(run("INSERT 1")))
      assert.strictEqual(fromSqlError("test")(error).reason, "Broken")
      assert.notInclude(server.sent, "INSERT 1")
    }), withoutValues)

  test(
    "that is interrupted as it begins runs nothing",
    dialect,
    ({ database, run, server, transaction }) =>
      Effect.gen(function*() {
        for (const effect of [run("INSERT 1"), Stream.runDrain(database.sql.unsafe("INSERT 2").stream)]) {
          server.sent.length = 0
          const mayBegin = yield* Deferred.make<void>()
          server.when("BEGIN", { after: Effect.runPromise(Deferred.await(mayBegin)) })
          const fiber = yield* Effect.forkChild(transaction(effect))
          yield* Wait.until("it to begin", () => server.sent.length > 0)
          const interrupted = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
          yield* Deferred.succeed(mayBegin, undefined)
          yield* Fiber.join(interrupted)
          assert.deepStrictEqual(server.sent, ["BEGIN", "ROLLBACK"])
        }
        assert.deepStrictEqual(server.released, ["clean", "clean"])
      }),
    withoutValues
  )

  test(
    "that has not begun after its BEGIN runs nothing",
    dialect,
    ({ run, server, transaction }) =>
      Effect.gen(function*() {
        server.when("BEGIN", { status: "none" })
        const error = yield* Effect.flip(transaction(run("INSERT 1")))
        assert.strictEqual(fromSqlError("test")(error).reason, "Broken")
        assert.notInclude(server.sent, "INSERT 1")
      }),
    withoutValues
  )

  test(
    "that a statement has ended fails with that statement, and runs nothing more",
    dialect,
    (use) =>
      Effect.gen(function*() {
        const { announced, run, server, transaction } = use
        server.when("INSERT 1", { status: "none" })
        const failures: Array<SqlError> = []
        const ignore = (sql: string) => Effect.catch(run(sql), (error) => Effect.sync(() => failures.push(error)))
        const error = yield* Effect.flip(transaction(Effect.andThen(ignore("INSERT 1"), ignore("INSERT 2"))))
        assert.match(error.message, /ended by 'INSERT 1'/)
        assert.deepStrictEqual(failures, [error, error])
        assert.notInclude(server.sent, "INSERT 2")
        assert.notInclude(server.sent, "COMMIT")
        assert.deepStrictEqual([announced, server.released], [[], ["clean"]])
      })
  )

  test(
    "that a failure has ended fails with the first one, also if the effect has handled it",
    dialect,
    (use) =>
      Effect.gen(function*() {
        const { announced, run, server, transaction } = use
        server.when("UPDATE 1", { error: errorOf(dialect, "deadlock"), status: "none" })
        const effect = Effect.andThen(Effect.ignore(run("UPDATE 1")), Effect.ignore(run("UPDATE 2")))
        const error = yield* Effect.flip(transaction(effect))
        assert.match(error.message, /deadlock happened/)
        assert.strictEqual(fromSqlError("test")(error).reason, "Busy")
        assert.notInclude(server.sent, "UPDATE 2")
        assert.deepStrictEqual(announced, [])
      })
  )

  test(
    "that a failed statement of the program's has ended says what to do instead",
    dialect,
    (use) =>
      Effect.gen(function*() {
        const { run, server, transaction } = use
        server.when("INSERT 1", { error: errorOf(dialect, "unknown"), status: "none" })
        const error = yield* Effect.flip(transaction(Effect.ignore(run("INSERT 1"))))
        assert.match(error.message, /unknown happened.*although the failure was handled: put what may fail into/)
        assert.strictEqual(fromSqlError("test")(error).reason, "Aborted")
      })
  )

  test("fails as its effect does, where that fails", dialect, ({ run, server, transaction }) =>
    Effect.gen(function*() {
      server.when("INSERT 1", { error: errorOf(dialect, "unknown"), status: "none" })
      const mapped = Effect.mapError(run("INSERT 1"), () => "there already")
      assert.strictEqual(yield* Effect.flip(transaction(mapped)), "there already")
    }))

  test("within another that cannot be released fails, and so does the other", dialect, (use) =>
    Effect.gen(function*() {
      const { announced, database, run, server, transaction } = use
      server.when("RELEASE", { error: errorOf(dialect, "internal") })
      const inner: Array<Exit.Exit<unknown, SqlError>> = []
      const nested = Effect.map(Effect.exit(database.withTransaction(run("INSERT 1"))), (exit) => void inner.push(exit))
      const error = yield* Effect.flip(transaction(Effect.andThen(nested, Effect.ignore(run("INSERT 2")))))
      assert.isTrue(Exit.hasFails(inner[0]!))
      assert.strictEqual(fromSqlError("test")(error).reason, "Broken")
      assert.notInclude(server.sent, "INSERT 2")
      assert.deepStrictEqual(announced, [])
    }))

  test(
    "within another that is rolled back by the server takes nothing more of either",
    dialect,
    (use) =>
      Effect.gen(function*() {
        const { database, run, server, transaction } = use
        server.when("UPDATE 1", { error: errorOf(dialect, "deadlock"), status: "none" })
        const nested = Effect.ignore(database.withTransaction(run("UPDATE 1")))
        const error = yield* Effect.flip(transaction(Effect.andThen(nested, Effect.ignore(run("INSERT 2")))))
        assert.match(error.message, /deadlock/)
        assert.deepStrictEqual(server.sent.filter((sql) => /INSERT 2|ROLLBACK TO|RELEASE/.test(sql)), [])
      })
  )

  test(
    "refuses what would end it, and goes on",
    dialect,
    ({ announced, run, server, transaction }) =>
      Effect.gen(function*() {
        const statements = [
          "COMMIT",
          " rollback",
          "BEGIN",
          "-- shop\nCOMMIT",
          "/* shop */ COMMIT",
          "/**/\n;/**/ ROLLBACK/* */"
        ]
        statements.push(
          ...{
            sqlite: ["/* /* */ END", "--" + "-".repeat(1000) + "\nCOMMIT"],
            postgres: ["/* /* */ SELECT */ ABORT", "START/**/TRANSACTION", "PREPARE /* it */ TRANSACTION 'x'"],
            mysql: [
              "# shop\nTRUNCATE TABLE note",
              "/*!COMMIT*/",
              "/*!80000 COMMIT */",
              "/*M!100100 XA END 'x' */",
              "/*q*/SET/**/autocommit=1"
            ]
          }[dialect]
        )
        for (const statement of statements) {
          const error = yield* transaction(Effect.flip(run(statement)))
          assert.match(error.message, /would end the transaction/)
        }
        // on PostgreSQL it would begin with its first statement
        assert.deepStrictEqual(server.sent, statements.flatMap(() => dialect === "postgres" ? [] : ["BEGIN", "COMMIT"]))
        assert.strictEqual(announced.length, statements.length)
      })
  )

  test("runs what only speaks of ending it", dialect, ({ run, server, transaction }) =>
    Effect.gen(function*() {
      const statements = [
        "/* COMMIT */ SELECT 1",
        "-- ROLLBACK\nSELECT 1",
        "SELECT '/* COMMIT */'",
        "/* an end */ (SELECT ' -- ')",
        "INSERT INTO note VALUES ('it''s /*', ' */ COMMIT')"
      ]
      yield* transaction(Effect.forEach(statements, run))
      assert.deepStrictEqual(server.sent, ["BEGIN", ...statements, "COMMIT"])
    }))

  test(
    "refuses savepoints by hand, also where it has failed",
    dialect,
    ({ announced, run, server, transaction }) =>
      Effect.gen(function*() {
        const statements = [
          "SAVEPOINT mine",
          "/* a */ savepoint mine",
          "ROLLBACK TO SAVEPOINT mine",
          "rollback/**/to mine",
          "RELEASE SAVEPOINT mine"
        ]
        yield* transaction(Effect.forEach(statements, (statement) =>
          Effect.map(Effect.flip(run(statement)), (error) => {
            assert.match(error.message, /use withTransaction/)
            assert.strictEqual(fromSqlError("test")(error).reason, "Failed")
          })))
        const sent = dialect === "postgres" ? [] : ["BEGIN", "COMMIT"]
        assert.deepStrictEqual([server.sent, announced], [sent, ["committed"]])
        server.when("INSERT 1", {
          error: errorOf(dialect, "unknown"),
          status: dialect === "postgres" ? "failed" : "open"
        })
        yield* Effect.ignore(
          transaction(
            Effect.andThen(Effect.ignore(run("INSERT 1")), Effect.flip(run("ROLLBACK TO SAVEPOINT sluice_1")))
          )
        )
        assert.notInclude(server.sent, "ROLLBACK TO SAVEPOINT sluice_1")
      })
  )

  test(
    "within another keeps out what that one sends meanwhile",
    dialect,
    ({ database, run, server, transaction }) =>
      Effect.gen(function*() {
        const isOpen = yield* Deferred.make<void>()
        const inner = Effect.gen(function*() {
          yield* run("INSERT inner 1")
          yield* Deferred.succeed(isOpen, undefined)
          for (let i = 0; i < 20; i++) yield* Effect.yieldNow
          yield* database.withTransaction(run("INSERT inner 2"))
          return yield* Effect.fail("no")
        })
        const beside = [run("INSERT outer 1"), database.withTransaction(run("INSERT outer 2")), run("INSERT outer 3")]
        yield* transaction(Effect.all([
          Effect.flip(database.withTransaction(inner)),
          ...beside.map((effect) => Effect.andThen(Deferred.await(isOpen), effect))
        ], { concurrency: "unbounded" }))
        const undone = server.sent.indexOf("ROLLBACK TO SAVEPOINT sluice_1")
        const inserts = server.sent.filter((sql) => sql.startsWith("INSERT"))
        assert.deepStrictEqual(inserts.slice(0, 2), ["INSERT inner 1", "INSERT inner 2"])
        assert.sameMembers(inserts.slice(2), ["INSERT outer 1", "INSERT outer 2", "INSERT outer 3"])
        for (const insert of inserts.slice(2)) assert.isAbove(server.sent.indexOf(insert), undone)
      })
  )

  test(
    "within another that waits for what that one sends comes to an end",
    dialect,
    ({ announced, database, run, server, transaction }) =>
      Effect.gen(function*() {
        for (const outer of [run("INSERT outer"), database.withTransaction(run("INSERT outer"))]) {
          const fiber = yield* Effect.forkChild(transaction(Effect.gen(function*() {
            const isOpen = yield* Deferred.make<void>()
            const beside = yield* Effect.forkChild(Effect.andThen(Deferred.await(isOpen), Effect.flip(outer)))
            yield* database.withTransaction(
              Effect.andThen(Deferred.succeed(isOpen, undefined), Effect.asVoid(Fiber.await(beside)))
            )
            return yield* Fiber.join(beside)
          })))
          yield* Wait.until("the transaction within to be open", () => server.sent.includes("SAVEPOINT sluice_1"))
          const time = Effect.forever(Effect.andThen(TestClock.adjust("1 second"), Effect.yieldNow))
          const error = yield* Effect.raceFirst(Fiber.join(fiber), time)
          assert.match(error.message, /a transaction within this one has been open for 10s/)
          assert.strictEqual(fromSqlError("test")(error).reason, "Busy")
          assert.notInclude(server.sent, "INSERT outer")
          server.sent.length = 0
        }
        assert.strictEqual(announced.length, 2)
      })
  )

  test(
    "takes no query whose turn comes when it is over",
    dialect,
    ({ database, run, server }) =>
      Effect.gen(function*() {
        const slow = yield* Deferred.make<void>()
        const goOn = yield* Latch.make(false)
        const isAtItsEnd = yield* Deferred.make<void>()
        server.when("SELECT 1", { after: Effect.runPromise(Deferred.await(slow)) })
        const forked: Array<Fiber.Fiber<unknown, unknown>> = []
        const transaction = yield* Effect.forkChild(database.withTransaction(Effect.gen(function*() {
          forked.push(yield* Effect.forkDetach(run("SELECT 1")))
          forked.push(yield* Effect.forkDetach(Effect.andThen(goOn.await, run("INSERT late"))))
          yield* Wait.until("the query to be sent", () => server.sent.includes("SELECT 1"))
          yield* Deferred.succeed(isAtItsEnd, undefined)
        })))
        yield* Deferred.await(isAtItsEnd)
        // COMMIT waits for the query, and the insert for COMMIT
        for (let i = 0; i < 20; i++) yield* Effect.yieldNow
        yield* goOn.open
        for (let i = 0; i < 20; i++) yield* Effect.yieldNow
        yield* Deferred.succeed(slow, undefined)
        yield* Fiber.join(transaction)
        assert.isTrue(Exit.isSuccess(yield* Fiber.await(forked[0]!)))
        assert.isTrue(Exit.hasDies(yield* Fiber.await(forked[1]!)))
        assert.notInclude(server.sent, "INSERT late")
      })
  )

  test(
    "that is begun by hand, and not ended, leaves no connection",
    dialect,
    ({ run, server }) =>
      Effect.gen(function*() {
        assert.isTrue(Exit.hasDies(yield* Effect.exit(run("BEGIN"))))
        assert.deepStrictEqual(server.released, ["closed"])
      })
  )
})

describe.each(["postgres", "mysql"] as const)("a connection that is lost after an answer, on %s,", (dialect) => {
  test("is no transaction that was begun by hand", dialect, ({ database, run, server }) =>
    Effect.gen(function*() {
      server.when("INSERT 1", { isLost: true })
      yield* run("INSERT 1")
      // whoever does not read on is not told
      server.when("SELECT 1", { isLost: true, rows: Array.from({ length: 1000 }, () => ({})) })
      yield* Stream.runDrain(Stream.take(database.sql.unsafe("SELECT 1").stream, 1))
      assert.deepStrictEqual(server.released, ["closed", "closed"])
    }))

  for (const statement of ["INSERT 1", "COMMIT"]) {
    test(`fails the transaction as a lost connection (${statement})`, dialect, (use) =>
      Effect.gen(function*() {
        const { announced, run, server, transaction } = use
        server.when(statement, { isLost: true })
        const error = yield* Effect.flip(transaction(Effect.ignore(run("INSERT 1"))))
        assert.strictEqual(error.reason._tag, "ConnectionError")
        assert.strictEqual(fromSqlError("test")(error).reason, "Unavailable")
        assert.include(error.message, `the connection was lost after '${statement}'`)
        assert.deepStrictEqual([announced, server.released], [[], ["closed"]])
      }))
  }

  test(
    "is not lost if it answers what is asked then",
    dialect,
    ({ announced, run, server, transaction }) =>
      Effect.gen(function*() {
        server.when("INSERT 1", { isSilent: true })
        server.when("COMMIT", { isSilent: true })
        yield* transaction(run("INSERT 1"))
        yield* run("INSERT 1")
        assert.deepStrictEqual([announced, server.released], [["committed"], ["clean", "clean"]])
      })
  )
})

describe("a failed statement on PostgreSQL", () => {
  test("aborts the transaction, whatever the program makes of it", "postgres", (use) =>
    Effect.gen(function*() {
      const { announced, run, server, transaction } = use
      server.when("INSERT 1", { error: errorOf("postgres", "unknown") })
      const error = yield* Effect.flip(
        transaction(Effect.andThen(Effect.ignore(run("INSERT 1")), Effect.ignore(run("INSERT 2"))))
      )
      assert.strictEqual(fromSqlError("test")(error).reason, "Aborted")
      assert.deepStrictEqual(server.sent, ["BEGIN", "INSERT 1", "ROLLBACK"])
      assert.deepStrictEqual(announced, [])
    }))

  test(
    "is undone alone in a transaction of its own",
    "postgres",
    ({ announced, database, run, server, transaction }) =>
      Effect.gen(function*() {
        server.when("INSERT 1", { error: errorOf("postgres", "unknown") })
        yield* transaction(Effect.andThen(Effect.ignore(database.withTransaction(run("INSERT 1"))), run("INSERT 2")))
        assert.deepStrictEqual(server.sent.slice(-2), ["INSERT 2", "COMMIT"])
        assert.deepStrictEqual(announced, ["committed"])
      })
  )

  test(
    "that the server ends the connection with is of the storage",
    "postgres",
    ({ run, server }) =>
      Effect.gen(function*() {
        server.when("INSERT 1", { error: said("XX000") })
        const error = yield* Effect.flip(run("INSERT 1"))
        assert.strictEqual(fromSqlError("test")(error).reason, "Unavailable")
        assert.deepStrictEqual(server.released, ["closed"])
      })
  )

  test("that a transaction of its own has handled undoes that one", "postgres", (use) =>
    Effect.gen(function*() {
      const { announced, database, run, server, transaction } = use
      server.when("INSERT 1", { error: errorOf("postgres", "unknown") })
      const nested = Effect.flip(database.withTransaction(Effect.ignore(run("INSERT 1"))))
      const error = yield* transaction(Effect.tap(nested, () => run("INSERT 2")))
      assert.strictEqual(fromSqlError("test")(error).reason, "Aborted")
      assert.deepStrictEqual(announced, ["committed"])
    }))

  test(
    "is answered with ROLLBACK, which is not COMMIT",
    "postgres",
    ({ announced, run, server, transaction }) =>
      Effect.gen(function*() {
        server.when("COMMIT", { rows: [{ command: "ROLLBACK" }], status: "none" })
        const error = yield* Effect.flip(transaction(run("INSERT 1")))
        assert.match(error.message, /rolled the transaction back/)
        assert.deepStrictEqual([announced, server.released], [[], ["clean"]])
      })
  )
})

describe.each(dialects)("whoever waits for a connection on %s", (dialect) => {
  test(
    "leaves the queue when it does not wait any more",
    dialect,
    ({ database, run, server }) =>
      Effect.gen(function*() {
        server.isBusy = true
        const waiting = [
          yield* Effect.forkChild(run("SELECT 1")),
          yield* Effect.forkChild(database.withTransaction(run("SELECT 1")))
        ]
        yield* Wait.until("them to wait", () => server.waiting === 2)
        yield* Fiber.interruptAll(waiting)
        assert.strictEqual(server.waiting, 0)
        assert.deepStrictEqual([server.sent, server.released], [[], []])
      })
  )
})

const coded = (code: string, errno?: number) => Object.assign(new Error(code), { code, errno })
const said = (code: string) => Object.assign(new Error(code), { code, severity: "FATAL" })

/** What any statement would have met, by what tells it. */
const ofServer = {
  postgres: {
    Misconfigured: ["42P10", "42809"].map((code) => Object.assign(new Error(code), { code, severity: "ERROR" })),
    Unavailable: [said("XX000"), said("P0001"), Object.assign(new Error("08999"), { code: "08999", severity: "ERROR" })]
  },
  mysql: {
    Misconfigured: [],
    Unavailable: [
      ...[1015, 1016, 1023, 1024, 1047, 1105, 1135, 1180, 1189, 1190, 1218, 1296, 1429, 3032].map((errno) =>
        coded(`ER_${errno}`, errno)
      ),
      Object.assign(coded("ER_OF_TOMORROW", 9999), { sqlState: "08S01" })
    ]
  }
} as const

for (const dialect of ["postgres", "mysql"] as const) {
  for (const reason of ["Misconfigured", "Unavailable"] as const) {
    for (const error of ofServer[dialect][reason]) {
      test(
        `what the server fails with for itself, ${error.message}, is ${reason}`,
        dialect,
        ({ run, server }) =>
          Effect.gen(function*() {
            server.when("INSERT 1", { error })
            assert.strictEqual(fromSqlError("test")(yield* Effect.flip(run("INSERT 1"))).reason, reason)
          })
      )
    }
  }
}

describe.each(dialects)("a connection that cannot be made on %s", (dialect) => {
  const causes: ReadonlyArray<readonly [cause: unknown, reason: StorageError["reason"]]> = [
    [coded("ECONNREFUSED", -111), "Unavailable"],
    [coded("EMFILE", -24), "Unavailable"],
    [coded("ENOBUFS", -105), "Unavailable"],
    [coded("HANDSHAKE_SSL_ERROR", -104), "Unavailable"],
    [coded("EACCES", -13), "Misconfigured"],
    [coded("JOURNAL_REPLACED"), "Replaced"],
    // as it is while one is restored: a projection does not stop
    [coded("JOURNAL_MISSING"), "Misconfigured"],
    [coded("DEPTH_ZERO_SELF_SIGNED_CERT"), "Misconfigured"],
    [coded("UNABLE_TO_VERIFY_LEAF_SIGNATURE"), "Misconfigured"],
    [coded("CERT_HAS_EXPIRED"), "Misconfigured"],
    [coded("ERR_TLS_CERT_ALTNAME_INVALID"), "Misconfigured"],
    [coded("ERR_SSL_WRONG_VERSION_NUMBER"), "Misconfigured"],
    [coded("HANDSHAKE_SSL_ERROR"), "Misconfigured"],
    [coded("HANDSHAKE_NO_SSL_SUPPORT"), "Misconfigured"],
    [coded("SESSION_NOT_SET"), "Misconfigured"],
    [new Error("The server does not support SSL connections"), "Misconfigured"],
    [new Error("whatever else"), "Broken"],
    [coded("WHATEVER_ELSE"), "Broken"],
    ["no error at all", "Broken"],
    ...(dialect === "postgres"
      ? [[said("0A000"), "Misconfigured"], [said("53300"), "Unavailable"], [said("XX000"), "Broken"]] as const
      : []),
    ...(dialect === "mysql"
      ? [
        [coded("ER_NOT_SUPPORTED_AUTH_MODE", 1251), "Misconfigured"],
        [coded("ER_CON_COUNT_ERROR", 1040), "Unavailable"],
        [coded("ER_UNKNOWN_ERROR", 1105), "Unavailable"],
        [coded("ER_INTERNAL_ERROR", 1815), "Broken"]
      ] as const
      : [])
  ]
  for (const [cause, reason] of causes) {
    test(
      `is the storage's fault: ${String(cause)} is ${reason}`,
      dialect,
      ({ database, run, server }) =>
        Effect.gen(function*() {
          server.unreachable = cause
          for (const effect of [run("INSERT 1"), database.withTransaction(run("INSERT 1"))]) {
            const error = yield* Effect.flip(effect)
            // as it is, and as a handler that runs at least once fails with it
            assert.strictEqual(fromSqlError("test")(error).reason, reason)
            assert.isTrue((error as { readonly isOfStorage?: boolean }).isOfStorage)
          }
        })
    )
  }
})

describe.each(["postgres", "mysql"] as const)(
  "a statement that may end a transaction and begin another, on %s,",
  (dialect) => {
    const statement = dialect === "mysql" ? "CALL procedure()" : "SELECT 1; COMMIT; BEGIN"

    test("is noticed by its savepoint", dialect, ({ announced, run, server, transaction }) =>
      Effect.gen(function*() {
        server.when("RELEASE SAVEPOINT sluice_guard", { error: errorOf(dialect, "unknown", "no such savepoint") })
        const error = yield* Effect.flip(
          transaction(Effect.andThen(Effect.ignore(run(statement)), Effect.ignore(run("INSERT 1"))))
        )
        assert.match(error.message, /ended by/)
        assert.notInclude(server.sent, "INSERT 1")
        assert.deepStrictEqual(announced, [])
      }), withoutValues)

    test("may as well not", dialect, ({ announced, run, server, transaction }) =>
      Effect.gen(function*() {
        yield* transaction(run(statement))
        assert.deepStrictEqual(server.sent.slice(1, 4), [
          "SAVEPOINT sluice_guard",
          statement,
          "RELEASE SAVEPOINT sluice_guard"
        ])
        assert.deepStrictEqual(announced, ["committed"])
      }), withoutValues)
  }
)

describe.each(dialects)("the transaction of an offset on %s", (dialect) => {
  const key = { projection: "p", source: "s" }
  const moves = [{ slice: 1, from: undefined, to: Offset.make(1, 1) } as any]

  /** What becomes of an error in a handler. */
  const handlers: ReadonlyArray<
    readonly [name: string, handle: (run: Effect.Effect<unknown, any>) => Effect.Effect<unknown, any>]
  > = [
    ["fails with it", (run) => run],
    ["maps it", (run) => Effect.mapError(run, () => "something else")],
    ["dies of it", Effect.orDie],
    ["dies of something else", (run) => Effect.catch(run, () => Effect.die(new Error("something else")))],
    [
      "wraps it",
      (run) => Effect.mapError(run, (cause) => new Error("wrapped", { cause: new Error("twice", { cause }) }))
    ],
    ["handles it", (run) => Effect.ignore(run)],
    ["handles it, and then fails", (run) => Effect.andThen(Effect.ignore(run), Effect.fail("something else"))]
  ]

  const transact = (
    database: Database.Database["Service"],
    handler: Effect.Effect<unknown, any>
  ) => {
    const db = Naming.tables(Naming.make({}))
    const move = () => Effect.as(database.run(sql.raw("UPDATE offsets")), true)
    return Effect.exit(
      SqlOffsetStore.make({ database, db, move }).transact(key, { journal: "j", revision: 0 }, moves, handler)
    )
  }

  const kinds = [
    ["lost", "none"],
    ["deadlock", "none"],
    ["lockTimeout", "open"],
    ["full", "open"],
    ["readOnly", "open"],
    ["missing", "open"]
  ] as const
  for (const [kind, status] of kinds) {
    for (const [name, handle] of handlers) {
      test(
        `blames the storage for what is ${kind}, where the handler ${name}`,
        dialect,
        ({ database, run, server }) =>
          Effect.gen(function*() {
            const error = errorOf(dialect, kind, kind === "missing" ? "no such table: note" : kind)
            server.when("INSERT", dialect === "postgres" && status === "open" ? { error } : { error, status })
            const exit = yield* transact(database, handle(run("INSERT 1")))
            if (Exit.isSuccess(exit)) {
              // the statement alone has failed, and the handler has done without it
              assert.isTrue(name === "handles it" && status === "open" && dialect !== "postgres")
              return
            }
            const reason = exit.cause.reasons.find(Cause.isFailReason)
            assert.instanceOf(reason?.error, StorageError)
            assert.isTrue(reason.error.isOfStorage, String(reason.error))
          })
      )
    }
  }

  for (const statement of ["BEGIN", "UPDATE offsets", "SAVEPOINT", "RELEASE", "COMMIT"]) {
    for (const kind of ["lost", "internal"] as const) {
      for (const [name, handle] of handlers) {
        test(
          `blames the storage where ${statement} fails (${kind}), and the handler ${name}`,
          dialect,
          (use) =>
            Effect.gen(function*() {
              const { database, run, server } = use
              server.when(statement, { error: errorOf(dialect, kind) })
              const exit = yield* transact(database, handle(database.withTransaction(run("INSERT 1"))))
              if (statement === "COMMIT" && name === "handles it, and then fails") return
              if (Exit.isSuccess(exit)) {
                // without what failed in a transaction of its own
                assert.isTrue(statement === "SAVEPOINT" && name === "handles it")
                assert.include(server.sent, "COMMIT")
                return
              }
              const reason = exit.cause.reasons.find(Cause.isFailReason)
              assert.instanceOf(reason?.error, StorageError)
              assert.isTrue(reason.error.isOfStorage, String(reason.error))
            })
        )
      }
    }
  }

  {
    const error = errorOf(dialect, "missing", "no such table: optional")

    test(
      "blames the event after what was missing, and was undone",
      dialect,
      ({ database, run, server }) =>
        Effect.gen(function*() {
          server.when("SELECT optional", { error })
          const poison = Effect.fail("poison")
          const mine: Array<Effect.Effect<unknown, unknown>> = [
            database.withTransaction(run("SELECT optional")),
            database.withTransaction(Effect.andThen(Effect.ignore(run("SELECT optional")), Effect.fail("undo"))),
            // one is undone, and what is in it with it
            database.withTransaction(Effect.andThen(
              Effect.ignore(database.withTransaction(run("SELECT optional"))),
              Effect.andThen(database.withTransaction(run("INSERT 1")), run("SELECT optional"))
            ))
          ]
          for (const optional of mine) {
            assert.deepStrictEqual(
              yield* transact(database, Effect.andThen(Effect.ignore(optional), poison)),
              Exit.fail("poison")
            )
          }
        })
    )

    test(
      "blames the storage for what was missing before that",
      dialect,
      ({ database, run, server }) =>
        Effect.gen(function*() {
          // where the server goes on
          server.when("SELECT optional", { error, status: "open" })
          const exit = yield* transact(
            database,
            Effect.gen(function*() {
              yield* Effect.ignore(run("SELECT optional"))
              yield* Effect.ignore(database.withTransaction(run("SELECT optional")))
              return yield* Effect.fail("due to that")
            })
          )
          assert(Exit.isFailure(exit))
          assert.instanceOf(exit.cause.reasons.find(Cause.isFailReason)?.error, StorageError)
        })
    )

    for (const kind of ["lockTimeout", "full", "deadlock"] as const) {
      test(
        `blames the storage for what passes, also if it was undone: ${kind}`,
        dialect,
        (use) =>
          Effect.gen(function*() {
            const { database, run, server } = use
            server.when("SELECT optional", { error })
            server.when("UPDATE 1", { error: errorOf(dialect, kind) })
            const nested = database.withTransaction(
              Effect.andThen(Effect.ignore(database.withTransaction(run("SELECT optional"))), run("UPDATE 1"))
            )
            const onlyThat = database.withTransaction(run("UPDATE 1"))
            for (const effect of [nested, onlyThat]) {
              const exit = yield* transact(database, Effect.mapError(effect, () => "mapped"))
              assert(Exit.isFailure(exit))
              const error = exit.cause.reasons.find(Cause.isFailReason)?.error
              assert.instanceOf(error, StorageError)
              assert.isTrue(error.isOfStorage)
            }
          })
      )
    }
  }

  for (const [name, handle] of handlers) {
    test(
      `blames the storage for whatever error the connection is lost with, where the handler ${name}`,
      dialect,
      ({ database, run, server }) =>
        Effect.gen(function*() {
          server.when("INSERT", { error: errorOf(dialect, "unknown"), isLast: true })
          const exit = yield* transact(database, handle(run("INSERT 1")))
          const reason = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason) : undefined
          assert.instanceOf(reason?.error, StorageError)
          assert.strictEqual(reason.error.reason, "Unavailable")
          assert.deepStrictEqual(server.released, ["closed"])
        })
    )
  }

  test(
    "blames the event for a query that the handler has given up in a transaction of its own",
    dialect,
    ({ database, run, server }) =>
      Effect.gen(function*() {
        const cancelled = yield* Deferred.make<void>()
        const after = Effect.runPromise(Deferred.await(cancelled))
        server.when("SELECT slow", {
          error: errorOf(dialect, "cancelled"),
          after,
          status: dialect === "postgres" ? "failed" : "none"
        })
        const giveUp = Effect.gen(function*() {
          const query = yield* Effect.forkChild(run("SELECT slow"))
          yield* Wait.until("the query to be sent", () => server.sent.includes("SELECT slow"))
          const interrupting = yield* Effect.forkChild(Fiber.interrupt(query))
          yield* Effect.yieldNow
          yield* Deferred.succeed(cancelled, undefined)
          yield* Fiber.join(interrupting)
        })
        const exit = yield* transact(database, database.withTransaction(giveUp))
        const error: any = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined
        assert.deepStrictEqual(
          [error?.storage, error?.isOfStorage, error?.isRetryable, error?.cause.isRetryable],
          ["Aborted", false, false, false]
        )
      })
  )

  test("blames the event for what is its own", dialect, ({ database, run, server }) =>
    Effect.gen(function*() {
      server.when("INSERT", { error: errorOf(dialect, "constraint") })
      const exit = yield* transact(database, Effect.mapError(run("INSERT 1"), () => "mine"))
      assert.deepStrictEqual(exit, Exit.fail("mine"))
    }))
})
