import { assert, it } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as Slice from "@sluice/core/Slice"
import * as StorageSignals from "@sluice/sql/adapter/StorageSignals"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { watch } from "../src/internal/watch.ts"

/** Heads that a test sets, and which were asked for. */
const makeHeads = () => {
  const asked: Array<string> = []
  const current = { isGone: false, heads: new Map<Slice.Slice, Offset.Offset>() as Offset.Offsets }
  const ask = (kind: string) => (entityType: string): Effect.Effect<Offset.Offsets, string> =>
    Effect.suspend(() => {
      asked.push(`${kind} of ${entityType}`)
      return current.isGone ? Effect.fail("gone") : Effect.succeed(current.heads)
    })
  return { asked, current, heads: { events: ask("events"), states: ask("states") } }
}

/** Several looks. */
const looks = TestClock.adjust(1000)

/** Counts how often it is woken. */
const countWakes = Effect.fnUntraced(function*(changed: Effect.Effect<void>) {
  const woken = { times: 0 }
  yield* changed.pipe(Effect.andThen(Effect.sync(() => void woken.times++)), Effect.forever, Effect.forkScoped)
  return woken
})

it.effect("readers that wait are told that the database is gone, once, and that it is back", () =>
  Effect.gen(function*() {
    const signals = StorageSignals.make()
    const { asked, current, heads } = makeHeads()
    yield* watch(heads, signals)
    const woken = yield* countWakes(yield* signals.events.subscribe("note"))
    yield* looks
    assert.isAbove(asked.length, 3)
    assert.strictEqual(woken.times, 0)
    current.isGone = true
    yield* looks
    assert.strictEqual(woken.times, 1)
    current.isGone = false
    yield* looks
    assert.strictEqual(woken.times, 2)
    assert.strictEqual(signals.reconnections(), 1)
  }))

it.effect("readers that wait are told to look when the database does not answer", () =>
  Effect.gen(function*() {
    const signals = StorageSignals.make()
    const woken = yield* countWakes(yield* signals.events.subscribe("note"))
    yield* watch({ events: () => Effect.never, states: () => Effect.never }, signals)
    yield* TestClock.adjust(2000)
    assert.strictEqual(woken.times, 0)
    yield* TestClock.adjust(2000)
    assert.strictEqual(woken.times, 1)
  }))

it.effect("asks only for what somebody follows: nothing for projections, and nothing once nobody does", () =>
  Effect.gen(function*() {
    const signals = StorageSignals.make()
    const { asked, heads } = makeHeads()
    yield* watch(heads, signals)
    yield* Effect.asVoid(signals.commands.subscribe("notes"))
    yield* looks
    assert.deepStrictEqual(asked, [])
    const scope = yield* Scope.make()
    yield* Scope.provide(Effect.all([signals.states.subscribe("profile"), signals.events.subscribe("note")]), scope)
    yield* looks
    assert.deepStrictEqual(new Set(asked), new Set(["events of note", "states of profile"]))
    yield* Scope.close(scope, Exit.void)
    yield* looks
    asked.length = 0
    yield* looks
    assert.deepStrictEqual(asked, [])
  }))

it.effect("says which slices have changed, once, and not those that this process has written", () =>
  Effect.gen(function*() {
    const signals = StorageSignals.make()
    const { current, heads } = makeHeads()
    yield* watch(heads, signals)
    const woken = yield* countWakes(yield* signals.events.subscribe("note"))
    yield* looks
    current.heads = new Map([[Slice.make(3), Offset.make(1, 1)], [Slice.make(4), Offset.make(7, 1)]])
    yield* looks
    assert.strictEqual(woken.times, 1)
    const marks = signals.events.marks("note")
    assert.deepStrictEqual([marks[2], marks[3], marks[4]], [0, 1, 1])
    assert.deepStrictEqual([...signals.states.marks("note")].filter((mark) => mark > 0), [])
    const written = { slice: Slice.make(4), position: 8 } as EncodedEnvelope
    signals.appended("note", new Set([written.slice]), () => [written])
    current.heads = new Map([[Slice.make(4), Offset.make(8, 2)]])
    yield* looks
    assert.deepStrictEqual([woken.times, marks[4]], [2, 2])
  }))
