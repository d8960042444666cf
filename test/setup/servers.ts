/** The database servers of a test run: those that environment variables name, or throwaway ones. */
import type * as TestServer from "@sluice/testing/TestServer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { TestProject } from "vitest/node"
import * as Mysqld from "../kit/Mysqld.ts"
import * as PgBouncer from "../kit/PgBouncer.ts"
import * as Servers from "../kit/Servers.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** The URL of a server that tests may create schemas and tables in. */
    readonly postgres: string
    readonly mariadb: string
    /** Empty where tests are to do without it. */
    readonly mysql: string
  }
}

/** The tests behind it are left out where it cannot be had. */
const installPgBouncer = (): void => {
  if (PgBouncer.isAvailable()) return
  try {
    Servers.install(["pgbouncer"])
  } catch {
    console.error("tests do without PgBouncer, which could not be installed")
  }
}

const url = (protocol: string, { database, host, password, port, user }: TestServer.TestServer): string =>
  `${protocol}://${user}:${password}@${host}:${port}/${database}`

const serverUrl = async (scope: Scope.Scope, name: Servers.Name): Promise<string> => {
  if (name === "mysql" && Mysqld.isSkipped) {
    console.error("tests do without MySQL: SLUICE_SKIP_MYSQL=1")
    return ""
  }
  const given = process.env[`SLUICE_${name.toUpperCase()}_URL`]
  if (given !== undefined) return given
  // a deadlock is looked for after a second by default, which tests of deadlocks would spend waiting
  const settings = name === "postgres" ? ["deadlock_timeout=50ms"] : []
  const server = await Effect.runPromise(Scope.provide(Servers.start(name, { durable: false, settings }), scope))
  return url(name === "postgres" ? "postgres" : "mysql", server)
}

export default async function({ provide }: TestProject): Promise<() => Promise<void>> {
  const scope = Scope.makeUnsafe()
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  try {
    await Promise.all(
      (["postgres", "mariadb", "mysql"] as const).map(async (name) => provide(name, await serverUrl(scope, name)))
    )
    installPgBouncer()
  } catch (error) {
    await close()
    throw error
  }
  return close
}
