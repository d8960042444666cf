/** Real processes that are killed and started again. */
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { createInterface } from "node:readline"

/** A process that is started again each time that it is killed, until its scope ends. */
export interface Service {
  /** Sends SIGKILL, and starts it again once it is gone. */
  readonly kill: Effect.Effect<void>
  readonly send: (line: string) => Effect.Effect<void>
  /** Ends when the process prints the line. */
  readonly printed: (line: string) => Effect.Effect<void>
}

export interface Options {
  readonly command: string
  /** Asked for each time that the process is started. */
  readonly args: () => ReadonlyArray<string>
  readonly env?: NodeJS.ProcessEnv | undefined
  readonly onLine?: ((line: string) => void) | undefined
}

/** Runs a TypeScript file with the sources of the project. */
export const nodeArgs = (file: string, ...args: ReadonlyArray<string>): ReadonlyArray<string> => [
  "--conditions=@sluice/source",
  "--disable-warning=ExperimentalWarning",
  file,
  ...args
]

/** What it says on standard error is shown with SERVICE_LOG set, and the last of it if it fails, rather than being killed. */
export const start = (options: Options): Effect.Effect<Service, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const awaited = new Map<string, () => void>()
        const launch = (): ChildProcess => {
          const child = spawn(options.command, options.args(), {
            stdio: ["pipe", "pipe", process.env["SERVICE_LOG"] === undefined ? "pipe" : "inherit"],
            env: { ...process.env, ...options.env },
            // its own children are killed with it
            detached: true
          })
          // what is sent to a process that was killed goes nowhere
          child.stdin!.on("error", () => {})
          let said = ""
          child.stderr?.on("data", (text) => {
            said = `${said}${text}`.slice(-10_000)
          })
          child.once("close", (code) => {
            if (code) console.error(`${options.command} has ended with ${code}\n${said}`)
          })
          createInterface({ input: child.stdout! }).on("line", (line) => {
            options.onLine?.(line)
            awaited.get(line)?.()
          })
          return child
        }
        const state = { child: launch() }
        const end = () => killGroup(state.child)
        process.once("exit", end)
        return { awaited, end, launch, state }
      }),
      ({ end }) =>
        Effect.sync(() => {
          process.removeListener("exit", end)
          end()
        })
    ),
    ({ awaited, launch, state }) => ({
      kill: Effect.callback<void>((resume) => {
        state.child.once("exit", () => {
          state.child = launch()
          resume(Effect.void)
        })
        killGroup(state.child)
      }),
      send: (line) => Effect.sync(() => void state.child.stdin!.write(`${line}\n`)),
      printed: (line) =>
        Wait.end(
          `the process to print '${line}'`,
          Effect.callback((resume) => {
            awaited.set(line, () => resume(Effect.void))
          }),
          { atMost: "10 minutes" }
        )
    })
  )

const killGroup = (child: ChildProcess) => {
  try {
    process.kill(-child.pid!, "SIGKILL")
  } catch {
    // it is gone already
  }
}

/** A folder that is removed with the scope. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "sluice-test-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true }))
)
