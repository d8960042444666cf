import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"

export class CommandFailed
  extends Data.TaggedError("CommandFailed")<{ readonly message: string; readonly cause: unknown }>
{}

/** Runs a program to its end, and returns what it printed. Fails, with all that it said, unless it ends well. */
export const run = (
  folder: string,
  command: string,
  ...args: ReadonlyArray<string>
): Effect.Effect<string, CommandFailed> =>
  Effect.callback((resume) => {
    const options = { cwd: folder, env: environment(), maxBuffer: 64 * 1024 * 1024 }
    const child = execFile(command, args, options, (cause, stdout, stderr) => {
      if (cause === null) return resume(Effect.succeed(stdout))
      const message = `${[command, ...args].join(" ")} in ${folder}\n${stdout}\n${stderr}`
      resume(Effect.fail(new CommandFailed({ message, cause })))
    })
    return Effect.sync(() => child.kill())
  })

/** Runs npm. */
export const npm = (folder: string, ...args: ReadonlyArray<string>): Effect.Effect<string, CommandFailed> =>
  run(folder, "npm", ...args)

/** Runs a program with the Node of this process. */
export const node = (folder: string, ...args: ReadonlyArray<string>): Effect.Effect<string, CommandFailed> =>
  run(folder, process.execPath, ...args)

/** As outside of npm's scripts and of tests: what these have set would be taken for settings of the program. */
const environment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)))

const ours = /^(npm_(package|lifecycle|command|config_local_prefix)|INIT_CWD$|VITEST|TEST$|NODE_)/
