import { assert, describe } from "@effect/vitest"
import type { Envelope } from "@sluice/core/Envelope"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
import * as Latch from "effect/Latch"
import * as Wait from "../../Wait.ts"
import { retryBusy } from "../journal/transactionTests.ts"
import type { It } from "../kit.ts"
import { append, fresh, idsOfSlice, laterThan, number, texts } from "../kit.ts"
import { appendUndecodable, caughtUp, freshName, inState, makeEffects, placeOf, whileRunning } from "./projectionKit.ts"

type Handle = (envelope: Envelope<string>) => Effect.Effect<void, unknown, Journal.Journal>

const deliveries: ReadonlyArray<readonly [name: string, of: (name: string, handle: Handle) => any]> = [
  ["exactly once", (name, handle) => Projection.exactlyOnce(name, handle)],
  ["at least once", (name, handle) => Projection.atLeastOnce(name, handle, { saveAfter: 1 })]
]

type Managed = Projection.Projection<unknown, Journal.Journal | Projection.Stores>

/** A projection of a journal of its own, which notes what it has handled. Before that it does what it is told, which may fail. */
const managed = (
  deliver: typeof deliveries[0][1],
  before: Handle = () => Effect.void,
  shape: (projection: Managed) => Managed = identity
) => {
  const type = fresh("source")
  const name = freshName()
  const handled: Array<string> = []
  const deliverNoting = deliver(name, (envelope) =>
    Effect.andThen(
      Effect.suspend(() => before(envelope)),
      Effect.sync(() => void handled.push(placeOf(envelope)))
    ))
  return { type, name, handled, projection: shape(deliverNoting(Source.journal(type))) }
}

const letters = (projection: Projection.Projection<any, any>) =>
  Effect.map(
    ProjectionManagement.deadLetters(projection),
    (all) =>
      all.map(({ envelope, error }) => {
        const { persistenceId, sequenceNumber } = envelope
        return [`${PersistenceId.entityId(persistenceId)} ${sequenceNumber}`, error] as const
      })
  )

