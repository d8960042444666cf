/** What a storage says when it cannot connect, and connections that are encrypted. */
import { assert, describe, it, layer } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import { StorageError } from "@sluice/core/StorageError"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import { fromSqlError } from "@sluice/sql/adapter/SqlStorageError"
import { Database } from "@sluice/sql/Database"
import { freePort } from "@sluice/testing/FreePort"
import * as TestServer from "@sluice/testing/TestServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Inspect from "node:util"
import { inject } from "vitest"
import * as Certificates from "../kit/Certificates.ts"
import * as Mysqld from "../kit/Mysqld.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })

type Options = PostgresStorage.Options & MysqlStorage.Options

const servers = [
  { name: "PostgreSQL", start: TestServer.postgres, storage: PostgresStorage.layer, key: "postgres" },
  { name: "MariaDB", start: TestServer.mysql, storage: MysqlStorage.layer, key: "mariadb" },
  ...(inject("mysql") === "" ? [] : [{
    name: "MySQL",
    start: (options: TestServer.Options) =>
      Effect.suspend(() => TestServer.mysql({ ...options, program: Mysqld.find() })),
    storage: MysqlStorage.layer,
    key: "mysql"
  }] as const)
] as const

const addressOf = (key: "postgres" | "mariadb" | "mysql"): Options => {
  const { hostname, password, pathname, port, username } = new URL(inject(key))
  return {
    host: hostname,
    port: Number(port),
    user: username,
    password: Redacted.make(password),
    database: pathname.slice(1)
  }
}

/** Appends an event, and says with what it failed. */
const failure = (storage: (options: Options) => Layer.Layer<Journal.Journal, unknown>, options: Options) =>
  Effect.flip(
    Journal.append(Note, { id: "n", events: ["event"] }).pipe(Effect.provide(storage(options)), Effect.asVoid)
  )

