import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import Pg from "pg"
import { inject } from "vitest"
import { Begun, CommittedAndBegun, type Text } from "../src/internal/Begun.ts"

const connect: Effect.Effect<Pg.Client, never, Scope> = Effect.acquireRelease(
  Effect.promise(async () => {
    const client = new Pg.Client({ connectionString: inject("postgres") })
    await client.connect()
    await client.query("CREATE TEMP TABLE written (n int UNIQUE)")
    return client
  }),
  (client) => Effect.promise(() => client.end())
)

const run = (client: Pg.Client, begin: string, config: Text, values: ReadonlyArray<unknown>) =>
  Effect.tryPromise({
    try: () =>
      new Promise<Pg.QueryResult>((resolve, reject) => {
        const query = new Begun(begin, config, values)
        query.callback = (error, result) => error ? reject(error) : resolve(result)
        client.query(query as never)
      }),
    catch: (error) => error as Error & { readonly code?: string; readonly cause?: { readonly code?: string } }
  })

const written = (client: Pg.Client) =>
  Effect.promise(async () => (await client.query("SELECT n FROM written ORDER BY n")).rows.map(({ n }) => n))

const insert = { text: "INSERT INTO written VALUES ($1::int) RETURNING n AS number" }

it.live("a statement begins its transaction, and tells of itself alone", () =>
  Effect.gen(function*() {
    const client = yield* connect
    for (const name of [undefined, "kept", "kept"]) {
      const config = name === undefined ? insert : { ...insert, name }
      const { command, rows } = yield* run(client, "BEGIN ISOLATION LEVEL SERIALIZABLE", config, [7])
      assert.deepStrictEqual({ command, rows }, { command: "INSERT", rows: [{ number: 7 }] })
      assert.strictEqual(client.getTransactionStatus(), "T")
      const { rows: levels } = yield* Effect.promise(() => client.query("SHOW transaction_isolation"))
      assert.deepStrictEqual(levels, [{ transaction_isolation: "serializable" }])
      yield* Effect.promise(() => client.query("ROLLBACK"))
      assert.deepStrictEqual(yield* written(client), [])
    }
  }).pipe(Effect.scoped))

it.live("a statement that fails is told from the one that begins its transaction, and is not prepared then", () =>
  Effect.gen(function*() {
    const client = yield* connect
    const failed = yield* Effect.flip(run(client, "BEGIN", { text: "SELECT $1::int / 0", name: "divides" }, [1]))
    assert.strictEqual(failed.code, "22012")
    // the error arrives before the server's word on the transaction, which the next answer follows
    const refused = yield* Effect.flip(Effect.tryPromise({
      try: () => client.query("SELECT 1"),
      catch: (error) => error as { readonly code?: string }
    }))
    assert.strictEqual(refused.code, "25P02")
    yield* Effect.promise(() => client.query("ROLLBACK"))
    const missing = { text: "SELECT * FROM missing WHERE n = $1", name: "missing" }
    for (let i = 0; i < 2; i++) {
      assert.strictEqual((yield* Effect.flip(run(client, "BEGIN", missing, [1]))).code, "42P01")
      yield* Effect.promise(() => client.query("ROLLBACK"))
    }
    // the driver cannot even send it
    const circular: Record<string, unknown> = {}
    circular["self"] = circular
    const unsent = yield* Effect.flip(run(client, "BEGIN", { text: "SELECT $1::text" }, [circular]))
    assert.include(unsent.message, "circular")
    yield* Effect.promise(() => client.query("ROLLBACK"))
    assert.strictEqual(client.getTransactionStatus(), "I")
  }).pipe(Effect.scoped))

it.live("a statement is not executed when its transaction does not begin, which is no fault of its own", () =>
  Effect.gen(function*() {
    const client = yield* connect
    const failed = yield* Effect.flip(run(client, "BEGIN ISOLATION LEVEL NONE", insert, [7]))
    assert.strictEqual(failed.code, "ECONNABORTED")
    assert.strictEqual(failed.cause?.code, "42601")
    assert.strictEqual(client.getTransactionStatus(), "I")
    assert.deepStrictEqual(yield* written(client), [])
  }).pipe(Effect.scoped))

/** Commits what is open, and begins the next transaction with the statement. */
const succeed = (client: Pg.Client, config: Text, values: ReadonlyArray<unknown>) =>
  Effect.promise(() => {
    const query = new CommittedAndBegun("BEGIN", config, values)
    return new Promise<{ readonly ended: string | undefined; readonly rows?: Array<unknown>; readonly code?: string }>(
      (resolve) => {
        query.callback = (error, result) =>
          resolve(
            error
              ? { ended: query.ended, code: (error as { readonly code: string }).code }
              : { ended: query.ended, rows: result.rows }
          )
        client.query(query as never)
      }
    )
  })

const query = (client: Pg.Client, text: string) => Effect.promise(() => client.query(text).catch(() => {}))

it.live("a statement commits the transaction before it, and begins its own", () =>
  Effect.gen(function*() {
    const client = yield* connect
    yield* run(client, "BEGIN", insert, [1])
    for (const [i, name] of [undefined, "kept", "kept"].entries()) {
      const config = name === undefined ? insert : { ...insert, name }
      assert.deepStrictEqual(yield* succeed(client, config, [i + 2]), { ended: "COMMIT", rows: [{ number: i + 2 }] })
      assert.strictEqual(client.getTransactionStatus(), "T")
    }
    yield* query(client, "ROLLBACK")
    assert.deepStrictEqual(yield* written(client), [1, 2, 3])
  }).pipe(Effect.scoped))

it.live("nothing follows a commit that fails, and nothing is believed to be prepared then", () =>
  Effect.gen(function*() {
    const client = yield* connect
    yield* query(client, "CREATE TEMP TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    const named = { ...insert, name: "named" }
    yield* query(client, "BEGIN; INSERT INTO late VALUES (1), (1)")
    assert.deepStrictEqual(yield* succeed(client, named, [7]), { ended: undefined, code: "23505" })
    yield* query(client, "")
    assert.strictEqual(client.getTransactionStatus(), "I")
    assert.deepStrictEqual(yield* written(client), [])
    yield* query(client, "BEGIN")
    assert.deepStrictEqual(yield* succeed(client, named, [8]), { ended: "COMMIT", rows: [{ number: 8 }] })
    yield* query(client, "COMMIT")
    assert.deepStrictEqual(yield* written(client), [8])
  }).pipe(Effect.scoped))

it.live("how a transaction has ended is known, whatever becomes of the next one", () =>
  Effect.gen(function*() {
    const client = yield* connect
    // failed, and rolled back with that
    yield* query(client, "BEGIN")
    yield* query(client, "SELECT 1 / 0")
    assert.deepStrictEqual(yield* succeed(client, insert, [1]), { ended: "ROLLBACK", rows: [{ number: 1 }] })
    // the next one fails
    assert.deepStrictEqual(yield* succeed(client, insert, [1]), { ended: "COMMIT", code: "23505" })
    yield* query(client, "ROLLBACK")
    // its connection is lost
    yield* run(client, "BEGIN", insert, [2])
    const lost = yield* succeed(client, { text: "SELECT pg_terminate_backend(pg_backend_pid()), $1::int" }, [1])
    assert.strictEqual(lost.ended, "COMMIT")
    assert.isDefined(lost.code)
  }).pipe(Effect.scoped))
