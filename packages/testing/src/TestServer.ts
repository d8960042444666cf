/**
 * Throwaway database servers for tests.
 *
 * Each server runs from a data folder of its own, listens on a free loopback port, and is gone with the scope that started it, or
 * with the process, however that ends. Its programs are found where Debian and others install them. Where the current user is root
 * the servers run as an unprivileged user, as they refuse to run as root.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { execFile, execFileSync, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { freePort } from "./FreePort.ts"
import * as ServerGuard from "./internal/serverGuard.ts"

/**
 * A server's programs are missing, or it does not start.
 *
 * @category errors
 * @since 0.1.0
 */
export class TestServerError extends Data.TaggedError("TestServerError")<{
  readonly server: string
  readonly reason: "NotInstalled" | "StartFailed"
  readonly message: string
  readonly cause?: unknown
}> {}

/**
 * A running server.
 *
 * @category models
 * @since 0.1.0
 */
export interface TestServer {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  readonly version: string
}

/**
 * A server that a test may kill.
 *
 * @category models
 * @since 0.1.0
 */
export interface ControlledServer extends TestServer {
  /** Sends SIGKILL, and waits for the end of the process. */
  readonly kill: Effect.Effect<void>
  /** Starts it again on the same port, and waits until it can be reached. */
  readonly start: Effect.Effect<void, TestServerError>
  /** Sends SIGSTOP to all its processes: connections stay, and nothing answers on them. */
  readonly freeze: Effect.Effect<void>
  /** Sends SIGCONT. */
  readonly thaw: Effect.Effect<void>
}

/**
 * How a server is started.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * Whether acknowledged commits survive a kill of the server. By default they do not, which is faster. Tests that kill
   * it, and benchmarks, need it durable.
   */
  readonly durable: boolean
  /** As PEM: the server then takes encrypted connections, too. */
  readonly tls?: { readonly certificate: string; readonly key: string } | undefined
  /** The server's settings, such as `wal_level=replica` or `log-bin=binlog`. */
  readonly settings?: ReadonlyArray<string> | undefined
}

interface Identity {
  readonly uid?: number
  readonly gid?: number
}

const identityOf = (users: ReadonlyArray<string>): Identity => {
  if (process.getuid?.() !== 0) return {}
  const passwd = new Map(
    Fs.readFileSync("/etc/passwd", "utf8").split("\n").map((line) => {
      const [name, , uid, gid] = line.split(":")
      return [name!, { uid: Number(uid), gid: Number(gid) }] as const
    })
  )
  return users.map((user) => passwd.get(user)).find((entry) => entry !== undefined) ?? {}
}

const locate = (name: string, folders: ReadonlyArray<string>): string | undefined =>
  [...folders, ...(process.env["PATH"] ?? "").split(Path.delimiter), "/usr/local/bin", "/usr/sbin", "/usr/local/sbin"]
    .map((folder) => Path.join(folder, name))
    .find((file) => Fs.existsSync(file))

const postgresFolders = (): ReadonlyArray<string> => {
  const root = "/usr/lib/postgresql"
  const installed = Fs.existsSync(root)
    ? Fs.readdirSync(root).toSorted((a, b) => Number(b) - Number(a)).map((version) => Path.join(root, version, "bin"))
    : []
  const chosen = process.env["POSTGRES_BIN"]
  return chosen === undefined ? installed : [chosen, ...installed]
}

const run = (server: string, file: string, args: ReadonlyArray<string>, identity: Identity) =>
  Effect.callback<string, TestServerError>((resume) => {
    execFile(file, args, { ...identity, cwd: "/", encoding: "utf8" }, (error, stdout, stderr) =>
      resume(
        error === null
          ? Effect.succeed(stdout)
          : Effect.fail(
            new TestServerError({ server, reason: "StartFailed", message: `${file}: ${stderr || error.message}` })
          )
      ))
  })

