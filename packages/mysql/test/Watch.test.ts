import { assert, it } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { AppendRequest } from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { make as persistenceIdOf } from "@sluice/core/PersistenceId"
import * as Slice from "@sluice/core/Slice"
import * as StorageSignals from "@sluice/sql/adapter/StorageSignals"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { UnderWay } from "../src/internal/UnderWay.ts"
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

/** Signals of heads that a test sets, and what this process writes. */
const watched = Effect.gen(function*() {
  const signals = StorageSignals.make()
  const { asked, current, heads } = makeHeads()
  const underWay = new UnderWay()
  yield* watch(heads, signals, underWay)
  const look = Effect.gen(function*() {
    const before = asked.length
    while (asked.length === before) yield* TestClock.adjust(10)
  })
  return { asked, current, look, signals, underWay }
})

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
    const { asked, current, signals } = yield* watched
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
    yield* watch({ events: () => Effect.never, states: () => Effect.never }, signals, new UnderWay())
    yield* TestClock.adjust(2000)
    assert.strictEqual(woken.times, 0)
    yield* TestClock.adjust(2000)
    assert.strictEqual(woken.times, 1)
  }))

it.effect("asks only for what somebody follows: nothing for projections, and nothing once nobody does", () =>
  Effect.gen(function*() {
    const { asked, signals } = yield* watched
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
    const { current, signals } = yield* watched
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

it.effect("an event that this process is about to hear of as written is not taken for another's, unless it does not hear of it until the next look", () =>
  Effect.gen(function*() {
    const { current, look, signals, underWay } = yield* watched
    const woken = yield* countWakes(yield* signals.events.subscribe("note"))
    yield* looks
    const persistenceId = persistenceIdOf("note", "a")
    const slice = Slice.ofPersistenceId(persistenceId)
    const append = Effect.fnUntraced(function*(position: number) {
      const answer = yield* Deferred.make<void>()
      const appending = underWay.during([{ persistenceId } as AppendRequest], Deferred.await(answer))
      yield* Effect.forkChild(appending, { startImmediately: true })
      // the database has it before the process knows
      current.heads = new Map([[slice, Offset.make(position, position)]])
      return answer
    })
    const answer = yield* append(1)
    yield* look
    assert.strictEqual(woken.times, 0)
    signals.appended("note", new Set([slice]), () => [{ slice, position: 1 } as EncodedEnvelope])
    yield* Deferred.succeed(answer, undefined)
    yield* looks
    // by its own append
    assert.deepStrictEqual([woken.times, signals.events.marks("note")[slice]], [1, 1])

    // another's, while an append waits for it
    const conflict = yield* append(2)
    yield* look
    assert.strictEqual(woken.times, 1)
    yield* looks
    assert.deepStrictEqual([woken.times, signals.events.marks("note")[slice]], [2, 2])

    // and another's, which is seen as soon as the append has ended without it
    current.heads = new Map([[slice, Offset.make(3, 3)]])
    yield* Deferred.succeed(conflict, undefined)
    yield* looks
    assert.deepStrictEqual([woken.times, signals.events.marks("note")[slice]], [3, 3])
  }))

it.effect("an event of another process is seen where one of this process was that is lost", () =>
  Effect.gen(function*() {
    const { current, signals } = yield* watched
    const woken = yield* countWakes(yield* signals.events.subscribe("note"))
    yield* looks
    const [a, b] = [Slice.make(3), Slice.make(4)]
    current.heads = new Map([[a, Offset.make(9, 9)], [b, Offset.make(9, 9)]])
    signals.appended(
      "note",
      new Set([a, b]),
      () => [a, b].map((slice) => ({ slice, position: 9 }) as EncodedEnvelope)
    )
    yield* looks
    assert.strictEqual(woken.times, 1)
    // a backup is restored, in which one of the logs has nothing
    current.heads = new Map([[a, Offset.make(2, 2)]])
    yield* looks
    assert.strictEqual(woken.times, 1)
    current.heads = new Map([[a, Offset.make(3, 10)], [b, Offset.make(1, 10)]])
    yield* looks
    assert.strictEqual(woken.times, 2)
    const marks = signals.events.marks("note")
    assert.deepStrictEqual([marks[a], marks[b]], [2, 2])
  }))

it.effect("a change of a state is seen at once, whatever events are being written", () =>
  Effect.gen(function*() {
    const { current, look, signals, underWay } = yield* watched
    const woken = yield* countWakes(yield* signals.states.subscribe("note"))
    yield* looks
    const persistenceId = persistenceIdOf("note", "a")
    yield* Effect.forkChild(underWay.during([{ persistenceId } as AppendRequest], Effect.never), {
      startImmediately: true
    })
    current.heads = new Map([[Slice.ofPersistenceId(persistenceId), Offset.make(1, 1)]])
    yield* look
    assert.strictEqual(woken.times, 1)
  }))
