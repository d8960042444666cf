/**
 * The programs of the examples, as processes that a test starts.
 */
import { assert } from "@effect/vitest"
import * as Wait from "@sluice/testing/Wait"
import { Effect, Fiber, Stream } from "effect"
import { ChildProcess } from "effect/process"
import * as FS from "node:fs"
import { fileURLToPath } from "node:url"

/** Starts a program as a process of its own; tells what it has said so far. */
export const starting = (program: URL) =>
  Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
    const file = fileURLToPath(program)
    const process_ = yield* ChildProcess.make(
      process.execPath,
      ["--conditions=@sluice/source", "--disable-warning=ExperimentalWarning", file, ...args],
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
      /** The processes of the services, once so many are started. */
      services: Effect.fnUntraced(function*(count: number) {
        const started = Wait.until(`${count} services to start`, () => startedIn(stdout).length >= count, {
          atMost: "3 minutes"
        })
        yield* Effect.raceFirst(started, Effect.asVoid(ended))
        assert.isAtLeast(startedIn(stdout).length, count, [...stdout, ...stderr].join("\n"))
        return startedIn(stdout).slice(0, count)
      })
    }
  })

const startedIn = (lines: ReadonlyArray<string>): ReadonlyArray<number> =>
  lines.flatMap((line) => / started, pid (\d+)/.exec(line)?.[1] ?? []).map(Number)

/** What is left of a process that nobody has asked for its exit code does not run. */
export const isRunning = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(FS.readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

export const gone = (pids: ReadonlyArray<number>) => Wait.until("the services to end", () => !pids.some(isRunning))
