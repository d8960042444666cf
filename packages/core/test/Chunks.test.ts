import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { givingWayAfter } from "../../../test/kit/givingWayAfter.ts"
import { type Chunk, Chunks } from "../src/internal/projection/Chunks.ts"

const make = Chunks.make({ isFilling: false })

const chunkOf = (n: number, isReplay = false): Chunk => ({
  elements: [Envelope.placeholder({
    persistenceId: PersistenceId.make("cart", "c-1"),
    sequenceNumber: SequenceNumber.make(n),
    slice: Slice.make(0),
    position: Position.make(n),
    timestamp: Timestamp.make(n)
  })],
  isReplay
})

const numberOf = ({ elements: [element] }: Chunk) => element?.position as number | undefined

/** What wakes a fiber comes a turn later. */
const turns = Effect.forEach(Array.from({ length: 5 }), () => Effect.yieldNow, { discard: true })

/** Runs an effect, has it give way at each of its moments, and does something then. */
const atEachMoment = Effect.fnUntraced(function*(
  prepare: Effect.Effect<Chunks>,
  run: (chunks: Chunks) => Effect.Effect<unknown, unknown>,
  then: (chunks: Chunks, fiber: Fiber.Fiber<unknown, unknown>, moment: number) => Effect.Effect<void, unknown>,
  after: (chunks: Chunks, fiber: Fiber.Fiber<unknown, unknown>, moment: number) => Effect.Effect<void, unknown>
) {
  let hasGivenWay = true
  let moments = 0
  for (; hasGivenWay; moments++) {
    const chunks = yield* prepare
    const { goOn, scheduler, tasks } = givingWayAfter(moments)
    const fiber = Effect.runFork(run(chunks), { scheduler })
    hasGivenWay = tasks.length > 0
    yield* then(chunks, fiber, moments)
    goOn()
    yield* turns
    goOn()
    yield* after(chunks, fiber, moments)
  }
  assert.isAbove(moments, 2)
})

/** The number of the next chunk; undefined if none comes. */
const takeNow = Effect.fnUntraced(function*(chunks: Chunks) {
  const fiber = yield* Effect.forkChild(Effect.map(chunks.take, numberOf), { startImmediately: true })
  yield* turns
  const exit = fiber.pollUnsafe()
  return exit === undefined ? undefined : yield* exit
})

