/** The transactions of a worker that knows what comes next, each of which begins with the commit of the one before. */
import { assert, it } from "@effect/vitest"
import { HandlerTooSlow } from "@sluice/core/Handler"
import * as Offset from "@sluice/core/Offset"
import { type Ahead, Fenced, type Move } from "@sluice/core/OffsetStore"
import * as Slice from "@sluice/core/Slice"
import { StorageError } from "@sluice/core/StorageError"
import * as Naming from "@sluice/sql/adapter/Naming"
import * as SqlOffsetStore from "@sluice/sql/adapter/SqlOffsetStore"
import type * as Database from "@sluice/sql/Database"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Scope } from "effect/Scope"
import { sql } from "kysely"
import { errorOf, FakeServer } from "./fakeServer.ts"

const key = { projection: "p", source: "s" }
const basis = { journal: "j", revision: 0 }
const moveTo = (position: number): Move => ({
  slice: Slice.make(1),
  from: position === 1 ? undefined : Offset.make(position - 1, position - 1),
  to: Offset.make(position, position)
})

/** A position to move to, or none. */
type Target = number | "nowhere"

const movesTo = (target: Target): ReadonlyArray<Move> => target === "nowhere" ? [] : [moveTo(target)]

interface Use {
  readonly server: FakeServer
  readonly database: Database.Database["Service"]
  readonly ahead: Ahead
  /** Moves to a position. The handler inserts it, unless another is given. The next move is the one after it, or the one that is given, or not known. */
  readonly transact: (
    position: Target,
    options?: { readonly next?: Target | undefined; readonly handler?: Effect.Effect<unknown, unknown> }
  ) => Effect.Effect<unknown, unknown>
}

const moveStatement = (_key: unknown, _basis: unknown, moves: ReadonlyArray<Move>) => ({
  sql: `UPDATE ${moves[0]?.to.position}`,
  parameters: [moves[0]?.from?.position ?? 0]
})

const test = (
  name: string,
  body: (use: Use) => Effect.Effect<void, unknown, Scope>,
  options?: { readonly transactionTimeout: number }
) =>
  it.live(name, () =>
    Effect.gen(function*() {
      const server = new FakeServer("postgres")
      server.when("UPDATE", { rows: [{ moved: 1 }] })
      const database = yield* server.database
      const store = SqlOffsetStore.make({
        database,
        db: Naming.tables(Naming.make({})),
        move: (...of) => Effect.map(database.execute(moveStatement(...of)), (rows) => rows.length === 1),
        moveStatement,
        ...options
      })
      let next: Target | undefined
      const ahead: Ahead = { next: () => next === undefined ? undefined : movesTo(next), abandon: Effect.void }
      yield* body({
        server,
        database,
        ahead,
        transact: (position, { handler, ...known } = {}) =>
          Effect.suspend(() => {
            next = "next" in known ? known.next : Number(position) + 1
            const insert = database.run(sql.raw(`INSERT ${position}`))
            return store.transact(key, basis, movesTo(position), handler ?? insert, ahead)
          })
      })
    }).pipe(Effect.scoped))

const failure = (error: unknown): string => error instanceof StorageError ? error.reason : String(error)

test("each begins with the commit of the one before, on its connection", ({ server, transact }) =>
  Effect.gen(function*() {
    yield* transact(1)
    assert.deepStrictEqual(server.released, [])
    yield* transact(2)
    yield* transact(3, { next: undefined })
    assert.deepStrictEqual(server.sent, [
      "BEGIN",
      "UPDATE 1",
      "INSERT 1",
      "COMMIT",
      "BEGIN",
      "UPDATE 2",
      "INSERT 2",
      "COMMIT",
      "BEGIN",
      "UPDATE 3",
      "INSERT 3",
      "COMMIT"
    ])
    assert.deepStrictEqual(server.released, ["clean"])
  }))

test("none begins where it is not known what comes next, or a connection is to be given back", ({ server, transact }) =>
  Effect.gen(function*() {
    yield* transact(1, { next: undefined })
    server.isDue = true
    yield* transact(2)
    assert.deepStrictEqual(server.sent.at(-1), "COMMIT")
    assert.deepStrictEqual(server.released, ["clean", "clean"])
  }))

test("one that moves nothing begins by itself", ({ server, transact }) =>
  Effect.gen(function*() {
    server.when("select \"revision\"", { rows: [{ revision: 0 }] })
    yield* transact(1, { next: "nowhere" })
    assert.deepStrictEqual(server.sent.at(-1), "COMMIT")
    yield* transact("nowhere", { next: undefined })
    assert.deepStrictEqual(server.sent.slice(-2), ["INSERT nowhere", "COMMIT"])
  }))

test("one begins anew where the commit before it has failed", ({ server, transact }) =>
  Effect.gen(function*() {
    server.when("COMMIT", { error: errorOf("postgres", "internal"), status: "none" })
    assert.strictEqual(failure(yield* Effect.flip(transact(1))), "Broken")
    assert.notInclude(server.sent, "UPDATE 2")
    assert.deepStrictEqual(server.released, ["clean"])
    server.when("COMMIT", {})
    yield* transact(2, { next: undefined })
    assert.deepStrictEqual(server.sent.slice(-4), ["BEGIN", "UPDATE 2", "INSERT 2", "COMMIT"])
  }))

