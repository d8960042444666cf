import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Slice from "@sluice/core/Slice"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import Pg from "pg"
import { inject } from "vitest"
import { hello } from "../src/internal/notification.ts"
import { listen } from "../src/internal/Notifier.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const count = 200

const tells = (slice: number) => (payload: string) => (JSON.parse(payload) as Array<number>).slice(3).includes(slice)

it.live("tells others of every slice, in few notifications, and of the last before it leaves", () =>
  Effect.gen(function*() {
    const url = inject("postgres")
    const schema = `s_${crypto.randomUUID().slice(0, 8)}`
    const payloads: Array<string> = []
    const admin = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const client = new Pg.Client({ connectionString: url })
        client.on("notification", ({ payload }) => payloads.push(payload!))
        await client.connect()
        await client.query(`CREATE SCHEMA ${schema}`)
        await client.query(listen(`${schema}sluice_events`))
        return client
      }),
      (client) => Effect.promise(() => client.query(`DROP SCHEMA ${schema} CASCADE`).then(() => client.end()))
    )
    const expected = new Set<number>()
    let milliseconds = 0
    yield* Effect.gen(function*() {
      yield* Journal.append(Note, { id: "first", events: ["written"] })
      yield* Wait.until("the first notification", () => payloads.length > 0)
      const start = performance.now()
      for (let i = 0; i < count; i++) {
        const { slice } = yield* Journal.append(Note, { id: `n-${i}`, events: ["written"] })
        expected.add(slice)
      }
      milliseconds = performance.now() - start
    }).pipe(Effect.provide(PostgresStorage.layer({ url, schema })))
    const told = () => new Set(payloads.flatMap((payload) => (JSON.parse(payload) as Array<number>).slice(3)))
    // what was sent last has arrived when the server answers
    yield* Effect.promise(() => admin.query("SELECT 1"))
    const known = told()
    assert.isTrue(
      [...expected].every((slice) => known.has(slice)),
      `${told().size} of ${expected.size} of ${Slice.count} slices`
    )
    assert.isBelow(payloads.length, 5 + milliseconds / 5)
  }).pipe(Effect.scoped))

it.live("notifies nobody while nobody else listens, and tells whoever comes", () =>
  Effect.gen(function*() {
    const url = inject("postgres")
    const schema = `s_${crypto.randomUUID().slice(0, 8)}`
    const channel = `${schema}sluice_events`
    const open = Effect.acquireRelease(
      Effect.promise(async () => {
        const payloads: Array<string> = []
        const client = new Pg.Client({ connectionString: url })
        client.on("notification", ({ payload }) => payloads.push(payload!))
        await client.connect()
        return { client, payloads }
      }),
      ({ client }) => Effect.promise(() => client.end())
    )
    const admin = yield* open
    yield* Effect.acquireRelease(
      Effect.promise(() => admin.client.query(`CREATE SCHEMA ${schema}`)),
      () => Effect.promise(() => admin.client.query(`DROP SCHEMA ${schema} CASCADE`))
    )
    // it sees what is told, and does not say that it listens
    yield* Effect.promise(() => admin.client.query(`LISTEN "${channel}"`))
    yield* Effect.gen(function*() {
      for (let i = 0; i < 20; i++) yield* Journal.append(Note, { id: `alone-${i}`, events: ["written"] })
      const comer = yield* open
      yield* Effect.promise(async () => {
        await comer.client.query(listen(channel))
        await comer.client.query("SELECT pg_notify($1, $2)", [channel, hello("comer")])
      })
      // which has it look for everything that it was not told
      yield* Wait.until("the answer", () => comer.payloads.filter((payload) => payload.includes("hello")).length === 2)
      const { slice } = yield* Journal.append(Note, { id: "n", events: ["written"] })
      yield* Wait.until("the notification", () => comer.payloads.some(tells(slice)))
      // two greetings, and of what was written before it listens at most what was under way
      assert.isAtMost(admin.payloads.length, 4)
      // the others of the service count as well
      yield* Effect.promise(() => comer.client.end())
      const before = admin.payloads.length
      yield* Wait.until(
        "the other instance to be told",
        Effect.gen(function*() {
          yield* Journal.append(Note, { id: "again", events: ["written"] })
          return admin.payloads.length > before
        })
      ).pipe(Effect.provide(PostgresStorage.layer({ url, schema })))
    }).pipe(Effect.provide(PostgresStorage.layer({ url, schema })))
  }).pipe(Effect.scoped))

it.live("listens again soon, however often its connection was lost before", () =>
  Effect.gen(function*() {
    const url = inject("postgres")
    const schema = `s_${crypto.randomUUID().slice(0, 8)}`
    const admin = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const client = new Pg.Client({ connectionString: url })
        await client.connect()
        await client.query(`CREATE SCHEMA ${schema}`)
        return client
      }),
      (client) => Effect.promise(() => client.query(`DROP SCHEMA ${schema} CASCADE`).then(() => client.end()))
    )
    const kill = Effect.promise(() =>
      admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", [
        `${schema} events`
      ])
    )
    const start = performance.now()
    yield* Effect.gen(function*() {
      for (let i = 0; i < 12; i++) {
        yield* Wait.until("it to listen", Effect.map(kill, ({ rowCount }) => rowCount === 1))
      }
    }).pipe(Effect.provide(PostgresStorage.layer({ url, schema, applicationName: schema })))
    // with longer and longer waits it would take 30
    assert.isBelow((performance.now() - start) / 1000, 20)
  }).pipe(Effect.scoped))
