/** Python with grpcio, as a process: another implementation of gRPC than ours. */
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFile, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const here = fileURLToPath(new URL(".", import.meta.url))
const root = Path.join(here, "../../..")
const requirements = Path.join(here, "requirements.txt")

export interface Python {
  /** Where the packages are. */
  readonly packages: string
  /** Where the client of the `.proto` is, until `dispose`. */
  readonly generated: string
  readonly dispose: () => void
}

const python3 = async (args: ReadonlyArray<string>, env?: NodeJS.ProcessEnv): Promise<string> => {
  const { stdout } = await promisify(execFile)("python3", args, { env: { ...process.env, ...env }, timeout: 120_000 })
  return stdout.trim()
}

const lastLine = (error: unknown): string => {
  const { message, stderr } = error as { readonly message: string; readonly stderr?: string }
  return (stderr || message).trim().split("\n").at(-1)!
}

/** Installs the packages, where that was not done before, and generates the client of the `.proto`; or says what is missing. */
export const prepare = async (): Promise<Python | { readonly missing: string }> => {
  let version: string
  try {
    version = await python3([
      "-c",
      "import platform; print(platform.python_implementation(), platform.python_version())"
    ])
  } catch (error) {
    return { missing: `python3 does not start: ${lastLine(error)}` }
  }
  const key = createHash("sha256").update(version).update(Fs.readFileSync(requirements)).digest("hex").slice(0, 16)
  const cache = Path.join(root, "node_modules/.cache/python")
  const packages = Path.join(cache, key)
  if (!Fs.existsSync(packages)) {
    Fs.mkdirSync(cache, { recursive: true })
    // under another name until it is complete
    const incomplete = Fs.mkdtempSync(`${packages}-`)
    try {
      const options = ["--only-binary", ":all:", "--no-deps", "--retries", "1", "--quiet"]
      await python3(["-m", "pip", "install", ...options, "--target", incomplete, "--requirement", requirements])
      Fs.renameSync(incomplete, packages)
    } catch (error) {
      Fs.rmSync(incomplete, { recursive: true, force: true })
      if (!Fs.existsSync(packages)) return { missing: `pip does not install grpcio for ${version}: ${lastLine(error)}` }
    }
  }
  const generated = Fs.mkdtempSync(Path.join(tmpdir(), "sluice-generated-"))
  const proto = Path.join(root, "proto")
  const outputs = [`--python_out=${generated}`, `--grpc_python_out=${generated}`]
  await python3(
    ["-m", "grpc_tools.protoc", "-I", proto, ...outputs, "akka/projection/grpc/event_producer.proto"],
    { PYTHONPATH: packages }
  )
  return { packages, generated, dispose: () => Fs.rmSync(generated, { recursive: true, force: true }) }
}

/** A script that runs. */
export interface Running {
  /** What it has printed. */
  readonly lines: ReadonlyArray<string>
  /** Waits for at least `n` lines; dies when it ends before. */
  readonly printed: (n: number) => Effect.Effect<void>
  /** Waits until it has ended by itself, without an error. */
  readonly ended: Effect.Effect<void>
}

/** Runs a script of this folder until it ends, or the scope. */
export const run = (
  python: Python,
  script: string,
  ...args: ReadonlyArray<string>
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn("python3", [Path.join(here, script), ...args], {
          env: {
            ...process.env,
            PYTHONPATH: [python.packages, python.generated].join(Path.delimiter),
            PYTHONDONTWRITEBYTECODE: "1"
          },
          stdio: ["ignore", "pipe", "pipe"]
        })
        const state = { lines: [] as Array<string>, errors: "", code: undefined as number | null | undefined }
        createInterface({ input: child.stdout }).on("line", (line) => state.lines.push(line))
        child.stderr.on("data", (data) => state.errors += data)
        child.on("error", (error) => state.errors += error.message)
        child.on("close", (code) => state.code = code)
        const kill = () => child.kill("SIGKILL")
        process.once("exit", kill)
        return { kill, state }
      }),
      ({ kill }) =>
        Effect.sync(() => {
          process.removeListener("exit", kill)
          kill()
        })
    ),
    ({ state }) => ({
      lines: state.lines,
      printed: (n) =>
        Wait.until(`${n} lines of ${script}`, () => {
          if (state.lines.length < n && state.code !== undefined) throw new Error(`${script} ended: ${state.errors}`)
          return state.lines.length >= n
        }, { atMost: "1 minute" }),
      ended: Wait.until(`the end of ${script}`, () => {
        if (state.code !== undefined && state.code !== 0) throw new Error(`${script} failed: ${state.errors}`)
        return state.code === 0
      }, { atMost: "1 minute" })
    })
  )
