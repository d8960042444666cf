/**
 * The database servers of a test run: those that environment variables name, or throwaway ones of this machine's programs, which
 * are installed where there are none and the system is Debian's kind.
 */
import * as TestServer from "@sluice/testing/TestServer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import type { TestProject } from "vitest/node"
import * as Mysqld from "../kit/Mysqld.ts"
import * as PgBouncer from "../kit/PgBouncer.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** The URL of a server that tests may create schemas and tables in. */
    readonly postgres: string
    readonly mariadb: string
    /** Empty where tests are to do without it. */
    readonly mysql: string
  }
}

const asRoot = (...command: ReadonlyArray<string>): void => {
  const [file, ...args] = process.getuid?.() === 0 ? command : ["sudo", "-n", ...command]
  execFileSync(file!, args, {
    stdio: ["ignore", "ignore", "inherit"],
    // at this run level no package starts its service
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" }
  })
}

const install = (packages: ReadonlyArray<string>): void => {
  console.error(`installing ${packages.join(" ")}`)
  asRoot("apt-get", "update", "-qq")
  asRoot("apt-get", "install", "-y", "-qq", "--no-install-recommends", ...packages)
}

/** Debian's package makes a server of its own and starts it, if it is not told otherwise. */
const installPostgres = (): void => {
  const folder = "/etc/postgresql-common"
  if (process.getuid?.() === 0 && !Fs.existsSync(`${folder}/createcluster.conf`)) {
    Fs.mkdirSync(folder, { recursive: true })
    Fs.writeFileSync(`${folder}/createcluster.conf`, "create_main_cluster = false\n")
  }
  install(["postgresql"])
}

/** The tests behind it are left out where it cannot be had. */
const installPgBouncer = (): void => {
  if (PgBouncer.isAvailable()) return
  try {
    install(["pgbouncer"])
  } catch {
    console.error("tests do without PgBouncer, which could not be installed")
  }
}

const throwaway = (
  scope: Scope.Scope,
  start: Effect.Effect<TestServer.TestServer, TestServer.TestServerError, Scope.Scope>,
  install: () => void
): Promise<TestServer.TestServer> => {
  const starting = Scope.provide(start, scope)
  return Effect.runPromise(
    Effect.catchIf(
      starting,
      (error) => error.reason === "NotInstalled" && Fs.existsSync("/usr/bin/apt-get"),
      () => Effect.andThen(Effect.sync(install), starting)
    )
  )
}

const url = (protocol: string, { database, host, password, port, user }: TestServer.TestServer): string =>
  `${protocol}://${user}:${password}@${host}:${port}/${database}`

const options = { durable: false }

const postgres = async (scope: Scope.Scope): Promise<string> =>
  process.env["SLUICE_POSTGRES_URL"] ??
    url("postgres", await throwaway(scope, TestServer.postgres(options), installPostgres))

const mariadb = async (scope: Scope.Scope): Promise<string> =>
  process.env["SLUICE_MARIADB_URL"] ?? url(
    "mysql",
    await throwaway(
      scope,
      TestServer.mysql(options),
      () => install(["mariadb-server-core", "mariadb-client-core"])
    )
  )

const mysql = async (scope: Scope.Scope): Promise<string> => {
  if (Mysqld.isSkipped) {
    console.error("tests do without MySQL: SLUICE_SKIP_MYSQL=1")
    return ""
  }
  return process.env["SLUICE_MYSQL_URL"] ?? url(
    "mysql",
    await throwaway(scope, Effect.suspend(() => TestServer.mysql({ ...options, program: Mysqld.find() })), () => {})
  )
}

export default async function({ provide }: TestProject): Promise<() => Promise<void>> {
  const scope = Scope.makeUnsafe()
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  try {
    // one after the other: two installations at once do not work
    provide("postgres", await postgres(scope))
    provide("mariadb", await mariadb(scope))
    provide("mysql", await mysql(scope))
    installPgBouncer()
  } catch (error) {
    await close()
    throw error
  }
  return close
}
