import { assert, describe, it } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Slice from "@sluice/core/Slice"
import * as StorageSignals from "@sluice/sql/adapter/StorageSignals"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"

const slices = (...slices: ReadonlyArray<number>) => new Set(slices.map(Slice.make))

/** Runs until it waits. */
const started = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** Whether it ends without waiting. */
const isOpen = Effect.fnUntraced(function*(latch: Effect.Effect<void>) {
  const waiting = yield* started(latch)
  yield* Effect.yieldNow
  const isOver = waiting.pollUnsafe() !== undefined
  yield* Fiber.interrupt(waiting)
  return isOver
})

const marked = (marks: Readonly<Float64Array>) => [...marks.entries()].filter(([, times]) => times > 0)

describe("StorageSignals", () => {
  it.effect("wakes who waits for the same kind and name, and nobody else", () =>
    Effect.gen(function*() {
      const signals = StorageSignals.make()
      const waiting = {
        events: yield* started(yield* signals.events.subscribe("note")),
        states: yield* started(yield* signals.states.subscribe("note")),
        commands: yield* started(yield* signals.commands.subscribe("note")),
        others: yield* started(yield* signals.events.subscribe("other"))
      }
      const waits = () =>
        Object.entries(waiting).filter(([, fiber]) => fiber.pollUnsafe() === undefined).map(([k]) => k)
      signals.commanded("note")
      yield* Fiber.join(waiting.commands)
      assert.deepStrictEqual(waits(), ["events", "states", "others"])
      signals.changed("note", slices(1))
      yield* Fiber.join(waiting.states)
      assert.deepStrictEqual(waits(), ["events", "others"])
      signals.appended("note", slices(1), () => [])
      yield* Fiber.join(waiting.events)
      assert.deepStrictEqual(waits(), ["others"])
      signals.events.signal("other")
      yield* Fiber.join(waiting.others)
    }))

  it.effect("keeps what was signalled while nobody waited, and only that", () =>
    Effect.gen(function*() {
      const signals = StorageSignals.make()
      const changed = yield* signals.commands.subscribe("notes")
      signals.commands.signal("notes")
      signals.commands.signal("notes")
      yield* changed
      const again = yield* started(changed)
      assert.isUndefined(again.pollUnsafe())
      signals.commands.signal("notes")
      yield* Fiber.join(again)
    }))

  it("marks the slices of the kind, all where it is not known which", () => {
    const signals = StorageSignals.make()
    signals.events.signal("note", slices(1, 2))
    signals.appended("note", slices(2), () => [])
    assert.deepStrictEqual(marked(signals.events.marks("note")), [[1, 1], [2, 2]])
    assert.deepStrictEqual(marked(signals.states.marks("note")), [])
    signals.states.signal("note")
    assert.strictEqual(marked(signals.states.marks("note")).length, Slice.count)
    signals.signalAll()
    assert.strictEqual(marked(signals.events.marks("note")).length, Slice.count)
  })

  it.effect("gives committed events to who listens, before those wake who would read them", () =>
    Effect.gen(function*() {
      const signals = StorageSignals.make()
      const order: Array<string> = []
      const changed = yield* signals.events.subscribe("note")
      yield* signals.committed("note", (events) => {
        assert.strictEqual(signals.events.marks("note")[7], 1)
        order.push(`given ${events.length}`)
      })
      const waiting = yield* started(Effect.andThen(changed, Effect.sync(() => order.push("woken"))))
      signals.appended("note", slices(7), () => [{} as EncodedEnvelope])
      signals.appended("other", slices(7), () => assert.fail("asks for events that nobody listens to"))
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(order, ["given 1", "woken"])
    }))

  it("tells other processes what this one has committed, and not what it was told", () => {
    const signals = StorageSignals.make()
    const told: Array<StorageSignals.Message> = []
    signals.commanded("before anybody is told")
    signals.tellOthers((message) => told.push(message))
    signals.appended("note", slices(1), () => [])
    signals.changed("profile", slices(2))
    signals.commanded("notes")
    signals.events.signal("note", slices(3))
    signals.commands.signal("notes")
    signals.reconnected()
    assert.deepStrictEqual(told, [
      { kind: "events", entityType: "note", slices: slices(1) },
      { kind: "states", entityType: "profile", slices: slices(2) },
      { kind: "command", projection: "notes" }
    ])
    assert.strictEqual(signals.reconnections(), 1)
  })

  it.effect("says who is waited for: entity types while they are followed, and projections apart from them", () =>
    Effect.gen(function*() {
      const signals = StorageSignals.make()
      const state = Effect.all([isOpen(signals.untilAwaited), isOpen(signals.untilFollowed)])
      assert.deepStrictEqual(yield* state, [false, false])
      yield* Effect.asVoid(signals.commands.subscribe("notes"))
      assert.deepStrictEqual(yield* state, [true, false])
      const scope = yield* Scope.make()
      yield* Effect.asVoid(Scope.provide(signals.states.subscribe("profile"), scope))
      assert.deepStrictEqual(yield* state, [true, true])
      assert.deepStrictEqual([signals.events.followed(), signals.states.followed()], [[], ["profile"]])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* state, [true, false])
      assert.deepStrictEqual(signals.states.followed(), [])
    }))
})
