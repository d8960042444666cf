import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import * as FreePort from "@sluice/testing/FreePort"
import Sqlite from "better-sqlite3"
import { Effect, FileSystem } from "effect"
import * as FS from "node:fs"
import * as Net from "node:net"
import * as Program from "../../kit/test/Program.ts"

const start = Program.starting(new URL("../src/main.ts", import.meta.url))

/** Ports of its own. */
const ports = Effect.map(
  Effect.all([FreePort.freePort, FreePort.freePort]),
  ([port, httpPort]) => ["--port", `${port}`, "--http-port", `${httpPort}`]
)

const temporaryFolder = FileSystem.FileSystem.use((fs) => fs.makeTempDirectoryScoped({ prefix: "shopping-cart-test-" }))

layer(NodeServices.layer, { excludeTestServices: true, timeout: "1 minute" })(
  "the shopping cart",
  (it) => {
    it.effect("loses, doubles and reorders nothing, though both services are killed", () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const args = ["--dir", `${folder}/made/for/it`, ...yield* ports, "--rate", "200"]

        // a run that is stopped, and goes on as another
        const first = yield* start(...args)
        yield* first.services(2)
        first.kill("SIGTERM")
        yield* first.exitCode
        const run = yield* start(...args, "--duration", "5")
        yield* run.services(2)
        const inUse = yield* start(...args)
        assert.strictEqual(yield* inUse.exitCode, 1)
        assert.deepStrictEqual(inUse.stderr, [
          `The folder '${folder}/made/for/it' cannot be used: another run is using it`
        ])

        assert.strictEqual(yield* run.exitCode, 0, run.stderr.join("\n"))
        assert.deepStrictEqual(run.stderr, [])
        const all = run.stdout.join("\n")
        for (
          const what of [
            "analytics service is dead",
            "caught up",
            "large carts only",
            "now it asks for the small cart",
            "in order",
            "cart service is dead",
            "arrive again",
            "each was applied once"
          ]
        ) {
          assert.include(all, what)
        }
        const last = run.stdout.at(-1)!
        assert.match(
          last,
          /^commands=\d+ repeated=\d+ appended=\d+ leftout=\d+ projected=\d+ lost=0 doubled=0 reordered=0$/
        )
        const [commands, repeated, appended, leftOut, projected] = last.match(/\d+/g)!.map(Number)
        assert.isAbove(commands!, 200)
        // the cart service is killed while people shop
        assert.isAbove(repeated!, 0)
        assert.strictEqual(appended, leftOut! + projected!)
        assert.isAbove(projected!, 200)

        const analytics = new Sqlite(`${folder}/made/for/it/analytics.db`, { readonly: true })
        yield* Effect.addFinalizer(() => Effect.sync(() => analytics.close()))
        const count = (what: string) => analytics.prepare(`SELECT count(${what}) FROM handled`).pluck().get()
        assert.strictEqual(count("*"), projected)
        assert.strictEqual(count("DISTINCT cart || ' ' || sequence_number"), projected)
      }), 600_000)

    it.effect("stops at Ctrl-C with a message, and leaves no process and no folder", () =>
      Effect.gen(function*() {
        const run = yield* start(...yield* ports)
        const services = yield* run.services(2)
        const folder = /are in (.*)/.exec(run.stdout[0]!)![1]!
        assert.isTrue(FS.existsSync(folder))
        run.kill("SIGINT")

        assert.strictEqual(yield* run.exitCode, 130)
        assert.deepStrictEqual(run.stderr, ["Stopped before the end; the services are stopped as well."])
        assert.deepStrictEqual(services.filter(Program.isRunning), [])
        assert.isFalse(FS.existsSync(folder))
      }), 600_000)

    it.effect("leaves no process when it is killed itself", () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const run = yield* start("--dir", folder, ...yield* ports)
        const services = yield* run.services(2)
        run.kill("SIGKILL")

        yield* Program.gone(services)
      }), 600_000)

    it.effect.each(["--port", "--http-port"])(
      "says so when the port of %s is in use",
      (flag) =>
        Effect.gen(function*() {
          const folder = yield* temporaryFolder
          const args = yield* ports
          const port = args[args.indexOf(flag) + 1]!
          const server = yield* Effect.acquireRelease(
            Effect.sync(() => Net.createServer()),
            (server) => Effect.sync(() => server.close())
          )
          yield* Effect.callback<void>((resume) => {
            server.listen(Number(port), "127.0.0.1", () => resume(Effect.void))
          })
          const run = yield* start("--dir", folder, ...args)

          assert.strictEqual(yield* run.exitCode, 1)
          assert.deepStrictEqual(run.stderr, [
            "The cart service has ended: " +
            `It cannot listen on port ${port}, as somebody else does. Choose another one with ${flag}`
          ])
        }),
      600_000
    )

    it.effect("says so when the folder cannot be used", () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        FS.writeFileSync(`${folder}/file`, "")
        FS.mkdirSync(`${folder}/other`)
        FS.writeFileSync(`${folder}/other/cart.db`, "This is a text.")
        const stderrOf = Effect.fnUntraced(function*(dir: string) {
          const run = yield* start("--dir", dir)
          assert.strictEqual(yield* run.exitCode, 1)
          return run.stderr
        })
        const found = yield* Effect.forEach(
          [`${folder}/file`, `${folder}/file/within`, `${folder}/other`],
          stderrOf,
          { concurrency: "unbounded" }
        )

        assert.deepStrictEqual(found, [
          [`The folder '${folder}/file' cannot be used: it is a file, or lies within one`],
          [`The folder '${folder}/file/within' cannot be used: it is a file, or lies within one`],
          [
            `open '${folder}/other/cart.db': the file is no database, or an encrypted one: correct 'filename', or ` +
            "restore it from a backup (file is not a database)"
          ]
        ])
      }), 600_000)

    it.effect("explains its parameters, and refuses wrong ones", () =>
      Effect.gen(function*() {
        const [help, wrong] = yield* Effect.all([start("--help"), start("--rate", "0")])
        assert.strictEqual(yield* help.exitCode, 0)
        for (const flag of ["--duration", "--rate", "--port", "--http-port", "--dir"]) {
          assert.include(help.stdout.join("\n"), flag)
        }
        assert.strictEqual(yield* wrong.exitCode, 1)
        assert.include(wrong.stderr.join("\n"), "an integer from 1 to 20000")
      }), 600_000)
  }
)
