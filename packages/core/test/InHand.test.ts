import { assert, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as Flow from "@sluice/core/Flow"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { InterruptedByCommand } from "../src/internal/projection/failures.ts"
import { makeFlow } from "../src/internal/projection/handleInFlow.ts"
import { makeParallel } from "../src/internal/projection/handleInParallel.ts"
import type { Options } from "../src/internal/projection/inHand.ts"

const event = (n: number): Envelope.Envelope<number> =>
  Envelope.make(
    {
      persistenceId: PersistenceId.make("note", "a"),
      sequenceNumber: SequenceNumber.make(n),
      slice: Slice.make(0),
      position: Position.make(n),
      timestamp: Timestamp.make(n)
    },
    n,
    1
  )

/** Of a worker that stores nothing. */
const makeOptions = (clock: Clock.Clock): Options => ({
  handling: {
    clock,
    projection: { name: "notes", handler: () => Effect.void },
    parked: { has: () => false },
    skips: { has: () => false },
    handle: () => Effect.void,
    monitor: { handled: () => {}, happened: () => {} },
    tracker: { advance: () => {} },
    sleep: Effect.sleep
  } as any,
  inSourceOrder: false,
  interruption: { isThere: false },
  handled: () => false,
  isSaveDue: () => false,
  save: Effect.void,
  handledBehind: () => {}
})

const options = Effect.map(Clock.Clock, makeOptions)

const commanded = Cause.fail(new InterruptedByCommand())

it.effect("a command that comes before anything of what is in hand has begun does not wait for it", () =>
  Effect.gen(function*() {
    const parallel = yield* makeParallel(yield* options, 2)
    yield* parallel.add([event(1)])
    // whoever is to handle it has had no turn yet
    yield* parallel.finish(commanded)
    assert.isFalse(parallel.isEmpty())
  }))

const deadline = Duration.seconds(20)

const flowOf = (run: Flow.Flow["run"]) =>
  Effect.flatMap(options, (options) => makeFlow(options, Flow.make({ run, inHand: 256, deadline })))

const turns = Effect.forEach(Array.from({ length: 20 }), () => Effect.yieldNow, { discard: true })

/** After so many seconds. */
const hasEnded = (fiber: Fiber.Fiber<void, unknown>, seconds: number) =>
  TestClock.adjust(Duration.seconds(seconds)).pipe(
    Effect.andThen(turns),
    Effect.map(() => fiber.pollUnsafe() !== undefined)
  )

it.effect("a command waits for what a flow does not emit until its deadline, and then no longer than after a failure", () =>
  Effect.gen(function*() {
    const flow = yield* flowOf((envelopes) => Stream.mapEffect(envelopes, () => Effect.never))
    yield* flow.add([event(1)])
    yield* turns
    const finishing = yield* Effect.forkChild(flow.finish(commanded))
    assert.isFalse(yield* hasEnded(finishing, 19))
    assert.isFalse(yield* hasEnded(finishing, 2))
    assert.isTrue(yield* hasEnded(finishing, 10))
  }))

const other = (end: Effect.Effect<void, string>) => Stream.drain(Stream.fromEffect(Effect.delay(end, "1 second")))

it.effect("a flow that fails, or ends by itself, while nothing is in hand is due", () =>
  Effect.gen(function*() {
    for (const [end, haltStrategy] of [[Effect.fail("broken"), "both"], [Effect.void, "either"]] as const) {
      const flow = yield* flowOf((envelopes) => Stream.merge(envelopes, other(end), { haltStrategy }))
      const due = yield* Effect.forkChild(flow.isDue)
      assert.isFalse(yield* hasEnded(due, 0.9))
      assert.isTrue(yield* hasEnded(due, 1))
      assert.strictEqual((yield* Effect.exit(flow.settle))._tag, "Failure")
    }
  }))

it.effect("a command waits for a flow to end, also with nothing in hand, and for its deadline at most", () =>
  Effect.gen(function*() {
    const ends = yield* flowOf((envelopes) =>
      Stream.concat(envelopes, Stream.drain(Stream.fromEffect(Effect.sleep("15 seconds"))))
    )
    yield* turns
    const ending = yield* Effect.forkChild(ends.finish(commanded))
    assert.isFalse(yield* hasEnded(ending, 14))
    assert.isTrue(yield* hasEnded(ending, 1))

    const stays = yield* flowOf((envelopes) => Stream.merge(envelopes, Stream.never))
    yield* turns
    const waiting = yield* Effect.forkChild(stays.finish(commanded))
    assert.isFalse(yield* hasEnded(waiting, 19))
    assert.isTrue(yield* hasEnded(waiting, 6))
  }))

it.effect("an event of a flow has its time once those before it are done", () =>
  Effect.gen(function*() {
    const flow = yield* flowOf((envelopes) =>
      Stream.mapEffect(envelopes, (envelope) => Effect.delay(Effect.succeed(envelope), "6 seconds"))
    )
    yield* flow.add(Array.from({ length: 16 }, (_, i) => event(i + 1)))
    yield* turns
    const draining = yield* Effect.forkChild(flow.drain)
    for (let n = 1; n < 16; n++) assert.isFalse(yield* hasEnded(draining, 6))
    assert.isTrue(yield* hasEnded(draining, 6))
    assert.isTrue(flow.isEmpty())
  }))
