import { assert, it } from "@effect/vitest"
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { inject } from "vitest"
import { packetFor } from "../src/internal/connection.ts"
import { makePool } from "../src/internal/pool.ts"
import { makeSessions } from "../src/internal/sessions.ts"

const size = 3

it.live("connections that an outage has ended are closed, and take no place in the pool", () =>
  Effect.gen(function*() {
    const address = new URL(inject("mariadb"))
    const options = { url: address.href, port: Number(address.port) }
    const scope = yield* Scope.make()
    const pool = yield* Scope.provide(
      makePool(options, size, {
        packet: packetFor(1024),
        journal: { known: undefined },
        statements: false,
        ownTables: false,
        idleTimeout: 60
      }),
      scope
    )
    const sessions = makeSessions(pool)
    const acquire = Effect.promise((signal) => sessions.acquire(signal))
    /** All that there may be at once, each of which answers. */
    const use = Effect.gen(function*() {
      const all = yield* Effect.all(Array.from({ length: size }, () => acquire), { concurrency: size })
      for (const session of all) assert.strictEqual(yield* Effect.promise(session.ask), "none")
      for (const session of all) session.release(true)
    })
    yield* use
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
    yield* use
    yield* Scope.close(scope, Exit.void)
    assert.strictEqual(pool.sessions.size, 0)
  }))
