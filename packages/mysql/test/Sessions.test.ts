import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Pool } from "../src/internal/pool.ts"
import { makeSessions } from "../src/internal/sessions.ts"

it("whoever waits for a connection of the pool leaves its queue when nobody wants it any more", async () => {
  let waiting = 0
  const pool = {
    lend: Effect.acquireUseRelease(
      Effect.sync(() => waiting++),
      () => Effect.never,
      () => Effect.sync(() => waiting--)
    )
  } as Partial<Pool> as Pool
  const controller = new AbortController()
  const acquired = makeSessions(pool).acquire(controller.signal)
  assert.strictEqual(waiting, 1)
  controller.abort()
  await acquired.then(() => assert.fail("there is none"), () => {})
  assert.strictEqual(waiting, 0)
})
