/**
 * Ports for servers that a test starts.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Net from "node:net"

/**
 * A TCP port that nobody listens on right now, on the loopback interface.
 *
 * **Details**
 *
 * It is none of those that systems give to outgoing connections by default. One of these could be taken before the server listens.
 *
 * @category constructors
 * @since 0.1.0
 */
export const freePort: Effect.Effect<number> = Random.nextIntBetween(16_384, 32_768).pipe(
  Effect.tap((port) => Effect.filterOrFail(isFree(port), (free) => free)),
  Effect.eventually
)

const isFree = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const server = Net.createServer()
    server.once("error", () => resume(Effect.succeed(false)))
    server.listen(port, "127.0.0.1", () => server.close(() => resume(Effect.succeed(true))))
  })
