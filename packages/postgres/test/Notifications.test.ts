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

const Note = EntityType.make("note", { codec: EventCodec.string })
const count = 200

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
        await client.query(`LISTEN "${schema}sluice_events"`)
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