// where there is one, a file system in memory halves the time to start
const memoryFolder = process.env["TMPDIR"] === undefined && Fs.existsSync("/dev/shm") ? "/dev/shm" : Os.tmpdir()

/** The folder of a server, and what removes it and ends the server if the process ends before the scope. */
const temporaryFolder = (prefix: string, identity: Identity, { durable }: Options) =>
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const folder = Fs.mkdtempSync(Path.join(durable ? Os.tmpdir() : memoryFolder, prefix))
        if (identity.uid !== undefined) Fs.chownSync(folder, identity.uid, identity.gid!)
        return folder
      }),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
    )
    return { folder, guard: yield* ServerGuard.make(folder) }
  })

/** Writes what only the server may read. */
const writeTls = (folder: string, identity: Identity, tls: NonNullable<Options["tls"]>) => {
  const write = (name: string, content: string): string => {
    const file = Path.join(folder, name)
    Fs.writeFileSync(file, content, { mode: 0o600 })
    if (identity.uid !== undefined) Fs.chownSync(file, identity.uid, identity.gid!)
    return file
  }
  return { certificate: write("tls.crt", tls.certificate), key: write("tls.key", tls.key) }
}

interface Daemon {
  readonly file: string
  readonly args: ReadonlyArray<string>
  readonly identity: Identity
  readonly guard: ServerGuard.ServerGuard
  readonly stopSignal: NodeJS.Signals
  readonly log: string
  readonly port: number
  /** What is said to a server that does not speak first, and whether it lets in who says so, by the answer. */
  readonly greeting?: { readonly hello: Buffer; readonly isLetIn: (answer: Buffer) => boolean } | undefined
}

/** The processes of a process: PostgreSQL has one for each connection, and some of its own. */
const childrenOf = (pid: number): ReadonlyArray<number> => {
  const file = `/proc/${pid}/task/${pid}/children`
  const listed = Fs.existsSync(file)
    ? Fs.readFileSync(file, "utf8").trim().split(/\s+/)
    : execFileSync("ps", ["-A", "-o", "ppid=,pid="], { encoding: "utf8" }).split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter(([parent]) => Number(parent) === pid)
      .map(([, child]) => child)
  return listed.map(Number).filter((child) => child > 0)
}

/** It may have ended meanwhile. */
const send = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal)
  } catch {}
}

const start = (server: string, daemon: Daemon) =>
  Effect.gen(function*() {
    const launch = Effect.sync(() => {
      const log = Fs.openSync(daemon.log, "a")
      const child = spawn(daemon.file, daemon.args, { ...daemon.identity, cwd: "/", stdio: ["ignore", log, log] })
      Fs.closeSync(log)
      if (child.pid !== undefined) daemon.guard.watch(child.pid, daemon.stopSignal)
      const exited = new Promise<void>((resolve) =>
        child.once("exit", () => {
          daemon.guard.forget()
          resolve()
        })
      )
      return { child, exited }
    })
    const { end, state } = yield* Effect.acquireRelease(
      Effect.map(launch, (current) => {
        const state = { current }
        const end = (signal: NodeJS.Signals) =>
          Effect.promise(() => {
            const { child, exited } = state.current
            if (child.exitCode === null && child.signalCode === null) {
              const children = childrenOf(child.pid!)
              child.kill(signal)
              // those that are frozen could not end
              for (const pid of [child.pid!, ...children]) send(pid, "SIGCONT")
            }
            return exited
          })
        return { end, state }
      }),
      ({ end }) => end(daemon.stopSignal)
    )
    /** One that does not start is gone soon. */
    const up = Effect.suspend(() =>
      Effect.raceFirst(
        accepting(server, daemon),
        Effect.andThen(Effect.promise(() => state.current.exited), failed(server, daemon))
      )
    )
    yield* up
    /** First to the process that would start others. */
    const signal = (signal: NodeJS.Signals) =>
      Effect.sync(() => {
        const pid = state.current.child.pid!
        send(pid, signal)
        for (const child of childrenOf(pid)) send(child, signal)
      })
    return {
      kill: end("SIGKILL"),
      start: Effect.andThen(
        Effect.map(launch, (current) => {
          state.current = current
        }),
        up
        // the processes of a killed server take a moment to end, and it does not start before
      ).pipe(Effect.retry({ times: 50, schedule: Schedule.spaced("100 millis") })),
      freeze: signal("SIGSTOP"),
      thaw: signal("SIGCONT")
    }
  })

