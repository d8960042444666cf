import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import type { Receipt } from "@sluice/core/Receipt"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import { after, Note, settle, start, test, unavailable, write } from "./projectionKit.ts"

const notes = Source.journal(Note).pipe(Projection.exactlyOnce("notes", () => Effect.void))

const reached = (receipt: Receipt, timeout: number | "1 hour" = "1 hour") =>
  ProjectionStatus.reached("notes", receipt, { timeout })

/** Counts how often the storage is looked at, and lets a look fail. */
const watching = Effect.gen(function*() {
  const management = yield* ProjectionManagement.ProjectionManagement
  const looks: Array<number> = []
  const watched = { looks, failing: false }
  const progress: typeof management.progress = (projection, slices) =>
    Effect.suspend(() => {
      looks.push(slices.length)
      return watched.failing ? Effect.fail(unavailable) : management.progress(projection, slices)
    })
  yield* management.register(Projection.offsetKey(notes))
  const service = { ...management, progress }
  return {
    watched,
    on: Effect.provideService(ProjectionManagement.ProjectionManagement, service)
  }
})

describe("those who wait for a projection", () => {
  test(
    "share one look at the storage, which comes after 5 to 100 milliseconds, and none comes once nobody waits",
    Effect.gen(function*() {
      const { on, watched: { looks } } = yield* watching
      const receipts = yield* Effect.forEach(["a", "b", "c", "a"], (id) => write(id, "one"))
      yield* after(60_000)
      assert.deepStrictEqual(looks, [])
      const waiting = yield* Effect.forEach(receipts, (receipt) => Effect.forkChild(on(reached(receipt))))
      yield* settle
      assert.isAtMost(looks.length, receipts.length, "at most one for each that begins to wait")
      assert.strictEqual(looks.at(-1), 3, "all of them, and each slice once")
      looks.length = 0
      // 5 + 10 + 20 + 40 + 80 + 100 + 100 + …
      yield* Effect.forEach(Array.from({ length: 200 }), () => after(5))
      assert.isAtLeast(looks.length, 10)
      assert.isAtMost(looks.length, 15)
      for (const fiber of waiting) yield* Fiber.interrupt(fiber)
      yield* settle
      looks.length = 0
      yield* after(60_000)
      assert.deepStrictEqual(looks, [])
      // and the next one finds it awake
      yield* start(notes)
      yield* on(reached(receipts[0]!))
    })
  )

  test(
    "are told at once when this process has stored an offset that they wait for, without time going on",
    Effect.gen(function*() {
      const { on, watched: { looks } } = yield* watching
      yield* start(notes)
      for (let i = 0; i < 5; i++) {
        const receipt = yield* write("a", `${i}`)
        looks.length = 0
        yield* on(reached(receipt))
        assert.isAtMost(looks.length, 3)
      }
    })
  )

  test(
    "wait no longer than they said, are told where it stands, and a look that fails is an error",
    Effect.gen(function*() {
      const { on, watched } = yield* watching
      const receipt = yield* write("a", "one", "two")
      const late = yield* Effect.forkChild(Effect.flip(on(reached(receipt, 1000))))
      yield* settle
      yield* after(999)
      assert.isUndefined(late.pollUnsafe())
      yield* after(1)
      const error = yield* Fiber.join(late)
      assert.deepInclude(error, { _tag: "NotReached", at: 0, position: 2, waited: 1000 })
      watched.failing = true
      assert.strictEqual(yield* Effect.flip(on(reached(receipt))), unavailable)
      watched.failing = false
      yield* start(notes)
      yield* on(reached(receipt))
    })
  )

  test(
    "see what is committed alone, also in a transaction that has moved the offset",
    Effect.gen(function*() {
      const receipt = yield* write("a", "one")
      const { journal, position, slice, timestamp } = receipt
      const key = Projection.offsetKey(notes)
      yield* ProjectionManagement.ProjectionManagement.use((management) => management.register(key))
      const store = yield* OffsetStore
      const moved = store.transact(
        key,
        { journal, revision: 0 },
        [{ slice, from: undefined, to: { position, timestamp } }],
        Effect.void
      )
      const waiting = yield* Effect.forkChild(
        Journal.transaction(Effect.andThen(moved, Effect.flip(reached(receipt, 1000))))
      )
      yield* settle
      yield* after(1000)
      assert.deepInclude(yield* Fiber.join(waiting), { _tag: "NotReached", at: 0 })
      yield* reached(receipt)
    })
  )

  for (const held of [["journal:order"], ["journal:note", "journal:order"]]) {
    test(
      `wait where it has just begun in this process and is not registered yet in all of its sources, such as in ${held.join()}`,
      Effect.gen(function*() {
        const Order = EntityType.make("order", { codec: EventCodec.string })
        const goOn = yield* Latch.make(false)
        const management = yield* ProjectionManagement.ProjectionManagement
        const slow: typeof management = {
          ...management,
          register: (key) =>
            Effect.andThen(held.includes(key.source) ? goOn.await : Effect.void, management.register(key))
        }
        const both = Source.mergeAll([Source.journal(Note), Source.journal(Order)]).pipe(
          Projection.exactlyOnce("notes", () => Effect.void)
        )
        const starting = yield* Effect.forkScoped(
          Effect.provideService(start(both), ProjectionManagement.ProjectionManagement, slow),
          { startImmediately: true }
        )
        // it begins though the storage is slow
        yield* after(1000)
        yield* after(5000)
        assert.isDefined(starting.pollUnsafe())
        const note = yield* write("a", "one")
        const order = yield* Journal.append(Order, { id: "a", events: ["one"] })
        const waiting = yield* Effect.forkChild(
          ProjectionStatus.reached("notes", [note, order], { timeout: "1 hour" })
        )
        yield* after(200)
        assert.isUndefined(waiting.pollUnsafe())
        assert.deepStrictEqual(yield* ProjectionStatus.reached("notes", [], { timeout: "1 hour" }), {
          leftOut: [],
          deadLetters: []
        })
        yield* goOn.open
        yield* after(200)
        yield* Fiber.join(waiting)
        const other = EntityType.make("other", { codec: EventCodec.string })
        const receipt = yield* Journal.append(other, { id: "a", events: ["one"] })
        assert.instanceOf(yield* Effect.flip(reached(receipt)), ProjectionStatus.ReceiptNotRead)
      })
    )
  }
})
