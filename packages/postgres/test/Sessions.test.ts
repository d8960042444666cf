import { assert, it } from "@effect/vitest"
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
