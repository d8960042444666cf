import { assert, it } from "@effect/vitest"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { nodeArgs } from "../../../test/kit/Service.ts"

const program = fileURLToPath(new URL("programs/server.ts", import.meta.url))

/** A folder in which the server's user may have another. */
const folder = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "sluice-test-"))
    Fs.chmodSync(folder, 0o711)
    return folder
  }),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true }))
)

const start = (temporary: string, ...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, nodeArgs(program, ...args), {
        env: { ...process.env, TMPDIR: temporary },
        stdio: ["ignore", "pipe", "inherit"]
      })
      let printed = ""
      child.stdout.on("data", (text) => printed += text)
      return { child, port: () => printed.endsWith("\n") ? Number(printed) : undefined }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

const refuses = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = Net.connect(port, "127.0.0.1")
    const end = (result: boolean) => {
      socket.destroy()
      resume(Effect.succeed(result))
    }
    socket.once("connect", () => end(false)).once("error", () => end(true))
  })

const ends = [
  ["SIGTERM", "running"],
  ["SIGINT", "running"],
  ["SIGHUP", "running"],
  ["SIGKILL", "running"],
  ["SIGKILL", "frozen"],
  ["exit", "running"]
] as const

it.live.each(ends)(
  "a server ends, and its folder is gone, with the process that started it: %s, %s",
  ([end, state]) =>
    Effect.gen(function*() {
      const temporary = yield* folder
      const { child, port } = yield* start(temporary, end === "exit" ? end : "wait", state)
      yield* Wait.until("the server", () => port() !== undefined || child.exitCode !== null, { atMost: "1 minute" })
      assert.isNumber(port(), "it did not start")
      if (end !== "exit") child.kill(end)
      yield* Wait.until("the server to end", refuses(port()!), { atMost: "1 minute" })
      yield* Wait.until("its folder to be removed", () => Fs.readdirSync(temporary).length === 0, {
        atMost: "1 minute"
      })
    }).pipe(Effect.scoped),
  180_000
)
