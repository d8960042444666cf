import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import * as FreePort from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import Sqlite from "better-sqlite3"
import { Effect, Fiber, FileSystem, Stream } from "effect"
import { ChildProcess } from "effect/process"
import * as FS from "node:fs"
import * as Net from "node:net"
import { fileURLToPath } from "node:url"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

/** The example as a process of its own, and what it has said so far. */
const start = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
  const process_ = yield* ChildProcess.make(
    process.execPath,
    ["--conditions=@sluice/source", "--disable-warning=ExperimentalWarning", main, ...args],
    { env: { npm_lifecycle_event: undefined, INIT_CWD: undefined }, extendEnv: true, forceKillAfter: "5 seconds" }
  )
  const stdout: Array<string> = []
  const stderr: Array<string> = []
  const gather = (stream: typeof process_.stdout, lines: Array<string>) =>
    stream.pipe(
      Stream.decodeText,
      Stream.splitLines,
      Stream.runForEach((line) => Effect.sync(() => lines.push(line)))
    )
  const said = yield* Effect.forkScoped(
    Effect.all([gather(process_.stdout, stdout), gather(process_.stderr, stderr)], { concurrency: 2 })
  )
  const ended = Effect.tap(process_.exitCode, () => Fiber.await(said))
  return {
    stdout,
    stderr,
    kill: (killSignal: ChildProcess.Signal) => process.kill(process_.pid, killSignal),
    exitCode: ended,
    /** The processes of the services, once both are started. */
    services: Effect.gen(function*() {
      const started = Wait.until("both services to start", () => startedIn(stdout).length >= 2, { atMost: "2 minutes" })
      yield* Effect.raceFirst(started, Effect.asVoid(ended))
      assert.isAtLeast(startedIn(stdout).length, 2, [...stdout, ...stderr].join("\n"))
      return startedIn(stdout).slice(0, 2)
    })
  }
})

const startedIn = (lines: ReadonlyArray<string>): ReadonlyArray<number> =>
  lines.flatMap((line) => /service started, pid (\d+)/.exec(line)?.[1] ?? []).map(Number)

/** What is left of a process that nobody has asked for its exit code does not run. */
const isRunning = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(FS.readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

const gone = (pids: ReadonlyArray<number>) => Wait.until("the services to end", () => !pids.some(isRunning))

const temporaryFolder = FileSystem.FileSystem.use((fs) => fs.makeTempDirectoryScoped({ prefix: "shopping-cart-test-" }))

layer(NodeServices.layer, { excludeTestServices: true, timeout: "1 minute" })(
  "the shopping cart",
  (it) => {
    it.effect("loses, doubles and reorders nothing, though both services are killed", () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const port = yield* FreePort.freePort
        const args = ["--dir", `${folder}/made/for/it`, "--port", String(port), "--rate", "200"]

        // a run that is stopped, and goes on as another
        const first = yield* start(...args)
        yield* first.services
        first.kill("SIGTERM")
        yield* first.exitCode
        const run = yield* start(...args, "--duration", "5")
        yield* run.services
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
            "arrive again"
          ]
        ) {
          assert.include(all, what)
        }
        const last = run.stdout.at(-1)!
        assert.match(last, /^appended=\d+ leftout=\d+ projected=\d+ lost=0 doubled=0 reordered=0$/)
        const [appended, leftOut, projected] = last.match(/\d+/g)!.map(Number)
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
        const port = yield* FreePort.freePort
        const run = yield* start("--port", String(port))
        const services = yield* run.services
        const folder = /are in (.*)/.exec(run.stdout[0]!)![1]!
        assert.isTrue(FS.existsSync(folder))
        run.kill("SIGINT")

        assert.strictEqual(yield* run.exitCode, 130)
        assert.deepStrictEqual(run.stderr, ["Stopped before the end; both services are stopped as well."])
        assert.deepStrictEqual(services.filter(isRunning), [])
        assert.isFalse(FS.existsSync(folder))
      }), 600_000)

    it.effect("leaves no process when it is killed itself", () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const port = yield* FreePort.freePort
        const run = yield* start("--dir", folder, "--port", String(port))
        const services = yield* run.services
        run.kill("SIGKILL")

        yield* gone(services)
      }), 600_000)

    it.effect("says so when the port is in use", () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const port = yield* FreePort.freePort
        const server = yield* Effect.acquireRelease(
          Effect.sync(() => Net.createServer()),
          (server) => Effect.sync(() => server.close())
        )
        yield* Effect.callback<void>((resume) => {
          server.listen(port, "127.0.0.1", () => resume(Effect.void))
        })
        const run = yield* start("--dir", folder, "--port", String(port))

        assert.strictEqual(yield* run.exitCode, 1)
        assert.deepStrictEqual(run.stderr, [
          "The cart service has ended: " +
          `It cannot listen on port ${port}, as somebody else does. Choose another one with --port`
        ])
      }), 600_000)

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
        for (const flag of ["--duration", "--rate", "--port", "--dir"]) assert.include(help.stdout.join("\n"), flag)
        assert.strictEqual(yield* wrong.exitCode, 1)
        assert.include(wrong.stderr.join("\n"), "an integer from 1 to 20000")
      }), 600_000)
  }
)