describe("the chunks that wait for a worker", () => {
  it.effect("have no more room than for two of each kind, of which what is new comes first", () =>
    Effect.gen(function*() {
      const chunks = yield* make
      yield* Effect.forEach(
        [chunkOf(1), chunkOf(2), chunkOf(11, true), chunkOf(12, true)],
        (chunk) => chunks.offer(chunk)
      )
      const more = yield* Effect.forkChild(chunks.offer(chunkOf(3)), { startImmediately: true })
      assert.isUndefined(more.pollUnsafe(), "there is no room")
      const taken = yield* Effect.forEach(Array.from({ length: 5 }), () => Effect.map(chunks.take, numberOf))
      assert.deepStrictEqual(taken, [1, 2, 3, 11, 12])
      yield* Fiber.join(more)
    }))

  it.effect("of replays that rest are not there for somebody who waits until something is due, and rest for no wait", () =>
    Effect.gen(function*() {
      const chunks = yield* make
      yield* chunks.offer(chunkOf(1))
      yield* chunks.take
      yield* chunks.offer(chunkOf(11, true))
      yield* chunks.take
      yield* TestClock.adjust(5)
      yield* chunks.offer(chunkOf(12, true))
      const wait = yield* Effect.forkChild(chunks.peekFor(2), { startImmediately: true })
      yield* TestClock.adjust(2)
      assert.isFalse(yield* Fiber.join(wait), "it rests for five")
      yield* TestClock.adjust(3)
      assert.isTrue(yield* chunks.peekFor(0))
      assert.strictEqual(numberOf(yield* chunks.take), 12)
      const longer = yield* Effect.forkChild(chunks.peekFor(30), { startImmediately: true })
      yield* TestClock.adjust(30)
      assert.isFalse(yield* Fiber.join(longer))
      yield* chunks.offer(chunkOf(13, true))
      assert.strictEqual(yield* takeNow(chunks), 13)
    }))

  it.effect("are those of replays once what is new has had three times as long", () =>
    Effect.gen(function*() {
      const chunks = yield* make
      yield* Effect.forEach([chunkOf(1), chunkOf(2), chunkOf(11, true), chunkOf(12, true)], (chunk) =>
        chunks.offer(chunk))
      const handled = Effect.tap(Effect.map(chunks.take, numberOf), () =>
        TestClock.adjust(3))
      assert.deepStrictEqual(yield* Effect.forEach(Array.from({ length: 4 }), () => handled), [1, 11, 2, 12])
    }))

  it.effect("of replays rest for as long as one has taken, where something new came a moment ago", () =>
    Effect.gen(function*() {
      for (const isFilling of [false, true]) {
        const chunks = yield* Chunks.make({ isFilling })
        yield* chunks.offer(chunkOf(1))
        yield* chunks.take
        yield* Effect.forEach([chunkOf(11, true), chunkOf(12, true)], (chunk) => chunks.offer(chunk))
        yield* chunks.take
        yield* TestClock.adjust(4)
        const taken = yield* Effect.forkChild(Effect.map(chunks.take, numberOf), { startImmediately: true })
        yield* turns
        if (isFilling) {
          assert.strictEqual(yield* Fiber.join(taken), 12, "too many events wait for replays")
          continue
        }
        yield* TestClock.adjust(3)
        yield* turns
        assert.isUndefined(taken.pollUnsafe())
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* Fiber.join(taken), 12)
      }
    }))

  it.effect("of replays that rest let pass what is new", () =>
    Effect.gen(function*() {
      const chunks = yield* make
      yield* chunks.offer(chunkOf(1))
      yield* chunks.take
      yield* Effect.forEach([chunkOf(11, true), chunkOf(12, true)], (chunk) => chunks.offer(chunk))
      yield* chunks.take
      yield* TestClock.adjust(4)
      const taken = yield* Effect.forkChild(Effect.map(chunks.take, numberOf), { startImmediately: true })
      yield* turns
      yield* chunks.offer(chunkOf(2))
      assert.strictEqual(yield* Fiber.join(taken), 2)
    }))

  it.effect("of replays do not rest once nothing comes any more", () =>
    Effect.gen(function*() {
      const chunks = yield* make
      yield* chunks.offer(chunkOf(1))
      yield* chunks.take
      yield* Effect.forEach([chunkOf(11, true), chunkOf(12, true)], (chunk) => chunks.offer(chunk))
      yield* chunks.take
      yield* TestClock.adjust(4)
      const taken = yield* Effect.forkChild(Effect.map(chunks.take, numberOf), { startImmediately: true })
      yield* turns
      assert.isUndefined(taken.pollUnsafe())
      yield* chunks.fail(Cause.fail("it has failed"))
      assert.strictEqual(yield* Fiber.join(taken), 12)
      assert.strictEqual(yield* Effect.flip(chunks.take), "it has failed")
    }))

  it.effect("are waited for as long as is said", () =>
    Effect.gen(function*() {
      const chunks = yield* make
      const waiting = yield* Effect.forkChild(chunks.peekFor(5), { startImmediately: true })
      yield* TestClock.adjust(4)
      yield* turns
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.isFalse(yield* Fiber.join(waiting))
      assert.isFalse(yield* chunks.peekFor(0))
      const another = yield* Effect.forkChild(chunks.peekFor(5), { startImmediately: true })
      yield* chunks.offer(chunkOf(1))
      assert.isTrue(yield* Fiber.join(another))
      assert.isTrue(yield* chunks.peekFor(0))
    }))

  it.effect("of replays whose turn is over go on with their rest, before others", () =>
    Effect.gen(function*() {
      const chunks = yield* make
      yield* Effect.forEach([chunkOf(11, true), chunkOf(12, true)], (chunk) => chunks.offer(chunk))
      assert.strictEqual(numberOf(yield* chunks.take), 11)
      assert.isFalse(chunks.isTurnOver)
      yield* chunks.offer(chunkOf(1))
      assert.isTrue(chunks.isTurnOver)
      chunks.putBack(chunkOf(111, true))
      yield* chunks.look
      assert.deepStrictEqual(yield* Effect.forEach(Array.from({ length: 3 }), () => takeNow(chunks)), [1, 111, 12])
      chunks.putBack(chunkOf(121, true))
      yield* chunks.peek
      yield* chunks.endWith(Effect.void)
      assert.strictEqual(numberOf(yield* chunks.take), 121)
    }))

  it.effect("of replays leave others their turn, unless something new is there", () =>
    Effect.gen(function*() {
      const chunks = yield* make
      let isTurn = false
      const other = yield* Effect.forkChild(Effect.sync(() => {
        isTurn = true
      }))
      yield* chunks.offer(chunkOf(1))
      yield* chunks.look
      assert.isFalse(isTurn)
      yield* chunks.take
      yield* chunks.look
      assert.isTrue(isTurn)
      yield* Fiber.join(other)
    }))

  it.effect("are taken, and seen, at whatever moment they come", () =>
    Effect.gen(function*() {
      for (const isReplay of [false, true]) {
        for (
          const run of [(chunks: Chunks) => chunks.take, (chunks: Chunks) =>
            Effect.andThen(chunks.peek, chunks.take), (chunks: Chunks) =>
            Effect.andThen(chunks.peekFor(60_000), chunks.take)]
        ) {
          yield* atEachMoment(
            make,
            run,
            (chunks) =>
              chunks.offer(chunkOf(1, isReplay)),
            (_, fiber, moment) =>
              Effect.gen(function*() {
                const exit = fiber.pollUnsafe()
                if (exit === undefined) return assert.fail(`what comes after ${moment} operations is lost`)
                assert.strictEqual(numberOf((yield* exit) as Chunk), 1)
              })
          )
        }
      }
    }))

  it.effect("are not lost by who has looked for them and was interrupted", () =>
    atEachMoment(
      make,
      (chunks) => chunks.peek,
      (chunks, fiber) =>
        Effect.gen(function*() {
          yield* chunks.offer(chunkOf(1))
          yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
        }),
      (chunks, _, moment) =>
        Effect.map(takeNow(chunks), (taken) => assert.strictEqual(taken, 1, `after ${moment} operations`))
    ))

  it.effect("are all taken, at whatever moment another is offered by who is interrupted", () =>
    Effect.gen(function*() {
      for (const isFull of [false, true]) {
        yield* atEachMoment(
          Effect.tap(make, (chunks) =>
            isFull ? Effect.andThen(chunks.offer(chunkOf(8)), chunks.offer(chunkOf(9))) : Effect.void),
          (chunks) =>
            chunks.offer(chunkOf(1)),
          (chunks, fiber) =>
            Effect.gen(function*() {
              if (isFull) yield* takeNow(chunks)
              yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
            }),
          (chunks, _, moment) =>
            Effect.gen(function*() {
              yield* Effect.forkChild(chunks.offer(chunkOf(2)), { startImmediately: true })
              let taken: number | undefined
              do {
                taken = yield* takeNow(chunks)
                assert.isDefined(taken, `after ${moment} operations, what comes later is not taken`)
              } while (taken !== 2)
            })
        )
      }
    }))

  it.effect("look for one only while there is one", () =>
    Effect.gen(function*() {
      const chunks = yield* make
      yield* chunks.offer(chunkOf(1))
      yield* chunks.take
      const seen = yield* Effect.forkChild(chunks.peek, { startImmediately: true })
      yield* turns
      assert.isUndefined(seen.pollUnsafe())
      yield* chunks.offer(chunkOf(2))
      yield* Fiber.join(seen)
      assert.strictEqual(yield* takeNow(chunks), 2)
    }))

  it.effect("come to an end after those that are there, and no others", () =>
    Effect.gen(function*() {
      const begun = Effect.tap(make, (chunks) =>
        Effect.andThen(chunks.offer(chunkOf(1)), chunks.offer(chunkOf(11, true))))
      for (
        const end of [
          (chunks: Chunks) =>
            chunks.fail(Cause.fail("it has failed")),
          (chunks: Chunks) => chunks.endWith(Effect.fail("it has failed"))
        ]
      ) {
        const chunks = yield* begun
        yield* end(chunks)
        yield* chunks.offer(chunkOf(2))
        yield* chunks.offer(chunkOf(12, true))
        assert.deepStrictEqual([yield* takeNow(chunks), yield* takeNow(chunks)], [1, 11])
        assert.strictEqual(yield* Effect.flip(chunks.take), "it has failed")
        assert.strictEqual(yield* Effect.flip(chunks.peek), "it has failed")
      }
    }))
})
