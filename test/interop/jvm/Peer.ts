/** The real Akka Projection gRPC, as a process. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import { fileURLToPath } from "node:url"
import * as Service from "../../kit/Service.ts"

const command = fileURLToPath(new URL("./peer", import.meta.url))

const has = (command: string, ...args: ReadonlyArray<string>): boolean => {
  try {
    execFileSync(command, args, { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

/** What it needs and is not there. */
export const missing = (): ReadonlyArray<string> =>
  ([
    ["Java", has("java", "-version")],
    ["Maven", has("mvn", "-version")],
    ["PostgreSQL", Fs.existsSync("/usr/lib/postgresql") || has("postgres", "--version")],
    ["psql", has("psql", "--version")]
  ] as const).filter(([, found]) => !found).map(([name]) => name)

/** Builds it, where that was not done before. */
export const build = (): void => void execFileSync(command, ["build"], { stdio: ["ignore", "ignore", "inherit"] })

/** What it makes of CRDTs, line by line: of some of its own, or of deltas that it is given. */
export const crdts = (mode: "write" | "apply", input = ""): ReadonlyArray<string> =>
  execFileSync(command, ["crdts", "--mode", mode], {
    input,
    encoding: "utf8",
    stdio: ["pipe", "pipe", "inherit"],
    timeout: 120_000
  }).trim().split("\n").filter((line) => / 40:[A-Z]{2}( |$)|^40:/.test(line))

/** Settings of its command line. */
export type Settings = Readonly<Record<string, string | number>>

/** With settings, which may be others each time that it is started. */
export const start = (
  mode: "consume" | "produce" | "replica",
  settings: Settings | (() => Settings),
  onLine?: (line: string) => void
): Effect.Effect<Service.Service, never, Scope.Scope> =>
  Service.start({
    command,
    args: () => [
      mode,
      ...Object.entries(typeof settings === "function" ? settings() : settings).flatMap((
        [name, value]
      ) => [`--${name}`, `${value}`])
    ],
    onLine
  })

/** Settings that name a database. */
export const database = (
  server: { readonly host: string; readonly port: number; readonly user: string; readonly database: string }
) => ({
  "db-host": server.host,
  "db-port": server.port,
  db: server.database,
  "db-user": server.user,
  "db-password": "x"
})