test("what has begun with a commit that the server has turned into a rollback is rolled back", ({ server, transact }) =>
  Effect.gen(function*() {
    server.when("COMMIT", { rows: [{ command: "ROLLBACK" }], status: "none" })
    const error = yield* Effect.flip(transact(1))
    assert.instanceOf(error, StorageError)
    assert.include(String(error.cause), "rolled the transaction back")
    assert.deepStrictEqual(server.sent.slice(-4), ["COMMIT", "BEGIN", "UPDATE 2", "ROLLBACK"])
    assert.deepStrictEqual(server.released, ["clean"])
    server.when("COMMIT", {})
    yield* transact(1, { next: undefined })
    assert.deepStrictEqual(server.sent.slice(-4), ["BEGIN", "UPDATE 1", "INSERT 1", "COMMIT"])
  }))

test("nobody knows of a commit whose answer is lost, and what may have begun with it is lost, too", ({ server, transact }) =>
  Effect.gen(function*() {
    server.when("COMMIT", { error: errorOf("postgres", "lost"), isLost: true })
    assert.strictEqual(failure(yield* Effect.flip(transact(1))), "Unavailable")
    assert.deepStrictEqual(server.released, ["closed"])
    server.when("COMMIT", {})
    yield* transact(2, { next: undefined })
    assert.deepStrictEqual(server.sent.slice(-4), ["BEGIN", "UPDATE 2", "INSERT 2", "COMMIT"])
  }))

for (const [kind, way] of [["lockTimeout", "clean"], ["lost", "closed"]] as const) {
  test(`a commit holds though the next transaction does not begin (${kind}), which begins anew`, ({ server, transact }) =>
    Effect.gen(function*() {
      server.when("UPDATE 2", { error: errorOf("postgres", kind), isLost: kind === "lost" })
      yield* transact(1)
      assert.deepStrictEqual(server.released, [way])
      // and meets what is wrong with it
      assert.strictEqual(failure(yield* Effect.flip(transact(2))), kind === "lost" ? "Unavailable" : "Busy")
      assert.deepStrictEqual(server.sent.filter((text) => text === "UPDATE 2").length, 2)
    }))
}

test("a commit holds though the connection is lost with what begins next, and the driver does not say so", ({ server, transact }) =>
  Effect.gen(function*() {
    server.keepsStatus = true
    for (const sent of ["UPDATE 2", "ROLLBACK"]) {
      server.when(sent, { error: errorOf("postgres", "lost"), isLost: true, status: "open" })
    }
    yield* transact(1)
    assert.deepStrictEqual(server.released, ["closed"])
  }))

test("one that is not what was expected is rolled back, and the other begins anew", ({ server, transact }) =>
  Effect.gen(function*() {
    yield* transact(1, { next: 3 })
    yield* transact(2, { next: undefined })
    assert.deepStrictEqual(server.sent.slice(3), [
      "COMMIT",
      "BEGIN",
      "UPDATE 3",
      "ROLLBACK",
      "BEGIN",
      "UPDATE 2",
      "INSERT 2",
      "COMMIT"
    ])
    assert.deepStrictEqual(server.released, ["clean", "clean"])
  }))

test("one that nobody comes for is rolled back in time", ({ server, transact }) =>
  Effect.gen(function*() {
    yield* transact(1)
    yield* Wait.until("it to be rolled back", () => server.released.length > 0)
    assert.strictEqual(server.sent.at(-1), "ROLLBACK")
    yield* transact(2, { next: undefined })
    assert.deepStrictEqual(server.sent.slice(-4), ["BEGIN", "UPDATE 2", "INSERT 2", "COMMIT"])
  }))

test("none begins ahead after one that nobody has come for in time, until one comes quickly again", ({ database, server, transact }) =>
  Effect.gen(function*() {
    const begun = () => server.sent.filter((text) => text === "BEGIN").length
    // until what has begun is given up
    const slow = Effect.ignore(Wait.until("it to be rolled back", () => server.sent.at(-1) === "ROLLBACK"))
    yield* transact(1, { handler: database.afterCommit(slow) })
    assert.strictEqual(begun(), 2)
    const slower = Effect.andThen(
      Effect.sleep("110 millis"),
      Effect.sync(() => assert.strictEqual(server.sent.at(-1), "COMMIT"))
    )
    yield* transact(2, { handler: database.afterCommit(slower) })
    yield* transact(3, { handler: database.afterCommit(slower) })
    yield* transact(4)
    assert.strictEqual(server.sent.at(-1), "COMMIT")
    assert.strictEqual(begun(), 5)
    let n = 5
    let isThere = false
    const isAhead = Effect.sync(() => server.sent.at(-1) === `UPDATE ${n}`)
    // a busy machine may take too long between two of them
    yield* Effect.whileLoop({
      while: () => !isThere && n < 100,
      body: () => Effect.andThen(transact(n++), isAhead),
      step: (_) => void (isThere = _)
    })
    assert.isTrue(isThere)
  }))