describe.each(servers)("a storage in $name", ({ key, storage }) => {
  const fails = (name: string, change: Effect.Effect<Options>, expected: StorageError["reason"], says: RegExp) =>
    it.effect(`says so when ${name}`, () =>
      Effect.gen(function*() {
        const error = yield* failure(storage, { ...addressOf(key), ...yield* change })
        assert.instanceOf(error, StorageError)
        assert.strictEqual(error.reason, expected)
        assert.match(error.message, says)
        assert.notInclude(error.message, "s3cret")
      }))

  fails(
    "nobody listens",
    Effect.map(freePort, (port) => ({ port })),
    "Unavailable",
    /^connect: nobody listens there: correct host and port, or start the server \(.*ECONNREFUSED/
  )
  fails(
    "there is no such host",
    Effect.succeed({ host: "no.such.host.invalid" }),
    "Unavailable",
    /^connect: (there is no host of that name|names of hosts cannot be looked up at the moment).*no\.such\.host\.invalid/
  )
  fails(
    "it is not let in",
    Effect.succeed({ user: "stranger", password: Redacted.make("s3cret") }),
    "Misconfigured",
    /^connect: (the user or the password is wrong|the server does not let this user in from here, or there is no such user).*stranger/
  )
  fails(
    "there is no such database",
    Effect.succeed({ database: "no_such_database" }),
    "Misconfigured",
    /^connect: .*there is no such database.*no_such_database/
  )
  fails(
    "the server takes no encrypted connections",
    Effect.succeed({ tls: { authority: "" } }),
    "Misconfigured",
    /^connect: .*(SSL|secure|TLS)/i
  )
  it.effect("says so when the URL is none, without what is in it", () =>
    Effect.gen(function*() {
      const error = yield* failure(storage, { url: Redacted.make("postgres://me:s3cret@here:there/db") })
      assert.instanceOf(error, StorageError)
      assert.strictEqual(error.reason, "Misconfigured")
      assert.match(error.message, /^connect: the URL is none: correct it/)
      assert.notInclude(Inspect.inspect(error, { depth: 9 }), "s3cret")
    }))

  it.effect("says so when the URL is of something else", () =>
    Effect.gen(function*() {
      const error = yield* failure(storage, { url: Redacted.make("http://me:s3cret@localhost/db") })
      assert.instanceOf(error, StorageError)
      assert.strictEqual(error.reason, "Misconfigured")
      assert.match(
        error.message,
        /^connect: the URL is none: .*the URL begins with 'http:\/\/', and not with '(postgres|mysql):\/\/'/
      )
    }))

  it.effect.each(["127.0.0.1:5432", "me:s3cret@localhost/db", "localhost/db", ""])(
    "says so when the URL, %j, has no scheme",
    (url) =>
      Effect.gen(function*() {
        const error = yield* failure(storage, { url: Redacted.make(url) })
        assert.instanceOf(error, StorageError)
        assert.strictEqual(error.reason, "Misconfigured")
        assert.match(error.message, /^connect: the URL is none: .*has no scheme: .* with '(postgres|mysql):\/\/'/)
        assert.notInclude(Inspect.inspect(error, { depth: 9 }), "s3cret")
      })
  )

  it.effect("does not wait for ever for somebody who does not answer", () =>
    Effect.gen(function*() {
      const silent = yield* Effect.acquireRelease(
        Effect.callback<Net.Server>((resume) => {
          const server = Net.createServer(() => {}).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = silent.address() as Net.AddressInfo
      const error = yield* failure(storage, { ...addressOf(key), port, connectTimeout: 200 })
      assert.instanceOf(error, StorageError)
      assert.strictEqual(error.reason, "Unavailable")
    }).pipe(Effect.scoped))
})

describe("a storage in PostgreSQL that leads to", () => {
  const greeting = Buffer.from("\x4a\0\0\0\x0a11.4.2-MariaDB\0", "latin1")
  const badRequest = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
  const servers: Record<string, (client: Net.Socket) => unknown> = {
    "MySQL": (client) => client.write(greeting),
    "HTTP": (client) => client.once("data", () => client.end(badRequest))
  }
  it.effect.each(
    [
      ["MySQL", false, "Misconfigured", "no PostgreSQL answers there"],
      ["MySQL", true, "Misconfigured", "no PostgreSQL answers there"],
      ["HTTP", false, "Unavailable", "correct host and port if no PostgreSQL is there"],
      ["HTTP", true, "Misconfigured", "no PostgreSQL answers there"]
    ] as const
  )("%s says so, with 'tls: %s'", ([name, tls, reason, advice]) =>
    Effect.gen(function*() {
      const server = yield* Effect.acquireRelease(
        Effect.callback<Net.Server>((resume) => {
          const server = Net.createServer((client) => {
            client.on("error", () => {})
            servers[name]!(client)
          }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = server.address() as Net.AddressInfo
      const error = yield* failure(PostgresStorage.layer, { ...addressOf("postgres"), port, tls })
      assert.instanceOf(error, StorageError)
      assert.strictEqual(error.reason, reason)
      assert.include(error.message, advice)
    }).pipe(Effect.scoped))

  it.effect("a schema that the user may not use says what to grant", () =>
    Effect.gen(function*() {
      const address = addressOf("postgres")
      const { sql } = yield* Database
      yield* sql`CREATE ROLE poor LOGIN PASSWORD 'poor'`
      yield* sql`CREATE SCHEMA for_others`
      yield* sql`ALTER ROLE poor SET search_path = for_others`
      const error = yield* failure(PostgresStorage.layer, {
        ...address,
        user: "poor",
        password: Redacted.make("poor")
      })
      assert.instanceOf(error, StorageError)
      assert.strictEqual(error.reason, "Misconfigured")
      assert.include(error.message, "or grant USAGE on it")
      yield* sql`DROP SCHEMA for_others`
      yield* sql`DROP ROLE poor`
    }).pipe(Effect.provide(PostgresStorage.layer(addressOf("postgres")))))
})

describe.each(servers.filter(({ key }) => key !== "postgres"))("a storage in $name without a database", ({ key }) => {
  it.effect("says what is missing", () =>
    Effect.gen(function*() {
      const { database: _, ...address } = addressOf(key)
      const error = yield* failure(MysqlStorage.layer, address)
      assert.instanceOf(error, StorageError)
      assert.strictEqual(error.reason, "Misconfigured")
      assert.include(error.message, "connect: no database is named: name it in 'url'")
    }))
})

/** Passes on what a server says, each time after so many milliseconds. */
const slowProxy = (port: number, delay: number): Effect.Effect<number, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Net.Server>((resume) => {
        const server = Net.createServer((client) => {
          const upstream = Net.connect(port, "127.0.0.1")
          const end = () => [client, upstream].forEach((socket) => socket.destroy())
          for (const socket of [client, upstream]) socket.on("error", end).on("close", end)
          client.on("data", (bytes) => upstream.write(bytes))
          upstream.on("data", (bytes) => void setTimeout(() => client.writable && client.write(bytes), delay))
        }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => (server.address() as Net.AddressInfo).port
  )

describe.each(servers)("a connection to $name", ({ key, storage }) => {
  it.effect("is made within the time for it, all of it, or not at all", () =>
    Effect.gen(function*() {
      const address = addressOf(key)
      // each answer comes in time, and all of them together do not
      const port = yield* slowProxy(address.port!, 600)
      const error = yield* failure(storage, { ...address, port, connectTimeout: 1000 })
      assert.instanceOf(error, StorageError)
      assert.strictEqual(error.reason, "Unavailable")
      assert.match(error.message, /^connect: no connection could be made in time:/)
    }).pipe(Effect.scoped))

  it.live(
    "that is waited for is not waited for longer than that, nor once nobody wants it any more",
    () =>
      Effect.gen(function*() {
        const database = yield* Database
        const held = yield* Latch.make()
        const holding = yield* Effect.forkChild(
          database.withTransaction(Effect.andThen(Effect.andThen(database.sql`SELECT 1`, held.open), Effect.never))
        )
        yield* held.await
        const error = yield* Effect.flip(database.sql`SELECT 1`)
        assert.match(
          fromSqlError("ask")(error).message,
          /^ask: no connection of the pool was free in time: keep transactions short, or raise 'poolSize'/
        )
        const waiting = yield* Effect.forkChild(database.sql`SELECT 1`, { startImmediately: true })
        const started = performance.now()
        yield* Fiber.interrupt(waiting)
        // it would have waited for a second, and a busy machine takes its time
        assert.isBelow(performance.now() - started, 900)
        yield* Fiber.interrupt(holding)
        yield* database.sql`SELECT 1`
      }).pipe(Effect.provide(storage({ ...addressOf(key), poolSize: 1, connectTimeout: 1000 }))),
    30_000
  )
})

class Encrypted extends Context.Service<Encrypted, {
  readonly address: Options
  /** Of a server whose certificate has another name. */
  readonly elsewhere: Options
  readonly authority: string
  readonly stranger: string
}>()("sluice/test/Encrypted") {}

for (const { name, start, storage } of Certificates.available ? servers : []) {
  const encrypted = Layer.effect(
    Encrypted,
    Effect.gen(function*() {
      const authority = Certificates.makeAuthority()
      const serverOf = (host: string) =>
        Effect.map(
          start({ durable: false, tls: authority.issue(`DNS:${host}`) }),
          ({ database, password, port, user }): Options => ({
            host: "localhost",
            port,
            user,
            password: Redacted.make(password),
            database
          })
        )
      return {
        address: yield* serverOf("localhost"),
        elsewhere: yield* serverOf("elsewhere"),
        authority: authority.certificate,
        stranger: Certificates.makeAuthority().certificate
      }
    })
  )
  layer(encrypted, { excludeTestServices: true, timeout: "3 minutes" })(`encrypted connections to ${name}`, (it) => {
    it.effect("are made to a server that the authority vouches for", () =>
      Effect.gen(function*() {
        const { address, authority } = yield* Encrypted
        const { sequenceNumber } = yield* Journal.append(Note, { id: "n", events: ["event"] }).pipe(
          Effect.provide(storage({ ...address, tls: { authority } }))
        )
        assert.strictEqual(sequenceNumber, 1)
      }))

    it.effect("are not made to another", () =>
      Effect.gen(function*() {
        const { address, stranger } = yield* Encrypted
        for (const tls of [true, { authority: stranger }]) {
          const error = yield* failure(storage, { ...address, tls })
          assert.instanceOf(error, StorageError)
          assert.strictEqual(error.reason, "Misconfigured")
          assert.match(error.message, /certificate/i)
        }
      }))

    it.effect("are not made to a server of another name", () =>
      Effect.gen(function*() {
        const { authority, elsewhere } = yield* Encrypted
        const error = yield* failure(storage, { ...elsewhere, tls: { authority } })
        assert.instanceOf(error, StorageError)
        assert.strictEqual(error.reason, "Misconfigured")
        assert.match(error.message, /elsewhere/)
      }))
  })
}
