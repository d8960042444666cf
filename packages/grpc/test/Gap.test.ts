import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Gap } from "../src/internal/server/Gap.ts"

/** Something new in each of so many turns of the event loop, and a page that wants to be read meanwhile. Says what has come before the page. */
const before = (turns: number) =>
  Effect.gen(function*() {
    const gap = new Gap()
    let written = 0
    const writing = Effect.gen(function*() {
      while (written < turns) {
        yield* gap.wrote
        written++
        yield* Effect.yieldNow
      }
    })
    const writer = yield* Effect.forkChild(writing, { startImmediately: true })
    yield* gap.turn
    const came = written
    yield* Fiber.interrupt(writer)
    return came
  })

it.effect("a page waits while something new is written in each turn, and no longer than a few turns", () =>
  Effect.gen(function*() {
    assert.strictEqual(yield* before(1), 1)
    assert.strictEqual(yield* before(3), 3)
    const many = yield* before(1_000)
    assert.isTrue(many > 3 && many < 8, String(many))
  }))

it.effect("pages come one after the other, each with a turn of its own", () =>
  Effect.gen(function*() {
    const gap = new Gap()
    let turns = 0
    const counting = yield* Effect.forkChild(
      Effect.forever(Effect.andThen(Effect.sync(() => turns++), Effect.yieldNow)),
      { startImmediately: true }
    )
    const page = Effect.map(gap.turn, () => turns)
    const seen = yield* Effect.all([page, page, page], { concurrency: "unbounded" })
    yield* Fiber.interrupt(counting)
    assert.strictEqual(new Set(seen).size, 3)
  }))

it.effect("a stream that is gone keeps no page from being read", () =>
  Effect.gen(function*() {
    const gap = new Gap()
    const writer = yield* Effect.forkChild(gap.wrote, { startImmediately: true })
    yield* Fiber.interrupt(writer)
    let turns = 0
    const counting = yield* Effect.forkChild(
      Effect.forever(Effect.andThen(Effect.sync(() => turns++), Effect.yieldNow)),
      { startImmediately: true }
    )
    yield* gap.turn
    yield* Fiber.interrupt(counting)
    assert.isBelow(turns, 4)
  }))
