/**
 * Starts a PostgreSQL, freezes it if the second argument says so, and prints its port. Then exits, or waits for a signal.
 *
 * usage: server wait|exit running|frozen
 */
import * as TestServer from "@sluice/testing/TestServer"
import * as Effect from "effect/Effect"

const [end, state] = process.argv.slice(2)

const program = Effect.gen(function*() {
  const server = yield* TestServer.postgres({ durable: false })
  if (state === "frozen") yield* server.freeze
  process.stdout.write(`${server.port}\n`, () => end === "exit" && process.exit())
  return yield* Effect.never
})

// a signal ends it at once: nothing handles it and closes the scope
await Effect.runPromise(Effect.scoped(program))
