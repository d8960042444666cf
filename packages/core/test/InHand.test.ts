import { assert, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { InterruptedByCommand } from "../src/internal/projection/failures.ts"
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
    projection: { name: "notes" },
    parked: { has: () => false },
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