const failed = (server: string, { log }: Daemon, cause?: unknown) =>
  Effect.suspend(() =>
    Effect.fail(
      new TestServerError({
        server,
        reason: "StartFailed",
        message: Fs.existsSync(log) ? Fs.readFileSync(log, "utf8").slice(-2000) : "no log",
        cause
      })
    )
  )

const accepting = (server: string, daemon: Daemon) =>
  Effect.callback<void, TestServerError>((resume) => {
    const { greeting, port } = daemon
    const socket = Net.connect(port, "127.0.0.1")
    const end = (result: Effect.Effect<void, TestServerError>) => {
      socket.destroy()
      resume(result)
    }
    const notYet = (cause?: unknown) => end(failed(server, daemon, cause))
    socket.once("connect", () => {
      if (greeting === undefined) return end(Effect.void)
      socket.write(greeting.hello)
    })
    socket.once("data", (answer) => greeting?.isLetIn(answer) === true ? end(Effect.void) : notYet())
    socket.once("error", notYet)
    socket.once("end", notYet)
    return Effect.sync(() => socket.destroy())
    // it takes a second or two, and much longer on a machine that is busy: one that cannot start is noticed, as it ends
  }).pipe(Effect.retry({ times: 5000, schedule: Schedule.spaced("25 millis") }))

/** The first message of a connection to PostgreSQL: protocol 3.0, a user and a database. */
const startupMessage = (() => {
  const parameters = Buffer.from("user\0test\0database\0postgres\0\0")
  const head = Buffer.alloc(8)
  head.writeInt32BE(head.length + parameters.length, 0)
  head.writeInt32BE(3 << 16, 4)
  return Buffer.concat([head, parameters])
})()

/**
 * Starts a throwaway PostgreSQL.
 *
 * @category constructors
 * @since 0.1.0
 */
export const postgres = (options: Options): Effect.Effect<ControlledServer, TestServerError, Scope.Scope> =>
  Effect.gen(function*() {
    const folders = postgresFolders()
    const initdb = locate("initdb", folders)
    const binary = locate("postgres", folders)
    if (initdb === undefined || binary === undefined) {
      return yield* new TestServerError({
        server: "postgres",
        reason: "NotInstalled",
        message: "No PostgreSQL server found: install one, or set POSTGRES_BIN to its bin folder"
      })
    }
    const identity = identityOf(["postgres", "nobody"])
    const { folder, guard } = yield* temporaryFolder("sluice-postgres-", identity, options)
    const data = Path.join(folder, "data")
    const flags = "-U test -A trust -E UTF8 --no-locale --no-sync --no-instructions".split(" ")
    yield* run("postgres", initdb, ["-D", data, ...flags], identity)
    const port = yield* freePort
    const tls = options.tls && writeTls(folder, identity, options.tls)
    const settings = [
      ...(tls === undefined ? [] : ["ssl=on", `ssl_cert_file=${tls.certificate}`, `ssl_key_file=${tls.key}`]),
      "listen_addresses=127.0.0.1",
      "max_connections=200",
      "wal_level=minimal",
      "max_wal_senders=0",
      ...(options.durable ? [] : ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]),
      ...(options.settings ?? [])
    ]
    const control = yield* start("postgres", {
      file: binary,
      args: ["-D", data, "-p", String(port), "-k", folder, ...settings.flatMap((setting) => ["-c", setting])],
      identity,
      guard,
      stopSignal: "SIGQUIT",
      log: Path.join(folder, "server.log"),
      port,
      // it listens before it lets anybody in
      greeting: { hello: startupMessage, isLetIn: (answer) => !answer.includes("57P03") }
    })
    const version = yield* run("postgres", binary, ["--version"], identity)
    return {
      host: "127.0.0.1",
      port,
      user: "test",
      password: "",
      database: "postgres",
      version: version.trim(),
      ...control
    }
  })

