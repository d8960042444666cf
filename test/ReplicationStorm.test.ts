import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { run } from "./replication/Storm.ts"

it.live(
  "three regions on three databases lose nothing, have nothing twice and agree, whatever is cut or killed meanwhile",
  () =>
    Effect.gen(function*() {
      const { cuts, diverged, doubled, kills, lost, problems, wrong } = yield* run({
        events: 2_000,
        entities: 40,
        lasts: 0.5,
        within: "4 minutes"
      })
      assert.deepStrictEqual(problems, [])
      assert.deepStrictEqual({ lost, doubled, diverged, wrong }, { lost: 0, doubled: 0, diverged: 0, wrong: 0 })
      assert.isAbove(kills * cuts, 0)
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")),
  900_000
)
