/** Throwaway database servers of this machine's programs, which are installed where there are none and the system is Debian's kind. */
import * as TestServer from "@sluice/testing/TestServer"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Mysqld from "./Mysqld.ts"

export type Name = "postgres" | "mariadb" | "mysql"

/** Starts a server, and installs it before if need be. */
export const start = (
  name: Name,
  options: TestServer.Options
): Effect.Effect<TestServer.ControlledServer, TestServer.TestServerError, Scope.Scope> => {
  const { install, start } = kinds[name]
  return Effect.catchIf(
    start(options),
    ({ reason }) => reason === "NotInstalled" && install !== undefined && Fs.existsSync("/usr/bin/apt-get"),
    (error) =>
      Effect.andThen(
        Effect.try({
          try: install!,
          catch: (cause) =>
            new TestServer.TestServerError({
              server: error.server,
              reason: error.reason,
              message: `${error.message}. It could not be installed, see above`,
              cause
            })
        }),
        start(options)
      )
  )
}

interface Kind {
  readonly start: typeof TestServer.postgres
  readonly install?: (() => void) | undefined
}

const kinds: Record<Name, Kind> = {
  postgres: { start: TestServer.postgres, install: () => installPostgres() },
  mariadb: { start: TestServer.mysql, install: () => install(["mariadb-server-core", "mariadb-client-core"]) },
  // it is unpacked when it is looked for
  mysql: {
    start: (options) =>
      Effect.try({
        try: () => Mysqld.find(),
        catch: (cause) =>
          new TestServer.TestServerError({
            server: "mysql",
            reason: "NotInstalled",
            message: (cause as Error).message,
            cause
          })
      }).pipe(Effect.flatMap((program) => TestServer.mysql({ ...options, program })))
  }
}

/** Installs Debian's packages. It is synchronous, as two installations at once do not work. */
export const install = (packages: ReadonlyArray<string>): void => {
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

const asRoot = (...command: ReadonlyArray<string>): void => {
  const [file, ...args] = process.getuid?.() === 0 ? command : ["sudo", "-n", ...command]
  execFileSync(file!, args, {
    stdio: ["ignore", "ignore", "inherit"],
    // at this run level no package starts its service
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" }
  })
}