/**
 * Starts a throwaway MariaDB, or MySQL where there is no MariaDB, or what `program` is: the file of a `mysqld` or `mariadbd`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const mysql = (
  options: Options & { readonly program?: string | undefined }
): Effect.Effect<ControlledServer, TestServerError, Scope.Scope> =>
  Effect.gen(function*() {
    const binary = options.program ?? locate("mariadbd", []) ?? locate("mysqld", [])
    if (binary === undefined) {
      return yield* new TestServerError({
        server: "mysql",
        reason: "NotInstalled",
        message: "No MariaDB or MySQL server found: install one (Debian: mariadb-server-core mariadb-client-core)"
      })
    }
    const identity = identityOf(["mysql", "nobody"])
    const { folder, guard } = yield* temporaryFolder("sluice-mysql-", identity, options)
    const data = Path.join(folder, "data")
    const version = (yield* run("mysql", binary, ["--version"], identity)).trim()
    const isMariaDB = version.includes("MariaDB")
    const common = ["--no-defaults", `--datadir=${data}`, `--tmpdir=${folder}`, "--skip-name-resolve"]
    if (isMariaDB) {
      yield* run("mysql", locate("mariadb-install-db", ["/usr/bin"])!, [
        ...common,
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--innodb-log-file-size=16M",
        "--innodb-flush-log-at-trx-commit=0"
      ], identity)
    } else {
      yield* run("mysql", binary, [...common, "--initialize-insecure", "--innodb-redo-log-capacity=16M"], identity)
    }
    // a statement a line, as the server reads it; run again at each start
    const init = Path.join(folder, "init.sql")
    Fs.writeFileSync(
      init,
      [
        "CREATE USER IF NOT EXISTS 'test'@'%' IDENTIFIED BY 'test';",
        "GRANT ALL ON *.* TO 'test'@'%';",
        // the server's administrator, who has no password
        "CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';",
        "GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;",
        "CREATE DATABASE IF NOT EXISTS test;"
      ].join("\n")
    )
    const tls = options.tls && writeTls(folder, identity, options.tls)
    const port = yield* freePort
    const control = yield* start("mysql", {
      file: binary,
      args: [
        ...common,
        ...(isMariaDB
          ? ["--innodb-log-file-size=16M"]
          // by default it would make a certificate, and listen on another port
          : ["--innodb-redo-log-capacity=16M", "--mysqlx=OFF", ...(tls === undefined ? ["--tls-version="] : [])]),
        ...(tls === undefined ? [] : [`--ssl-cert=${tls.certificate}`, `--ssl-key=${tls.key}`]),
        `--socket=${Path.join(folder, "s")}`,
        `--pid-file=${Path.join(folder, "pid")}`,
        "--bind-address=127.0.0.1",
        `--port=${port}`,
        `--init-file=${init}`,
        `--innodb-flush-log-at-trx-commit=${options.durable ? 1 : 0}`,
        "--sync-binlog=0",
        "--skip-log-bin",
        "--max-connections=200",
        ...(options.settings ?? []).map((setting) => `--${setting}`)
      ],
      identity,
      guard,
      stopSignal: "SIGKILL",
      log: Path.join(folder, "server.log"),
      port
    })
    return { host: "127.0.0.1", port, user: "test", password: "test", database: "test", version, ...control }
  })
