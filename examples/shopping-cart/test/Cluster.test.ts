import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as FS from "node:fs"
import * as Program from "../../kit/test/Program.ts"

const start = Program.starting(new URL("../src/cluster.ts", import.meta.url))

layer(NodeServices.layer, { excludeTestServices: true, timeout: "1 minute" })("the cart service as a cluster", (it) => {
  it.effect(
    "loses no command and applies none twice, though one of three processes is killed",
    () =>
      Effect.gen(function*() {
        const run = yield* start("--duration", "15", "--rate", "100")
        const [one, two, three] = yield* run.services(3)

        assert.strictEqual(yield* run.exitCode, 0, run.stderr.join("\n"))
        const all = run.stdout.join("\n")
        assert.match(all, /cart service 2 is dead/)
        assert.match(all, /takeover: all \d+ carts answer, [\d.]+ s after the kill/)
        const last = run.stdout.at(-1)!
        assert.match(last, /^commands=\d+ repeated=\d+ events=\d+ takeover=[\d.]+s lost=0 doubled=0 gaps=0$/)
        const [commands, , events] = last.match(/\d+/g)!.map(Number)
        assert.isAbove(commands!, 100)
        assert.strictEqual(events, commands)
        assert.deepStrictEqual([one!, two!, three!].filter(Program.isRunning), [])
      }),
    600_000
  )

  it.effect("stops at Ctrl-C, and leaves no process and no folder", () =>
    Effect.gen(function*() {
      const run = yield* start()
      const services = yield* run.services(3)
      const folder = /logs are in (.*)/.exec(run.stdout.join("\n"))![1]!
      assert.isTrue(FS.existsSync(folder))
      run.kill("SIGINT")

      assert.strictEqual(yield* run.exitCode, 130)
      assert.deepStrictEqual(run.stderr, ["Stopped before the end; the services are stopped as well."])
      yield* Program.gone(services)
      assert.isFalse(FS.existsSync(folder))
    }), 600_000)
})