/** @internal Projections that are told something while they run, and what they put aside. */
export const managedProjectionTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  describe.each(deliveries)("a projection %s", (_, deliver) => {
    it.effect("that is paused finishes what it handles, waits, and goes on where it was", () =>
      Effect.gen(function*() {
        const passes = yield* Latch.make(false)
        const { handled, name, projection, type } = managed(
          deliver,
          ({ sequenceNumber }) => sequenceNumber === 3 ? passes.await : Effect.void
        )
        yield* append(type, "a", texts(50))
        const all = Array.from({ length: 50 }, (_, i) => `a ${i + 1}`)
        let paused = 0
        yield* Effect.gen(function*() {
          yield* Wait.until("the third event", () => handled.length === 2)
          // where there is one writer at a time it waits for the handler's transaction
          const pausing = yield* Effect.forkChild(ProjectionManagement.pause(name))
          yield* passes.open
          yield* Fiber.join(pausing)
          yield* inState(name, "Paused")
          paused = handled.length
          assert.deepStrictEqual(handled, all.slice(0, paused))
        }).pipe(whileRunning(projection))
        // also when it is started again
        yield* Effect.gen(function*() {
          yield* inState(name, "Paused")
          assert.strictEqual(handled.length, paused)
          yield* ProjectionManagement.resume(name)
          yield* caughtUp(name)
          assert.deepStrictEqual(handled, all)
        }).pipe(whileRunning(projection))
      }))

    it.effect("that is rewound while it runs begins again, and then goes on", () =>
      Effect.gen(function*() {
        const { handled, name, projection, type } = managed(deliver, undefined, Projection.workers(2))
        const [a, b] = [...idsOfSlice(type, 3, 1), ...idsOfSlice(type, 900, 1)] as [string, string]
        const key = Projection.offsetKey(projection)
        yield* append(type, b, texts(1))
        const { timestamp: before } = yield* append(type, a, texts(2))
        const first = [`${a} 1`, `${a} 2`, `${b} 1`]
        yield* Effect.gen(function*() {
          yield* caughtUp(name)
          assert.sameMembers(handled.splice(0), first)
          yield* ProjectionManagement.rewind(key, "beginning")
          yield* Wait.until("everything again", () => handled.length === 3)
          yield* caughtUp(name)
          assert.sameMembers(handled.splice(0), first)
          yield* laterThan(before)
          const { timestamp } = yield* append(type, b, texts(1))
          yield* caughtUp(name)
          yield* append(type, a, texts(1))
          yield* caughtUp(name)
          assert.deepStrictEqual(handled.splice(0), [`${b} 2`, `${a} 3`])
          yield* ProjectionManagement.rewind(key, { since: timestamp })
          yield* Wait.until("what came since", () => handled.length === 2)
          yield* caughtUp(name)
          assert.sameMembers(handled.splice(0), [`${b} 2`, `${a} 3`])
          yield* ProjectionManagement.clear(key)
          yield* Wait.until("everything once more", () => handled.length === 5)
          yield* caughtUp(name)
          assert.strictEqual(handled.length, 5)
        }).pipe(whileRunning(projection))
      }))

    it.effect("that begins at a time handles nothing older, also when it runs again and after a rewind to its beginning", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const [a, b] = idsOfSlice(type, 7, 2) as [string, string]
        const { timestamp: before } = yield* append(type, a, texts(2))
        const { timestamp: newestOld } = yield* append(type, "old", texts(1))
        yield* laterThan(newestOld)
        const { timestamp: since } = yield* append(type, a, texts(1))
        yield* append(type, b, texts(1))
        const handled: Array<string> = []
        const deliverNoting = deliver(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
        const run = <A, E, R>(at: Timestamp.Timestamp | undefined, effect: Effect.Effect<A, E, R>) => {
          const all: Managed = Projection.workers(2)(deliverNoting(Source.journal(type)))
          const projection = at === undefined ? all : all.pipe(Projection.beginAt({ since: at }))
          return Effect.andThen(caughtUp(name), effect).pipe(whileRunning(projection))
        }
        yield* run(
          since,
          Effect.gen(function*() {
            assert.deepStrictEqual(handled.splice(0), [`${a} 3`, `${b} 1`])
            yield* append(type, a, texts(1))
            yield* caughtUp(name)
            assert.deepStrictEqual(handled.splice(0), [`${a} 4`])
          })
        )
        // in slices of which it has handled nothing, too
        yield* append(type, "new", texts(1))
        yield* append(type, "old", texts(1))
        yield* run(
          since,
          Effect.gen(function*() {
            assert.sameMembers(handled.splice(0), ["new 1", "old 2"])
            yield* ProjectionManagement.rewind(name, "beginning")
            yield* Wait.until("all since the beginning", () => handled.length === 5)
            yield* caughtUp(name)
            assert.sameMembers(handled.splice(0), [`${a} 3`, `${b} 1`, `${a} 4`, "new 1", "old 2"])
            yield* ProjectionManagement.rewind(name, { since: before })
            yield* Wait.until("no more than that", () => handled.length === 5)
            yield* caughtUp(name)
            assert.strictEqual(handled.splice(0).length, 5)
          })
        )
        // what was passed over is not handled later either
        yield* run(undefined, Effect.sync(() => assert.deepStrictEqual(handled, [])))
      }))

    it.effect("that has stopped at an event goes on when it is told to", () =>
      Effect.gen(function*() {
        let isBroken = true
        let failures = 0
        const { handled, name, projection, type } = managed(deliver, ({ sequenceNumber }) => {
          if (!isBroken || sequenceNumber !== 2) return Effect.void
          failures++
          return Effect.fail("broken")
        }, Projection.recovery(RecoveryStrategy.fail))
        yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          yield* inState(name, "Stopped")
          // it has not been repaired yet
          yield* ProjectionManagement.resume(name)
          yield* Wait.until("another try", () => failures === 2)
          yield* inState(name, "Stopped")
          isBroken = false
          yield* ProjectionManagement.resume(name)
          yield* caughtUp(name)
          assert.deepStrictEqual(handled, ["a 1", "a 2", "a 3"])
        }).pipe(whileRunning(projection))
      }))

    it.effect("that puts aside what fails goes on with other entities, and handles it and what waits behind it later", () =>
      Effect.gen(function*() {
        const broken = new Set(["a 2", "a 3", "b 1"])
        const { handled, name, projection, type } = managed(
          deliver,
          (envelope) => broken.has(placeOf(envelope)) ? Effect.fail(`broken at ${placeOf(envelope)}`) : Effect.void,
          Projection.recovery(RecoveryStrategy.retryAndDeadLetter({ retries: 1, delay: 0 }))
        )
        yield* append(type, "a", texts(4))
        yield* append(type, "b", texts(2))
        yield* appendUndecodable(type, "c")
        yield* append(type, "d", texts(2))
        yield* caughtUp(name).pipe(
          Effect.andThen(Effect.map(ProjectionStatus.status(name), ([worker]) => {
            assert.deepInclude(worker, { handled: 3, skipped: 6, parked: 3 })
          })),
          whileRunning(projection)
        )
        assert.sameMembers(handled.splice(0), ["a 1", "d 1", "d 2"])
        const aside = yield* letters(projection)
        assert.deepStrictEqual(aside.map(([place]) => place), ["a 2", "a 3", "a 4", "b 1", "b 2", "c 1"])
        assert.include(aside[0]![1], "broken at a 2")
        assert.strictEqual(aside[1]![1], ProjectionManagement.queuedError)
        assert.include(aside[5]![1], "test/unknown")
        const counts = ProjectionManagement.deadLetterCounts(projection)
        assert.deepStrictEqual(yield* counts, { entities: 3, failed: 3, queued: 3 })

        broken.clear()
        broken.add("a 3")
        const redriven = yield* Projection.handleDeadLetters(projection)
        assert.deepStrictEqual(redriven, { handled: 3, failed: 2, obsolete: 0, excluded: 0 })
        assert.deepStrictEqual(handled.splice(0), ["a 2", "b 1", "b 2"])
        const left = yield* letters(projection)
        assert.deepStrictEqual(left.map(([place]) => place), ["a 3", "a 4", "c 1"])
        assert.include(left[0]![1], "broken at a 3")
        assert.deepStrictEqual(yield* counts, { entities: 2, failed: 2, queued: 1 })
        broken.clear()
        yield* append(type, "a", texts(1))
        yield* append(type, "b", texts(1))
        yield* Effect.gen(function*() {
          yield* caughtUp(name)
          assert.deepStrictEqual(handled.splice(0), ["b 3"])
          assert.deepStrictEqual(
            yield* Projection.handleDeadLetters(projection),
            { handled: 3, failed: 1, obsolete: 0, excluded: 0 }
          )
          assert.deepStrictEqual(handled.splice(0), ["a 3", "a 4", "a 5"])
          assert.deepStrictEqual((yield* letters(projection)).map(([place]) => place), ["c 1"])
          // while it runs it learns that the entity is not parked any more
          yield* append(type, "a", texts(2))
          yield* append(type, "c", texts(1))
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(handled, ["a 6", "a 7"])
          assert.deepInclude((yield* ProjectionStatus.status(name))[0], { parked: 1 })
          assert.strictEqual(yield* ProjectionManagement.discardLetters(projection, "all"), 2)
          yield* append(type, "c", texts(1))
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(handled.splice(0), ["a 6", "a 7", "c 3"])
          assert.deepInclude((yield* ProjectionStatus.status(name))[0], { parked: 0 })
        }).pipe(whileRunning(projection))
      }))

    it.effect("that has an entity parked leaves it so when it is rewound behind the letter, and unparks it before", () =>
      Effect.gen(function*() {
        let isBroken = true
        const { handled, name, projection, type } = managed(
          deliver,
          ({ sequenceNumber }) => isBroken && sequenceNumber === 2 ? Effect.fail("broken") : Effect.void,
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* append(type, "a", texts(2))
        const { timestamp: before } = yield* append(type, "a", texts(1))
        yield* laterThan(before)
        const { timestamp } = yield* append(type, "a", texts(1))
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(handled.splice(0), ["a 1"])
          isBroken = false
          yield* ProjectionManagement.rewind(projection, { since: timestamp })
          assert.deepStrictEqual((yield* letters(projection)).map(([place]) => place), ["a 2", "a 3"])
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual((yield* letters(projection)).map(([place]) => place), ["a 2", "a 3", "a 4"])
          assert.deepStrictEqual(handled, [])
          yield* ProjectionManagement.rewind(projection, "beginning")
          assert.deepStrictEqual(yield* letters(projection), [])
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(handled, ["a 1", "a 2", "a 3", "a 4"])
        }).pipe(whileRunning(projection))
      }))

    it.effect("handles and discards what has failed in one way alone, with what waits behind it", () =>
      Effect.gen(function*() {
        const broken = new Map([["a 1", "X"], ["a 3", "Y"], ["b 1", "Y"], ["c 1", "X"]])
        const { handled, name, projection, type } = managed(
          deliver,
          (envelope) => {
            const _tag = broken.get(placeOf(envelope))
            return _tag === undefined ? Effect.void : Effect.fail({ _tag })
          },
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        for (const id of ["a", "b", "c"]) yield* append(type, id, texts(4))
        yield* caughtUp(name).pipe(whileRunning(projection))
        broken.delete("a 1")
        broken.delete("b 1")
        const handle = (which: ProjectionManagement.LetterSelection) => Projection.handleDeadLetters(projection, which)
        assert.deepStrictEqual(yield* handle({ fingerprint: "X" }), { ...nothingHandled, handled: 2, failed: 2 })
        assert.deepStrictEqual(handled.splice(0), ["a 1", "a 2"])
        const groups = Effect.map(
          ProjectionManagement.deadLetterGroups(projection),
          (groups) => groups.map(({ fingerprint, letters }) => [fingerprint, letters])
        )
        assert.deepStrictEqual(yield* groups, [["Y", 2], ["X", 1]])
        const persistenceId = PersistenceId.make(type.name, "b")
        assert.deepStrictEqual(yield* handle({ persistenceId, fingerprint: "X" }), nothingHandled)
        assert.deepStrictEqual(yield* handle({ persistenceId }), { ...nothingHandled, handled: 4 })
        assert.deepStrictEqual(handled.splice(0), ["b 1", "b 2", "b 3", "b 4"])
        assert.strictEqual(yield* ProjectionManagement.discardLetters(projection, { fingerprint: "X" }), 1)
        // what waits behind it has no fingerprint
        assert.deepStrictEqual(yield* handle({ fingerprint: "X" }), nothingHandled)
        broken.clear()
        assert.deepStrictEqual(yield* handle({}), { ...nothingHandled, handled: 5 })
        assert.deepStrictEqual(handled, ["a 3", "a 4", "c 2", "c 3", "c 4"])
        assert.deepStrictEqual(yield* letters(projection), [])
      }))

    it.effect("stops where as many events wait as may, and goes on when there is room", () =>
      Effect.gen(function*() {
        let isBroken = true
        const { handled, name, projection, type } = managed(
          deliver,
          ({ sequenceNumber }) => isBroken && sequenceNumber === 1 ? Effect.fail("broken") : Effect.void,
          Projection.recovery(RecoveryStrategy.retryAndDeadLetter({ retries: 0, delay: 0, queue: { capacity: 3 } }))
        )
        yield* append(type, "a", texts(6))
        yield* Effect.gen(function*() {
          yield* inState(name, "Stopped")
          const { failure } = (yield* ProjectionStatus.status(name))[0]!
          assert.instanceOf(Cause.squash(failure!.cause), RecoveryStrategy.DeadLetterQueueFull)
          assert.strictEqual(failure!.event!.sequenceNumber, 5)
          assert.deepStrictEqual((yield* letters(projection)).map(([place]) => place), ["a 1", "a 2", "a 3", "a 4"])
          isBroken = false
          assert.deepStrictEqual(yield* Projection.handleDeadLetters(projection), { ...nothingHandled, handled: 4 })
          yield* ProjectionManagement.resume(name)
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(handled, Array.from({ length: 6 }, (_, i) => `a ${i + 1}`))
        }).pipe(whileRunning(projection))
      }))

    it.effect("holds back what finds no room, if it is to, and goes on by itself", () =>
      Effect.gen(function*() {
        const broken = new Set(["a", "b", "c", "d"])
        const { handled, name, projection, type } = managed(
          deliver,
          ({ persistenceId }) =>
            broken.has(PersistenceId.entityId(persistenceId)) ? Effect.fail("broken") : Effect.void,
          Projection.recovery(
            RecoveryStrategy.retryAndDeadLetter({ retries: 0, delay: 0, queue: { capacity: 2, overflow: "holdBack" } })
          )
        )
        const heldBack = Wait.until(
          "the worker to hold back",
          Effect.map(ProjectionStatus.status(name), ([worker]) =>
            worker?.state === "Restarting" && worker.failure !== undefined &&
            Cause.squash(worker.failure.cause) instanceof RecoveryStrategy.DeadLetterQueueFull)
        )
        const aside = Effect.map(letters(projection), (letters) =>
          letters.map(([place]) => place))
        yield* append(type, "a", texts(5))
        yield* Effect.gen(function*() {
          yield* heldBack
          assert.deepStrictEqual(yield* aside, ["a 1", "a 2", "a 3"])
          broken.delete("a")
          yield* Projection.handleDeadLetters(projection)
          yield* caughtUp(name)
          assert.deepStrictEqual(handled.splice(0), ["a 1", "a 2", "a 3", "a 4", "a 5"])
          // as many entities are parked at most
          for (const id of ["b", "c", "d"]) yield* append(type, id, texts(1))
          // what comes in one chunk with one that finds no room is put aside when the worker comes back
          yield* Wait.until("two to be put aside", Effect.map(aside, (places) => places.length === 2))
          yield* heldBack
          assert.deepStrictEqual(yield* aside, ["b 1", "c 1"])
          broken.clear()
          yield* Projection.handleDeadLetters(projection)
          yield* caughtUp(name)
          assert.deepStrictEqual(handled.toSorted(), ["b 1", "c 1", "d 1"])
        }).pipe(whileRunning(projection))
      }))

    it.effect("discards what finds no room behind, if it is to, and counts it", () =>
      Effect.gen(function*() {
        const { handled, name, projection, type } = managed(
          deliver,
          (envelope) => placeOf(envelope) === "a 1" ? Effect.fail("broken") : Effect.void,
          Projection.recovery(
            RecoveryStrategy.retryAndDeadLetter({ retries: 0, delay: 0, queue: { capacity: 2, overflow: "discard" } })
          )
        )
        yield* append(type, "a", texts(6))
        yield* append(type, "b", texts(2))
        yield* Effect.gen(function*() {
          yield* caughtUp(name)
          assert.deepInclude((yield* ProjectionStatus.status(name))[0], { handled: 2, skipped: 6 })
        }).pipe(whileRunning(projection))
        assert.deepStrictEqual(handled, ["b 1", "b 2"])
        assert.deepStrictEqual((yield* letters(projection)).map(([place]) => place), ["a 1", "a 2", "a 3"])
      }))
  })

  it.effect("more than one page of what is put aside is listed, handled, and what stays is discarded", () =>
    Effect.gen(function*() {
      const type = fresh("projection")
      const name = freshName()
      const broken = new Set(["a", "b"])
      const handled: Array<string> = []
      const projection = Source.journal(type).pipe(
        Projection.exactlyOnce(
          name,
          (envelope: Envelope<string>) =>
            broken.has(PersistenceId.entityId(envelope.persistenceId))
              ? Effect.fail("broken")
              : Effect.sync(() => void handled.push(placeOf(envelope)))
        ),
        Projection.recovery(RecoveryStrategy.deadLetter)
      )
      const pages = Effect.gen(function*() {
        const pages: Array<ReadonlyArray<string>> = []
        let after: ProjectionManagement.DeadLetter | undefined
        while (true) {
          const page = yield* ProjectionManagement.deadLetters(projection, { after })
          if (page.length === 0) return pages
          after = page.at(-1)
          pages.push(
            page.map(({ envelope }) => `${PersistenceId.entityId(envelope.persistenceId)} ${envelope.sequenceNumber}`)
          )
        }
      })
      for (const id of broken) yield* append(type, id, texts(102))
      yield* caughtUp(name).pipe(whileRunning(projection))
      const listed = yield* pages
      assert.deepStrictEqual(listed.map((page) => page.length), [100, 100, 4])
      assert.deepStrictEqual(listed.flat(), [...places("a"), ...places("b")])
      broken.delete("a")
      assert.deepStrictEqual(
        yield* Projection.handleDeadLetters(projection),
        { handled: 102, failed: 1, obsolete: 0, excluded: 0 }
      )
      assert.deepStrictEqual(handled, places("a"))
      assert.deepStrictEqual((yield* pages).flat(), places("b"))
      const persistenceId = PersistenceId.make(type.name, "b")
      for (let sequenceNumber = 1; sequenceNumber <= 102; sequenceNumber++) {
        assert.isDefined(yield* ProjectionManagement.discard(projection, { persistenceId, sequenceNumber }))
      }
      assert.deepStrictEqual(yield* pages, [])
    }))

  it.effect("what is handled later is handled exactly once, too", () =>
    Effect.gen(function*() {
      const type = fresh("source")
      const name = freshName()
      const effects = makeEffects()
      yield* append(type, "a", texts(3))
      let failures = 2
      const projection = Source.journal(type).pipe(
        Projection.exactlyOnce(name, (envelope) =>
          Effect.andThen(
            effects.record(envelope),
            Effect.suspend(() =>
              envelope.sequenceNumber === 2 && failures-- > 0 ? Effect.fail("after it was written") : Effect.void
            )
          )),
        Projection.recovery(RecoveryStrategy.deadLetter)
      )
      yield* caughtUp(name).pipe(whileRunning(projection))
      assert.deepStrictEqual(yield* effects.events("a"), ["1 e1"])
      assert.deepStrictEqual(yield* Projection.handleDeadLetters(projection), {
        handled: 0,
        failed: 1,
        obsolete: 0,
        excluded: 0
      })
      assert.deepStrictEqual(yield* effects.events("a"), ["1 e1"])
      assert.deepStrictEqual(yield* Projection.handleDeadLetters(projection), {
        handled: 2,
        failed: 0,
        obsolete: 0,
        excluded: 0
      })
      assert.deepStrictEqual(yield* effects.events("a"), ["1 e1", "2 e2", "3 e3"])
      assert.deepStrictEqual(yield* letters(projection), [])
    }))

  describe.each(deliveries)("a projection %s", (how, deliver) => {
    it.effect("that is rewound knows so at once: how far it is behind, and that it has not caught up", () =>
      Effect.gen(function*() {
        const { handled, name, projection, type } = managed(deliver, undefined, Projection.workers(2))
        for (const id of ["a", "b", "c"]) yield* append(type, id, texts(3))
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          assert.strictEqual(handled.splice(0).length, 9)
          yield* Projection.rewind(projection, "beginning")
          yield* ProjectionStatus.caughtUp(name)
          assert.strictEqual(handled.splice(0).length, 9)
          // in the middle, and again before anything was stored
          for (let round = 0; round < 3; round++) {
            yield* ProjectionManagement.rewind(projection, "beginning")
            yield* Wait.until("the first event", () => handled.length > 0)
            handled.splice(0)
          }
          yield* Projection.rewind(projection, "beginning")
          yield* ProjectionStatus.caughtUp(name)
          assert.includeMembers([...new Set(handled)], ["a 1", "b 1", "c 1", "a 3", "b 3", "c 3"])
          assert.strictEqual(yield* ProjectionStatus.lag(name), 0)
          handled.splice(0)
          // while it is paused
          yield* ProjectionManagement.pause(name)
          yield* inState(name, "Paused")
          yield* Projection.rewind(projection, "beginning")
          assert.strictEqual(yield* ProjectionStatus.lag(name), 9)
          const waiting = yield* Effect.forkChild(ProjectionStatus.caughtUp(name))
          // an append that is waited for is a while in which nothing happens
          for (let i = 0; i < 3; i++) yield* append(fresh("other"), "x", ["x"])
          assert.isUndefined(waiting.pollUnsafe())
          assert.deepStrictEqual(handled, [])
          yield* ProjectionManagement.resume(name)
          yield* Fiber.join(waiting)
          assert.strictEqual(handled.length, 9)
        }).pipe(whileRunning(projection))
      }))

    it.effect("that is rewound to a time is behind by the events since then, and no others", () =>
      Effect.gen(function*() {
        const { handled, name, projection, type } = managed(deliver, undefined, Projection.workers(3))
        const [quiet, a, b] = [3, 500, 900].flatMap((slice) => idsOfSlice(type, slice, 1)) as [string, string, string]
        yield* append(type, quiet, texts(5))
        yield* append(type, a, texts(5))
        const { timestamp: before } = yield* append(type, b, texts(5))
        yield* laterThan(before)
        // another entity's in the same log
        const [, other] = idsOfSlice(type, 500, 2) as [string, string]
        const { timestamp } = yield* append(type, other, texts(1))
        yield* append(type, b, texts(2))
        const since = { since: timestamp }
        const after = [`${other} 1`, `${b} 6`, `${b} 7`]
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          assert.strictEqual(handled.splice(0).length, 18)
          yield* ProjectionManagement.pause(name)
          yield* inState(name, "Paused")
          for (
            const rewind of [
              Projection.rewind(projection, since),
              // by its key alone, as another process does
              ProjectionManagement.rewind(projection, since)
            ]
          ) {
            yield* rewind
            assert.strictEqual(yield* ProjectionStatus.lag(name), 3)
            yield* ProjectionManagement.resume(name)
            yield* ProjectionStatus.caughtUp(name)
            assert.sameMembers(handled.splice(0), after)
            yield* ProjectionManagement.pause(name)
            yield* inState(name, "Paused")
          }
          const now = yield* Journal.Journal.use((journal) => journal.now)
          const error = yield* Effect.flip(
            Projection.rewind(projection, { since: Timestamp.make(now + 3_600_000_000) })
          )
          assert.instanceOf(error, ProjectionManagement.SinceInFuture)
          assert.strictEqual(yield* ProjectionStatus.lag(name), 0)
        }).pipe(whileRunning(projection))
      }))

    it.effect("that handles again what it has put aside throws the letter away", () =>
      Effect.gen(function*() {
        let isBroken = true
        const { handled, name, projection, type } = managed(
          deliver,
          ({ sequenceNumber }) => isBroken && sequenceNumber === 2 ? Effect.fail("broken") : Effect.void,
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(handled.splice(0), ["a 1"])
          assert.strictEqual((yield* letters(projection)).length, 2)
          isBroken = false
          yield* Projection.rewind(projection, "beginning")
          assert.deepStrictEqual(yield* letters(projection), [])
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(handled, ["a 1", "a 2", "a 3"])
          assert.deepStrictEqual(yield* Projection.handleDeadLetters(projection), nothingHandled)
        }).pipe(whileRunning(projection))
      }))

    it.effect("that is asked twice at once to handle what it has put aside does so once", () =>
      Effect.gen(function*() {
        let isBroken = true
        const { handled, name, projection, type } = managed(deliver, ({ sequenceNumber }) => {
          if (isBroken) return Effect.fail("broken")
          return Effect.andThen(Effect.yieldNow, sequenceNumber === 7 ? Effect.fail("still broken") : Effect.void)
        }, Projection.recovery(RecoveryStrategy.deadLetter))
        yield* append(type, "a", texts(12))
        yield* ProjectionStatus.caughtUp(name).pipe(whileRunning(projection))
        isBroken = false
        const counts = yield* Effect.all(
          Array.from({ length: 3 }, () => retryBusy(Projection.handleDeadLetters(projection))),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(counts.reduce((sum, { handled }) => sum + handled, 0), 6)
        assert.strictEqual(counts.reduce((sum, { obsolete }) => sum + obsolete, 0), 0)
        assert.deepStrictEqual(handled, Array.from({ length: 6 }, (_, i) => `a ${i + 1}`))
        const left = yield* letters(projection)
        assert.deepStrictEqual(left.map(([place]) => place), Array.from({ length: 6 }, (_, i) => `a ${i + 7}`))
        assert.include(left[0]![1], "still broken")
      }))

    it.effect("does not handle what it has put aside and was deleted since", () =>
      Effect.gen(function*() {
        let isBroken = true
        const { handled, name, projection, type } = managed(
          deliver,
          ({ event }) => isBroken ? Effect.fail(`broken at ${event}`) : Effect.void,
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* append(type, "a", texts(3))
        yield* ProjectionStatus.caughtUp(name).pipe(whileRunning(projection))
        isBroken = false
        yield* Journal.deleteEvents(type, "a", { to: number(2) })
        const aside = yield* letters(projection)
        const { deletedError, queuedError } = ProjectionManagement
        assert.deepStrictEqual(aside.map(([, error]) => error), [deletedError, deletedError, queuedError])
        const redriven = yield* Projection.handleDeadLetters(projection)
        assert.deepStrictEqual(redriven, { handled: 1, failed: 0, obsolete: 2, excluded: 0 })
        assert.deepStrictEqual(handled, ["a 3"])
        assert.deepStrictEqual(yield* letters(projection), [])
      }))

    it.effect(`that is cleared while it runs begins again, ${how}`, () =>
      Effect.gen(function*() {
        const handling = yield* Latch.make(false)
        const goOn = yield* Latch.make(false)
        const { handled, name, projection, type } = managed(
          deliver,
          () => handled.length === 0 ? Effect.andThen(handling.open, goOn.await) : Effect.void
        )
        yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          yield* handling.await
          // before its first move; where there is one writer at a time it waits for the handler's transaction
          const clearing = yield* Effect.forkChild(ProjectionManagement.clear(projection))
          if (how === "at least once") yield* Fiber.join(clearing)
          yield* goOn.open
          yield* Fiber.join(clearing)
          yield* ProjectionStatus.caughtUp(name)
          const key = Projection.offsetKey(projection)
          const store = yield* OffsetStore
          const { offsets } = yield* store.load(key, SliceRange.full)
          assert.deepStrictEqual([...offsets.values()].map(({ position }) => position as number), [3])
          // everything once more, after what it had in hand
          assert.deepStrictEqual(handled.slice(-3), ["a 1", "a 2", "a 3"])
          assert.isAtLeast(handled.length, 4)
        }).pipe(whileRunning(projection))
      }))
  })

  const handlers = [
    ["one by one", <E, R>(handle: (envelope: Envelope<string>) => Effect.Effect<void, E, R>) => handle],
    [
      "in groups",
      <E, R>(handle: (envelope: Envelope<string>) => Effect.Effect<void, E, R>) =>
        Handler.grouped(
          { size: 9, within: "5 millis" },
          (envelopes: ReadonlyArray<Envelope<string>>) => Effect.forEach(envelopes, handle, { discard: true })
        )
    ]
  ] as const
  for (const [what, handlerOf] of handlers) {
    it.effect(`what was handled is undone by a rewind, exactly, while events are handled ${what}`, () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        const ids = Array.from({ length: 15 }, (_, i) => `e${i}`)
        for (const id of ids) yield* append(type, id, texts(8))
        let calls = 0
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(
            name,
            handlerOf((envelope: Envelope<string>) =>
              Effect.andThen(Effect.sync(() => void calls++), effects.record(envelope))
            )
          ),
          Projection.workers(4)
        )
        const undo = Effect.forEach(ids, effects.forget, { discard: true })
        yield* Effect.gen(function*() {
          for (const some of [1, 20, 60, 100]) {
            const until = calls + some
            yield* Wait.until(`${some} events`, () => calls >= until)
            yield* Projection.rewind(projection, "beginning", { undo })
          }
          yield* ProjectionStatus.caughtUp(name)
        }).pipe(whileRunning(projection))
        const expected = texts(8).map((event, i) => `${i + 1} ${event}`)
        for (const id of ids) assert.deepStrictEqual(yield* effects.remembered(id), expected, id)
      }))
  }
}

/** More than a page, with those of another entity. */
const places = (id: string) => Array.from({ length: 102 }, (_, i) => `${id} ${i + 1}`)

const nothingHandled = { handled: 0, failed: 0, obsolete: 0, excluded: 0 }
