import { assert, it } from "@effect/vitest"
import type { Offsets } from "@sluice/core/Offset"
import * as AppendSignals from "@sluice/sql/adapter/AppendSignals"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import { watch } from "../src/internal/watch.ts"

it.live("readers that wait are told that the database is gone, once, and that it is back", () =>
  Effect.gen(function*() {
    const signals = AppendSignals.make()
    let isGone = false
    let asked = 0
    const heads = () =>
      Effect.suspend((): Effect.Effect<Offsets, string> => {
        asked++
        return isGone ? Effect.fail("gone") : Effect.succeed(new Map())
      })
    yield* watch(heads, signals)
    const changed = yield* signals.subscribe("note")
    let woken = 0
    yield* changed.pipe(Effect.andThen(Effect.sync(() => void woken++)), Effect.forever, Effect.forkScoped)
    const some = (n: number) => Wait.until(`${n} more looks`, ((from) => () => asked >= from + n)(asked))
    yield* some(3)
    assert.strictEqual(woken, 0)
    isGone = true
    yield* Wait.until("the reader to be woken", () => woken === 1)
    yield* some(3)
    assert.strictEqual(woken, 1)
    isGone = false
    yield* Wait.until("the reader to be woken again", () => woken === 2)
    assert.strictEqual(signals.reconnections(), 1)
  }))
