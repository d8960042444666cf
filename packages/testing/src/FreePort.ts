/**
 * Ports for servers that a test starts.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Net from "node:net"

/**
 * A TCP port that nobody listens on right now, on the loopback interface.
 *
 * @category constructors
 * @since 0.1.0
 */
export const freePort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = Net.createServer()
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as Net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})
