import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import type * as Payload from "@sluice/core/Payload"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as TestClock from "effect/testing/TestClock"
import { holdingBack } from "../src/internal/server/holdingBack.ts"

const persistenceId = PersistenceId.make("cart", "c-1")

const element = (n: number, payload?: Payload.Payload): Envelope.EncodedElement =>
  Envelope.encoded(
    {
      persistenceId,
      sequenceNumber: SequenceNumber.make(n),
      slice: Slice.ofPersistenceId(persistenceId),
      position: Position.make(n),
      timestamp: Timestamp.make(n)
    },
    payload
  )
const event = (n: number) => element(n, { manifest: "", bytes: new Uint8Array(1) })

const writing = Effect.gen(function*() {
  const written: Array<ReadonlyArray<number>> = []
  const { send, sendHeld } = holdingBack(
    (elements) => Effect.sync(() => void written.push(elements.map(({ position }) => position!))),
    yield* Clock.Clock
  )
  yield* Effect.forkScoped(sendHeld)
  return { send, written }
})

describe("placeholders that are held back", () => {
  it.effect("go with the next event, before it", () =>
    Effect.gen(function*() {
      const { send, written } = yield* writing
      yield* send([event(1)])
      yield* send([element(2)])
      yield* send([element(3), element(4)])
      assert.deepStrictEqual(written, [[1]])
      yield* send([element(5), event(6), element(7)])
      assert.deepStrictEqual(written, [[1], [2, 3, 4, 5, 6, 7]])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(written, [[1], [2, 3, 4, 5, 6, 7]])
    }).pipe(Effect.scoped))

  it.effect("go by themselves after a moment, each time", () =>
    Effect.gen(function*() {
      const { send, written } = yield* writing
      for (const n of [1, 3]) {
        yield* send([element(n)])
        yield* TestClock.adjust("49 millis")
        yield* send([element(n + 1)])
        assert.strictEqual(written.length, (n - 1) / 2)
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(written.at(-1), [n, n + 1])
      }
      assert.strictEqual(written.length, 2)
    }).pipe(Effect.scoped))

  it.effect("are not held where there are many", () =>
    Effect.gen(function*() {
      const { send, written } = yield* writing
      yield* send(Array.from({ length: 400 }, (_, i) => element(i + 1)))
      yield* send(Array.from({ length: 101 }, (_, i) => element(i + 401)))
      assert.deepStrictEqual(written, [Array.from({ length: 501 }, (_, i) => i + 1)])
    }).pipe(Effect.scoped))

  it.effect("fail whoever sends where they cannot be written", () =>
    Effect.gen(function*() {
      const { send, sendHeld } = holdingBack(() => Effect.die("not writable"), yield* Clock.Clock)
      const sending = yield* Effect.forkChild(Effect.exit(sendHeld), { startImmediately: true })
      yield* send([element(1)])
      yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(sending.pollUnsafe(), Exit.succeed(Exit.die("not writable")))
    }))
})