test("one that has begun on a connection that is lost meanwhile begins anew on another", ({ server, transact }) =>
  Effect.gen(function*() {
    server.tellsOfLoss = true
    yield* transact(1)
    server.lose()
    server.when("ROLLBACK", { error: errorOf("postgres", "lost"), isLost: true })
    yield* transact(2, { next: undefined })
    assert.deepStrictEqual(server.released, ["closed", "clean"])
    assert.deepStrictEqual(server.sent.slice(-4), ["BEGIN", "UPDATE 2", "INSERT 2", "COMMIT"])
  }))

test("a worker that ends gives up what has begun", ({ ahead, server, transact }) =>
  Effect.gen(function*() {
    yield* transact(1)
    yield* ahead.abandon
    assert.strictEqual(server.sent.at(-1), "ROLLBACK")
    assert.deepStrictEqual(server.released, ["clean"])
  }))

test("what begins with the commit of a worker that is interrupted meanwhile is given up", ({ ahead, server, transact }) =>
  Effect.gen(function*() {
    const answered = Promise.withResolvers<void>()
    server.when("COMMIT", { after: answered.promise })
    const worker = yield* Effect.forkChild(Effect.ensuring(transact(1), Effect.suspend(() => ahead.abandon)))
    yield* Wait.until("it to commit", () => server.sent.at(-1) === "COMMIT")
    const ending = yield* Effect.forkChild(Fiber.interrupt(worker), { startImmediately: true })
    assert.isUndefined(ending.pollUnsafe())
    answered.resolve()
    yield* Fiber.join(ending)
    assert.deepStrictEqual(server.sent.slice(-4), ["COMMIT", "BEGIN", "UPDATE 2", "ROLLBACK"])
    assert.deepStrictEqual(server.released, ["clean"])
  }))

test("a worker that ends waits for what is being rolled back already", ({ ahead, server, transact }) =>
  Effect.gen(function*() {
    const answered = Promise.withResolvers<void>()
    server.when("ROLLBACK", { after: answered.promise })
    yield* transact(1)
    yield* Wait.until("it to be given up", () => server.sent.at(-1) === "ROLLBACK")
    const ending = yield* Effect.forkChild(ahead.abandon, { startImmediately: true })
    assert.isUndefined(ending.pollUnsafe())
    answered.resolve()
    yield* Fiber.join(ending)
    assert.deepStrictEqual(server.released, ["clean"])
  }))

test("a handler that fails undoes its own transaction alone", ({ server, transact }) =>
  Effect.gen(function*() {
    yield* transact(1)
    assert.strictEqual(yield* Effect.flip(transact(2, { handler: Effect.fail("poison") })), "poison")
    assert.deepStrictEqual(server.sent.slice(3), ["COMMIT", "BEGIN", "UPDATE 2", "ROLLBACK"])
    assert.deepStrictEqual(server.released, ["clean"])
  }))

test("a handler is not called where the offset is elsewhere, as the answer says", ({ server, transact }) =>
  Effect.gen(function*() {
    server.when("UPDATE", {})
    server.when("UPDATE 1", { rows: [{ moved: 1 }] })
    server.when("select \"slice\"", { rows: [{ slice: 1, position: 7, timestamp: 7 }] })
    server.when("select \"revision\"", { rows: [{ revision: 0 }] })
    yield* transact(1)
    assert.instanceOf(yield* Effect.flip(transact(2)), Fenced)
    assert.notInclude(server.sent, "INSERT 2")
    assert.deepStrictEqual(server.released, ["clean"])
  }))

test("what runs after a commit runs before the next handler, and outside of its transaction", (use) =>
  Effect.gen(function*() {
    const { database, server, transact } = use
    const seen: Array<string | boolean> = []
    const after = Effect.gen(function*() {
      seen.push("after", yield* database.inTransaction)
      yield* Effect.ignore(database.withTransaction(database.run(sql.raw("SELECT after"))))
    })
    yield* transact(1, { handler: database.afterCommit(after) })
    yield* transact(2, { next: undefined, handler: Effect.sync(() => seen.push("next")) })
    assert.deepStrictEqual(seen, ["after", false, "next"])
    // on a connection of its own
    assert.includeMembers(server.sent, ["SELECT after"])
    assert.strictEqual(server.sent.filter((text) => text === "UPDATE 2").length, 1)
    assert.deepStrictEqual(server.released, ["clean", "clean"])
  }))

test(
  "a handler that sends nothing is too slow, however its transaction has begun",
  ({ transact }) =>
    Effect.gen(function*() {
      yield* transact(1)
      assert.instanceOf(yield* Effect.flip(transact(2, { handler: Effect.never })), HandlerTooSlow)
    }),
  { transactionTimeout: 100 }
)
