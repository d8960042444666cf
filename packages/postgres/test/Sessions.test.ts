import { assert, it } from "@effect/vitest"
import { CompiledQuery } from "kysely"
import type Pg from "pg"
import { makeSessions } from "../src/internal/sessions.ts"

it("a connection whose turn comes when nobody wants it any more is given back at once, as it is", async () => {
  const released: Array<unknown> = []
  let give: (client: Pg.PoolClient) => void
  const pool = {
    connect: () => new Promise<Pg.PoolClient>((resolve) => give = resolve)
  } as Partial<Pg.Pool> as Pg.Pool
  const controller = new AbortController()
  const acquired = makeSessions(pool).acquire(controller.signal)
  controller.abort()
  give!({ release: (error) => released.push(error) } as Partial<Pg.PoolClient> as Pg.PoolClient)
  await acquired.then(() => assert.fail("nobody wants it"), () => {})
  assert.deepStrictEqual(released, [undefined])
})

it("a connection is due between two transactions where it is not as it was, or none is left for others", async () => {
  const client = { isChanged: false, isMisled: false, release: () => {} }
  const counts = { totalCount: 1, idleCount: 0, waitingCount: 0 }
  const pool = { connect: async () => client, options: { max: 2 }, ending: false, ...counts }
  const session = await makeSessions(pool as unknown as Pg.Pool).acquire(new AbortController().signal)
  const isDueWith = (change: object): boolean => {
    const before = { ...pool }
    Object.assign(pool, change)
    const isDue = session.isDue!()
    Object.assign(pool, before)
    return isDue
  }
  assert.isFalse(isDueWith({}))
  assert.isFalse(isDueWith({ totalCount: 2, idleCount: 1 }))
  assert.isTrue(isDueWith({ totalCount: 2 }))
  assert.isTrue(isDueWith({ waitingCount: 1 }))
  assert.isTrue(isDueWith({ ending: true }))
  client.isChanged = true
  assert.isTrue(isDueWith({}))
})

it("how a transaction has ended is not taken for how the next one has", async () => {
  const client = { endedAs: "COMMIT", release: () => {} }
  const pool = { connect: async () => client, options: { max: 2 } }
  const session = await makeSessions(pool as unknown as Pg.Pool).acquire(new AbortController().signal)
  const unsent = new Error("Postgres connection has been discarded")
  session.connection.executeQuery = () => Promise.reject(unsent)
  const commit = session.commitAndBegin!("BEGIN", CompiledQuery.raw("UPDATE", [1]))
  assert.strictEqual(await commit.catch((error) => error), unsent)
})
