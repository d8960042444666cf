/** A PgBouncer in front of a PostgreSQL. */
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"

const find = () =>
  ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"].find((file) => Fs.existsSync(file))

/** Whether there is one; tests that need it are left out elsewhere, by name. */
export const isAvailable = (): boolean => find() !== undefined

/** It does not run as root. */
const identity = (): { readonly uid?: number; readonly gid?: number } => {
  if (process.getuid?.() !== 0) return {}
  const nobody = Fs.readFileSync("/etc/passwd", "utf8").split("\n").find((line) => line.startsWith("nobody:"))
  const [, , uid, gid] = nobody!.split(":")
  return { uid: Number(uid), gid: Number(gid) }
}

const accepts = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = Net.connect(port, "127.0.0.1")
    const end = (result: boolean) => {
      socket.destroy()
      resume(Effect.succeed(result))
    }
    socket.once("connect", () => end(true)).once("error", () => end(false))
  })

type Mode = "session" | "transaction" | "statement"

export interface PgBouncer {
  readonly port: number
  /** Goes on in another mode, as its operator has it. */
  readonly reload: (mode: Mode) => Effect.Effect<void>
}

/** Starts one for a server's user that needs no password. */
export const start = (options: {
  readonly port: number
  readonly user: string
  readonly database: string
  readonly mode: Mode
}): Effect.Effect<PgBouncer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const port = yield* freePort
    const { reload } = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "sluice-pgbouncer-"))
        const write = (name: string, lines: ReadonlyArray<string>): string => {
          const file = Path.join(folder, name)
          Fs.writeFileSync(file, `${lines.join("\n")}\n`)
          return file
        }
        const users = write("users.txt", [`"${options.user}" ""`])
        const settingsFor = (mode: Mode) =>
          write("pgbouncer.ini", [
            "[databases]",
            `${options.database} = host=127.0.0.1 port=${options.port} dbname=${options.database}`,
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            `listen_port = ${port}`,
            "auth_type = trust",
            `auth_file = ${users}`,
            "unix_socket_dir =",
            `pool_mode = ${mode}`,
            "default_pool_size = 40"
          ])
        const settings = settingsFor(options.mode)
        const owner = identity()
        if (owner.uid !== undefined) {
          for (const file of [folder, users, settings]) Fs.chownSync(file, owner.uid, owner.gid!)
        }
        const child = spawn(find()!, ["-q", settings], { ...owner, cwd: "/", stdio: "ignore" })
        const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
        const kill = () => child.kill("SIGKILL")
        process.once("exit", kill)
        const reload: PgBouncer["reload"] = (mode) =>
          Effect.sync(() => {
            settingsFor(mode)
            child.kill("SIGHUP")
          })
        return { folder, exited, kill, reload }
      }),
      ({ exited, folder, kill }) =>
        Effect.promise(async () => {
          process.removeListener("exit", kill)
          kill()
          await exited
          Fs.rmSync(folder, { recursive: true, force: true })
        })
    )
    yield* Wait.until("PgBouncer to listen", accepts(port))
    return { port, reload }
  })
