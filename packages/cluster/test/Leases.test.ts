import { assert, describe, it } from "@effect/vitest"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { leases, runner } from "./leases.ts"

describe("leases in SQLite:", () => {
  it.live.each(leases)(
    "%s",
    ([, test]) => Effect.provide(Effect.scoped(test), SqliteStorage.layer({ filename: ":memory:" }))
  )

  it.live("are taken over in time when the clock is set back", () =>
    Effect.gen(function*() {
      let ahead = 600_000_000_000n
      const clock = yield* Clock.Clock
      const nanos = () => clock.currentTimeNanosUnsafe() + ahead
      const set: Clock.Clock = {
        currentTimeMillis: Effect.sync(() => Number(nanos() / 1_000_000n)),
        currentTimeMillisUnsafe: () => Number(nanos() / 1_000_000n),
        currentTimeNanos: Effect.sync(nanos),
        currentTimeNanosUnsafe: nanos,
        monotonicTimeNanos: clock.monotonicTimeNanos,
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
        sleep: (duration) => clock.sleep(duration)
      }
      yield* Effect.gen(function*() {
        const one = yield* runner("one", { expiration: "1 second" })
        const two = yield* runner("two", { expiration: "1 second" })
        yield* one.register
        assert.deepStrictEqual(yield* one.acquire(1), [1])
        assert.deepStrictEqual(yield* two.members, ["one"])
        ahead = 0n
        yield* Wait.until("one to be gone", Effect.map(two.members, (members) => members.length === 0))
        assert.deepStrictEqual(yield* two.acquire(1), [1])
      }).pipe(Effect.provideService(Clock.Clock, set))
    }).pipe(Effect.scoped, Effect.provide(SqliteStorage.layer({ filename: ":memory:" }))))
})
