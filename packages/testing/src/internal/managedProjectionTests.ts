import { assert, describe } from "@effect/vitest"
import type * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import type * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Wait from "../Wait.ts"
import type { It } from "./kit.ts"
import { append, fresh, idsOfSlice, texts } from "./kit.ts"
import { appendUndecodable, caughtUp, freshName, makeEffects, placeOf, whileRunning } from "./projectionKit.ts"

type Handle = (envelope: Envelope<string>) => Effect.Effect<void, unknown, Journal.Journal>

const deliveries: ReadonlyArray<readonly [name: string, of: (name: string, handle: Handle) => any]> = [
  ["exactly once", (name, handle) => Projection.exactlyOnce(name, handle)],
  ["at least once", (name, handle) => Projection.atLeastOnce(name, handle, { saveAfter: 1 })]
]

const project = (
  type: EntityType.EntityType<string>,
  deliver: ReturnType<typeof deliveries[0][1]>
): Projection.Projection<unknown, Journal.Journal | Projection.Stores> => deliver(Source.journal(type))

const inState = (name: string, state: ProjectionStatus.WorkerState) =>
  Wait.until(
    `all workers of ${name} to be ${state}`,
    Effect.map(
      ProjectionStatus.status(name),
      (workers) => workers.length > 0 && workers.every((worker) => worker.state === state)
    )
  )

const letters = (projection: Projection.Projection<any, any>) =>
  Effect.map(
    ProjectionManagement.deadLetters(Projection.offsetKey(projection)),
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
        const type = fresh("source")
        const name = freshName()
        yield* append(type, "a", texts(50))
        const passes = yield* Latch.make(false)
        const handled: Array<string> = []
        const projection = project(
          type,
          deliver(name, (envelope) =>
            Effect.gen(function*() {
              if (envelope.sequenceNumber === 3) yield* passes.await
              handled.push(placeOf(envelope))
            }))
        )
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
        const type = fresh("source")
        const name = freshName()
        const [a, b] = [...idsOfSlice(type, 3, 1), ...idsOfSlice(type, 900, 1)] as [string, string]
        const handled: Array<string> = []
        const projection = Projection.workers(2)(project(
          type,
          deliver(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
        ))
        const key = Projection.offsetKey(projection)
        yield* append(type, a, texts(2))
        yield* append(type, b, texts(1))
        const first = [`${a} 1`, `${a} 2`, `${b} 1`]
        yield* Effect.gen(function*() {
          yield* caughtUp(name)
          assert.sameMembers(handled.splice(0), first)
          yield* ProjectionManagement.rewind(key, "beginning")
          yield* Wait.until("everything again", () => handled.length === 3)
          yield* caughtUp(name)
          assert.sameMembers(handled.splice(0), first)
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

    it.effect("that has stopped at an event goes on when it is told to", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        yield* append(type, "a", texts(3))
        let isBroken = true
        const handled: Array<string> = []
        const projection = project(
          type,
          deliver(name, (envelope) =>
            Effect.suspend(() => {
              if (isBroken && envelope.sequenceNumber === 2) return Effect.fail("broken")
              handled.push(placeOf(envelope))
              return Effect.void
            }))
        ).pipe(Projection.recovery(RecoveryStrategy.fail))
        yield* Effect.gen(function*() {
          yield* inState(name, "Stopped")
          // it has not been repaired yet
          yield* ProjectionManagement.resume(name)
          yield* inState(name, "Stopped")
          isBroken = false
          yield* ProjectionManagement.resume(name)
          yield* caughtUp(name)
          assert.deepStrictEqual(handled, ["a 1", "a 2", "a 3"])
        }).pipe(whileRunning(projection))
      }))

    it.effect("that puts aside what fails goes on, and can handle it later", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        yield* append(type, "a", texts(4))
        yield* append(type, "b", texts(2))
        yield* appendUndecodable(type, "c")
        const broken = new Set(["a 2", "a 3", "b 1"])
        const projection = project(
          type,
          deliver(name, (envelope) =>
            Effect.andThen(
              effects.record(envelope),
              broken.has(placeOf(envelope)) ? Effect.fail(`broken at ${placeOf(envelope)}`) : Effect.void
            ))
        ).pipe(Projection.recovery(RecoveryStrategy.retryAndDeadLetter({ retries: 1, delay: 0 })))
        yield* caughtUp(name).pipe(
          Effect.andThen(Effect.map(ProjectionStatus.status(name), ([worker]) => {
            assert.deepInclude(worker, { handled: 3, skipped: 4 })
          })),
          whileRunning(projection)
        )
        const aside = yield* letters(projection)
        assert.deepStrictEqual(aside.map(([place]) => place), ["a 2", "a 3", "b 1", "c 1"])
        assert.include(aside[0]![1], "broken at a 2")
        assert.include(aside[3]![1], "test/unknown")

        broken.clear()
        broken.add("a 3")
        assert.deepStrictEqual(yield* Projection.handleDeadLetters(projection), { handled: 2, failed: 2, obsolete: 0 })
        assert.deepStrictEqual((yield* letters(projection)).map(([place]) => place), ["a 3", "c 1"])
        broken.clear()
        assert.deepStrictEqual(yield* Projection.handleDeadLetters(projection), { handled: 1, failed: 1, obsolete: 0 })
        assert.deepStrictEqual((yield* letters(projection)).map(([place]) => place), ["c 1"])
      }))
  })

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
      assert.deepStrictEqual(yield* effects.events("a"), ["1 e1", "3 e3"])
      assert.deepStrictEqual(yield* Projection.handleDeadLetters(projection), { handled: 0, failed: 1, obsolete: 0 })
      assert.deepStrictEqual(yield* effects.events("a"), ["1 e1", "3 e3"])
      assert.deepStrictEqual(yield* Projection.handleDeadLetters(projection), { handled: 1, failed: 0, obsolete: 0 })
      assert.deepStrictEqual(yield* effects.events("a"), ["1 e1", "3 e3", "2 e2"])
      assert.deepStrictEqual(yield* letters(projection), [])
    }))
}
