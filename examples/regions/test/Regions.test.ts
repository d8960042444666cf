import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import * as FreePort from "@sluice/testing/FreePort"
import { Effect } from "effect"
import * as Net from "node:net"
import * as Program from "../../kit/test/Program.ts"

const start = Program.starting(new URL("../src/main.ts", import.meta.url))

layer(NodeServices.layer, { excludeTestServices: true, timeout: "1 minute" })("the regions", (it) => {
  it.effect(
    "have the same in the end, though links are cut, carts changed on both sides, and one is killed",
    () =>
      Effect.gen(function*() {
        const run = yield* start("--duration", "6", "--rate", "40", "--port", "0")
        const services = yield* run.services(3)

        assert.strictEqual(yield* run.exitCode, 0, run.stderr.join("\n"))
        assert.deepStrictEqual(run.stderr, [])
        const all = run.stdout.join("\n")
        for (
          const what of [
            /the links to and from us are cut/,
            /us says of a German cart: This cart is kept in the region 'eu'/,
            /[1-9]\d* carts were changed on both sides of the cut/,
            /region ap is dead/,
            /ap reaches nobody, and takes commands/,
            /[1-9]\d* carts were changed on several sides of the cuts/,
            /all regions have everything/
          ]
        ) {
          assert.match(all, what)
        }
        const last = run.stdout.at(-1)!
        assert.match(
          last,
          /^commands=\d+ events=\d+ kept=\d+ leaked=0 healed=\d+ms diverged=0 lost=0 doubled=0$/
        )
        const [commands, events, kept] = last.match(/\d+/g)!.map(Number)
        assert.isAbove(commands!, 50)
        assert.strictEqual(events, commands)
        assert.isAbove(kept!, 0)
        assert.isBelow(kept!, events!)
        assert.deepStrictEqual(services.filter(Program.isRunning), [])
      }),
    600_000
  )

  it.effect("say so when a port is in use, and stop", () =>
    Effect.gen(function*() {
      const port = yield* FreePort.freePort
      const server = yield* Effect.acquireRelease(
        Effect.sync(() => Net.createServer()),
        (server) => Effect.sync(() => server.close())
      )
      yield* Effect.callback<void>((resume) => {
        server.listen(port, "127.0.0.1", () => resume(Effect.void))
      })
      const run = yield* start("--port", `${port}`)

      assert.strictEqual(yield* run.exitCode, 1)
      assert.deepStrictEqual(run.stderr, [
        `The region eu has ended: It cannot listen on port ${port}, as somebody else does. Choose another one with --port`
      ])
    }), 600_000)
})
