import { assert, it } from "@effect/vitest"
import { toConnectError } from "@sluice/sql/adapter/SqlStorageError"
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { inject } from "vitest"
import { packetFor, type Use } from "../src/internal/connection.ts"
import { errorOf, makePool } from "../src/internal/pool.ts"
import { makeSessions } from "../src/internal/sessions.ts"
import type { Options } from "../src/MysqlOptions.ts"

const size = 3

const use: Use = {
  packet: packetFor(1024),
  journal: { known: undefined },
  statements: false,
  ownTables: false,
  idleTimeout: 60
}

it.live("connections that an outage has ended are closed, and take no place in the pool", () =>
  Effect.gen(function*() {
    const address = new URL(inject("mariadb"))
    const options = { url: address.href, port: Number(address.port) }
    const scope = yield* Scope.make()
    const pool = yield* Scope.provide(
      makePool(options, size, use),
      scope
    )
    const sessions = makeSessions(pool)
    const acquire = Effect.promise((signal) => sessions.acquire(signal))
    /** All that there may be at once, each of which answers. */
    const useAll = Effect.gen(function*() {
      const all = yield* Effect.all(Array.from({ length: size }, () => acquire), { concurrency: size })
      for (const session of all) assert.strictEqual(yield* Effect.promise(session.ask), "none")
      for (const session of all) session.release(true)
    })
    yield* useAll
    const lost = [...pool.sessions]
    assert.strictEqual(lost.length, size)

    options.port = yield* freePort
    for (const { connection } of lost) (connection as any).stream.destroy()
    yield* Wait.until("the connections to be lost", () => lost.every(({ isLost }) => isLost))
    for (let i = 0; i < 2 * size; i++) {
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Effect.tryPromise((signal) => sessions.acquire(signal)))))
    }
    assert.strictEqual(pool.sessions.size, 0)

    options.port = Number(address.port)
    yield* useAll
    yield* Scope.close(scope, Exit.void)
    assert.strictEqual(pool.sessions.size, 0)
  }))

it("what kept a connection from being made is told: an error, a defect, or that the storage was closed", () => {
  const refused = new Error("refused")
  const bug = new TypeError("not a password")
  const failed = Cause.fail(toConnectError("mysql")("connect")(refused))
  assert.strictEqual(errorOf(failed), refused)
  assert.strictEqual(errorOf(Cause.combine(Cause.die(bug), failed)), refused)
  assert.strictEqual(errorOf(Cause.combine(Cause.interrupt(), Cause.die(bug))), bug)
  assert.include(errorOf(Cause.interrupt()), { code: "POOL_CLOSED" })
})

it.live.each<[string, (password: string) => Options["password"]]>([
  ["a string", (password) => password],
  ["redacted", Redacted.make],
  ["an effect of a string", Effect.succeed],
  ["an effect of one that is redacted", (password) => Effect.succeed(Redacted.make(password))]
])("the password is %s", ([, of]) =>
  Effect.gen(function*() {
    const { hostname, password, pathname, port, username } = new URL(inject("mariadb"))
    const options = {
      host: hostname,
      port: Number(port),
      user: username,
      password: of(password),
      database: pathname.slice(1)
    }
    const pool = yield* makePool(options, 1, use)
    yield* Effect.scoped(pool.lend)
  }))

it.live("a pool has a connection to spare while one is free or can be made, and nobody waits", () =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const pool = yield* Scope.provide(makePool({ url: inject("mariadb") }, 2, use), scope)
    const sessions = makeSessions(pool)
    const acquire = Effect.promise((signal) => sessions.acquire(signal))
    const first = yield* acquire
    assert.isTrue(pool.hasSpare())
    const second = yield* acquire
    assert.isFalse(pool.hasSpare())
    second.release(true)
    assert.isTrue(pool.hasSpare())
    first.release(true)
    yield* Scope.close(scope, Exit.void)
    assert.isFalse(pool.hasSpare())
  }))
