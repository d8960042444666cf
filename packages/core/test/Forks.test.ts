/** Those who follow a journal that has lost what it had acknowledged, as after a failover, and goes on in another history. */
import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import { type EncodedEnvelope, nothing } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Position from "@sluice/core/Position"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { eventAt } from "./readingKit.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const write = (id: string, ...events: readonly [string, ...ReadonlyArray<string>]) =>
  Journal.append(Note, { id, events })

/** What the journal says that this process has appended is what the test says, beside what it has. */
const withSaying = <A, E, R>(
  effect: (say: (event: EncodedEnvelope) => void) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Journal.Journal> =>
  Effect.flatMap(Journal.Journal, (journal) => {
    const listeners: Array<(events: ReadonlyArray<EncodedEnvelope>) => void> = []
    const overheard: Journal.Journal["Service"] = {
      ...journal,
      committed: (entityType, listener) =>
        Effect.tap(journal.committed(entityType, listener), () => Effect.sync(() => listeners.push(listener)))
    }
    return Effect.provideService(
      effect((event) => listeners.forEach((listener) => listener([event]))),
      Journal.Journal,
      overheard
    )
  })

/** Follows in the background, and knows what it has seen and how it ends. */
const follow = (range?: SliceRange.SliceRange) =>
  Effect.gen(function*() {
    const seen: Array<string> = []
    const fiber = yield* Source.toStream(Source.journal(Note), { range }).pipe(
      Stream.runForEach((envelope) => Effect.sync(() => seen.push(envelope.event))),
      Effect.forkChild
    )
    const failure = Effect.map(
      Fiber.await(fiber),
      (exit) => Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
    )
    return { seen, fiber, failure }
  })

const until = (seen: ReadonlyArray<string>, n: number) => Wait.until(`${n} events`, () => seen.length === n)

const slice = Slice.ofPersistenceId("note|a")
const other = SliceRange.make((slice + 1) % Slice.count, (slice + 1) % Slice.count)

/** Of the last event of three, and of what is said to be at a place near it. */
const cases: Record<string, (last: { readonly position: number; readonly timestamp: number }) => [number, number]> = {
  "another event stands at the last position": ({ position, timestamp }) => [position, timestamp + 7],
  "an earlier position is newer than the last": ({ position, timestamp }) => [position - 1, timestamp + 7],
  "a later position is older than the last": ({ position, timestamp }) => [position + 3, timestamp - 7],
  "another event stands at an earlier position": ({ position, timestamp }) => [position - 1, timestamp - 7]
}

describe("a journal that goes on in another history is forked", () => {
  for (const [when, place] of Object.entries(cases)) {
    it.live(`when ${when}`, () =>
      withSaying((say) =>
        Effect.gen(function*() {
          const { failure, seen } = yield* follow()
          yield* write("a", "0")
          yield* until(seen, 1)
          // as it was told of it while it listened, what is before the last is known
          yield* write("a", "1")
          const { persistenceId, sequenceNumber, ...last } = yield* write("a", "2")
          yield* until(seen, 3)
          const event = { persistenceId, sequenceNumber, slice, ...nothing, payload: undefined }
          say({ ...event, ...last })
          yield* write("b", "3")
          yield* until(seen, 4)

          const [position, timestamp] = place(last)
          say({ ...event, position: Position.make(position), timestamp: Timestamp.make(timestamp) })
          const error = yield* failure
          assert.instanceOf(error, Journal.JournalForked)
          assert.strictEqual(error.slice, slice)
          assert.strictEqual(seen.length, 4)
        })
      ).pipe(Effect.provide(MemoryStorage.layer, { local: true })))
  }

  it.live("for those who have read what is gone, and others begin anew", () =>
    withSaying((say) =>
      Effect.gen(function*() {
        const all = yield* follow()
        const elsewhere = yield* follow(other)
        const { persistenceId, sequenceNumber, position, timestamp } = yield* write("a", "0")
        yield* until(all.seen, 1)
        say({
          persistenceId,
          sequenceNumber,
          slice,
          position,
          timestamp: Timestamp.make(timestamp + 7),
          ...nothing,
          payload: undefined
        })
        assert.instanceOf(yield* all.failure, Journal.JournalForked)
        const error = yield* elsewhere.failure
        assert.instanceOf(error, StorageError)
        assert.isTrue(error.isRetryable)
        // the next tail is one of what there is now
        const again = yield* follow()
        yield* write("b", "1")
        yield* until(again.seen, 2)
        yield* Fiber.interrupt(again.fiber)
      })
    ).pipe(Effect.provide(MemoryStorage.layer, { local: true })))
})

describe("a reader of the journal is not believed", () => {
  const range = SliceRange.make(slice, slice)
  /** The tail reads the journal, and those who follow this range are shown these pages. */
  const withPages = (...pages: Array<ReadonlyArray<EncodedEnvelope>>) =>
    Effect.gen(function*() {
      const journal = yield* Journal.Journal
      const { failure } = yield* Effect.provideService(follow(range), Journal.Journal, {
        ...journal,
        reader: (...args) =>
          args[1] === range
            ? Effect.succeed({ next: () => Effect.sync(() => pages.shift() ?? []), pass: () => {} })
            : journal.reader(...args)
      })
      const error = yield* failure
      assert.instanceOf(error, StorageError)
      return error
    }).pipe(Effect.provide(MemoryStorage.layer, { local: true }))

  it.live("that leaves an event out", () =>
    Effect.gen(function*() {
      const error = yield* withPages([eventAt(slice, 1, 10), eventAt(slice, 3, 30)])
      assert.strictEqual(error.reason, "Damaged")
      assert.include(error.message, `position 3 of slice ${slice} follows 1`)
    }))

  it.live("that repeats an event", () =>
    Effect.gen(function*() {
      const error = yield* withPages([eventAt(slice, 1, 10)], [eventAt(slice, 1, 10)])
      assert.strictEqual(error.reason, "Damaged")
    }))

  it.live("that goes on in another history, and whoever follows begins anew if what it has read is still there", () =>
    Effect.gen(function*() {
      const error = yield* withPages([eventAt(slice, 1, 10)], [eventAt(slice, 2, 10)])
      assert.strictEqual(error.reason, "Unavailable")
      assert.instanceOf(error.cause, Journal.JournalForked)
    }))
})
