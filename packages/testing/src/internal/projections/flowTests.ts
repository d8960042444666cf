import { assert, describe } from "@effect/vitest"
import type { Envelope } from "@sluice/core/Envelope"
import { FlowEnded, FlowOverdue } from "@sluice/core/Flow"
import type * as Journal from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as Wait from "../../Wait.ts"
import type { It } from "../kit.ts"
import { append, fresh, idsOfSlice, sliceOf, texts } from "../kit.ts"
import { errorOf, freshName, inState, placeOf, savedSoon, whileRunning } from "./projectionKit.ts"

const places = (id: string, n: number) => Array.from({ length: n }, (_, i) => `${id} ${i + 1}`)

/** The position that is stored of a slice. */
const storedIn = (projection: Projection.Projection<any, any>, slice: number) =>
  Effect.map(
    OffsetStore.use((store) => store.load(Projection.offsetKey(projection), SliceRange.make(slice, slice))),
    ({ offsets }) => [...offsets.values()].reduce((sum, { position }) => sum + position, 0)
  )

/** Waits until the worker has failed with an error. */
const failedWith = (name: string, isMeant: (error: unknown) => boolean) =>
  Wait.until(
    `${name} to fail`,
    Effect.map(
      ProjectionStatus.status(name),
      (workers) => workers.some((worker) => isMeant(errorOf(worker)))
    )
  )

/** @internal Projections whose events pass a stream of the user. */
export const flowTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  describe("a flow", () => {
    it.effect("is given every event, at the same time, and is done with them in any order", () =>
      Effect.gen(function*() {
        const type = fresh("flow")
        const name = freshName()
        const seen: Array<string> = []
        const projection = Source.journal(type).pipe(
          Source.filter(({ sequenceNumber }) => sequenceNumber !== 3),
          Projection.flow(name, (envelopes) =>
            envelopes.pipe(
              Stream.mapEffect((envelope) =>
                Effect.gen(function*() {
                  for (let turns = envelope.sequenceNumber % 4; turns > 0; turns--) yield* Effect.yieldNow
                  seen.push(placeOf(envelope))
                  return envelope
                }), { concurrency: 8, unordered: true })
            ), savedSoon),
          Projection.workers(3)
        )
        const ids = Array.from({ length: 9 }, (_, i) => `e${i}`)
        for (const id of ids) yield* append(type, id, texts(40))
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          for (const id of ids) yield* append(type, id, texts(1))
          yield* ProjectionStatus.caughtUp(name)
        }).pipe(whileRunning(projection))
        assert.sameMembers(seen, ids.flatMap((id) => places(id, 41).filter((place) => !place.endsWith(" 3"))))
        // nothing comes again
        seen.length = 0
        yield* ProjectionStatus.caughtUp(name).pipe(whileRunning(projection))
        assert.deepStrictEqual(seen, [])
      }))

    it.effect("holds the offset of a slice at the first event that is not done, and of no other", () =>
      Effect.gen(function*() {
        const type = fresh("flow")
        const name = freshName()
        const goOn = yield* Latch.make(false)
        const [held, beside] = idsOfSlice(type, 7, 2) as [string, string]
        const [other] = idsOfSlice(type, 8, 1) as [string]
        const seen: Array<string> = []
        const projection = Source.journal(type).pipe(
          Projection.flow(name, (envelopes) =>
            envelopes.pipe(
              Stream.mapEffect((envelope: Envelope<string>) =>
                (placeOf(envelope) === `${held} 2` ? goOn.await : Effect.void).pipe(
                  Effect.andThen(Effect.sync(() => seen.push(placeOf(envelope)))),
                  Effect.as(envelope)
                ), { concurrency: 16, unordered: true })
            ), { saveAfter: 1 })
        )
        yield* append(type, held, texts(3))
        yield* append(type, beside, texts(2))
        yield* append(type, other, texts(4))
        yield* Effect.gen(function*() {
          yield* Wait.until("all others", () => seen.length === 8)
          yield* Wait.until("its offset", Effect.map(storedIn(projection, 8), (position) => position === 4))
          yield* Wait.until("the offset before", Effect.map(storedIn(projection, 7), (position) => position === 1))
          yield* goOn.open
          yield* ProjectionStatus.caughtUp(name)
          assert.strictEqual(yield* storedIn(projection, 7), 5)
        }).pipe(whileRunning(projection))
        assert.strictEqual(sliceOf(type, held), 7)
      }))

    it.effect("has so many events in hand, and no more", () =>
      Effect.gen(function*() {
        const type = fresh("flow")
        const name = freshName()
        const goOn = yield* Latch.make(false)
        let taken = 0
        const projection = Source.journal(type).pipe(
          Projection.flow(name, (envelopes) =>
            envelopes.pipe(
              Stream.tap(() => Effect.sync(() => void taken++)),
              Stream.buffer({ capacity: "unbounded" }),
              Stream.mapEffect((envelope) => Effect.as(goOn.await, envelope))
            ), { inHand: 5 })
        )
        yield* append(type, "a", texts(30))
        yield* Effect.gen(function*() {
          yield* Wait.until("five of them", () => taken === 5)
          yield* append(type, "b", texts(5))
          assert.strictEqual(taken, 5)
          yield* goOn.open
          yield* ProjectionStatus.caughtUp(name)
          assert.strictEqual(taken, 35)
        }).pipe(whileRunning(projection))
      }))

    it.effect("ends what it has before the projection is paused or ends, and begins a new one to go on", () =>
      Effect.gen(function*() {
        const type = fresh("flow")
        const name = freshName()
        const groups: Array<ReadonlyArray<string>> = []
        let began = 0
        let ended = 0
        const projection = Source.journal(type).pipe(
          Projection.flow(name, (envelopes) =>
            Stream.unwrap(Effect.gen(function*() {
              began++
              yield* Effect.addFinalizer(() => Effect.sync(() => void ended++))
              return envelopes.pipe(
                // which nothing but the end of the envelopes flushes
                Stream.groupedWithin(1000, "1 hour"),
                Stream.tap((group) => Effect.sync(() => void groups.push(group.map(placeOf)))),
                Stream.flattenIterable
              )
            })))
        )
        yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          const isGiven = Wait.until(
            "the flow to have them",
            Effect.map(ProjectionStatus.status(name), ([worker]) => worker!.state === "CatchingUp")
          )
          yield* isGiven
          yield* ProjectionManagement.pause(name)
          yield* inState(name, "Paused")
          const flushed = groups.flat().length
          assert.deepStrictEqual(groups.flat(), places("a", flushed))
          assert.strictEqual(yield* ProjectionStatus.lag(name), 3 - flushed)
          assert.deepStrictEqual([began, ended], [1, 1])
          yield* ProjectionManagement.resume(name)
          yield* Wait.until("a new flow", () => began === 2)
        }).pipe(whileRunning(projection))
        assert.strictEqual(ended, 2)
      }))

    it.effect("that fails begins again from the stored offsets, and leaves nothing out", () =>
      Effect.gen(function*() {
        const type = fresh("flow")
        const name = freshName()
        let failures = 0
        const seen: Array<string> = []
        const projection = Source.journal(type).pipe(
          Projection.flow(name, (envelopes) =>
            envelopes.pipe(Stream.mapEffect((envelope) =>
              envelope.sequenceNumber === 4 && failures++ === 0
                ? Effect.fail("once" as const)
                : Effect.as(
                  Effect.sync(() =>
                    seen.push(placeOf(envelope))
                  ),
                  envelope
                )
            )))
        )
        yield* append(type, "a", texts(6))
        yield* Effect.gen(function*() {
          yield* failedWith(name, (error) => error === "once")
          yield* ProjectionStatus.caughtUp(name)
        }).pipe(whileRunning(projection))
        // those before the failure were done, and their offsets are stored at the end
        assert.deepStrictEqual(seen, places("a", 6))
      }))

    it.effect("that does not emit an event is found out, by name, and goes past none", () =>
      Effect.gen(function*() {
        const type = fresh("flow")
        const name = freshName()
        let isForgetful = true
        const projection = Source.journal(type).pipe(
          Projection.flow(
            name,
            (envelopes) => Stream.filter(envelopes, ({ sequenceNumber }) => !isForgetful || sequenceNumber !== 2),
            { deadline: "200 millis", saveAfter: 1 }
          )
        )
        const { persistenceId, slice } = yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          yield* failedWith(
            name,
            (error) =>
              error instanceof FlowOverdue && error.persistenceId === persistenceId && error.sequenceNumber === 2 &&
              error.message.includes("200 ms")
          )
          assert.strictEqual(yield* storedIn(projection, slice), 1)
          isForgetful = false
          yield* ProjectionStatus.caughtUp(name)
        }).pipe(whileRunning(projection))
      }))

    it.effect("that takes nothing is found out, and so is one that ends by itself", () =>
      Effect.gen(function*() {
        const type = fresh("flow")
        const flows = [
          ["takes nothing", () => Stream.never, FlowOverdue],
          ["ends", (envelopes: Stream.Stream<Envelope<string>>) => Stream.take(envelopes, 1), FlowEnded]
        ] as const
        yield* append(type, "a", texts(3))
        for (const [, flow, tag] of flows) {
          const name = freshName()
          const projection = Source.journal(type).pipe(Projection.flow(name, flow, { deadline: "200 millis" }))
          yield* failedWith(name, (error) => error instanceof tag).pipe(whileRunning(projection))
        }
      }))

    it.effect("that fails or ends by itself is found out also while it has nothing", () =>
      Effect.gen(function*() {
        const type = fresh("flow")
        yield* append(type, "a", texts(3))
        for (const fails of [true, false]) {
          const name = freshName()
          const goOn = yield* Latch.make(false)
          const other = Effect.andThen(goOn.await, fails ? Effect.fail("broken" as const) : Effect.void)
          const projection = Source.journal(type).pipe(
            Projection.flow(name, (envelopes) =>
              Stream.merge(envelopes, Stream.drain(Stream.fromEffect(other)), { haltStrategy: "either" }))
          )
          yield* Effect.gen(function*() {
            yield* ProjectionStatus.caughtUp(name)
            yield* goOn.open
            yield* failedWith(name, (error) =>
              fails ? error === "broken" : error instanceof FlowEnded)
          }).pipe(whileRunning(projection))
        }
      }))

    it.effect("is given the events once more after a rewind, and those that were put aside before it", () =>
      Effect.gen(function*() {
        const type = fresh("flow")
        const name = freshName()
        const seen: Array<string> = []
        let isBroken = true
        const projection = Source.journal(type).pipe(
          Source.map(({ event, sequenceNumber }) => {
            if (isBroken && sequenceNumber === 2) throw new Error("broken")
            return event
          }),
          Projection.flow(name, (envelopes) =>
            envelopes.pipe(
              Stream.tap((envelope) => Effect.sync(() => seen.push(placeOf(envelope)))),
              // anything that names the event will do
              Stream.map(({ persistenceId, sequenceNumber }) => ({ persistenceId, sequenceNumber }))
            )),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* append(type, "a", texts(3))
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(seen.splice(0), ["a 1"])
          isBroken = false
          const { handled } = yield* Projection.handleDeadLetters(projection)
          assert.strictEqual(handled, 2)
          assert.deepStrictEqual(seen.splice(0), ["a 2", "a 3"])
          yield* Projection.rewind(projection, "beginning")
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(seen, places("a", 3))
        }).pipe(whileRunning(projection))
      }))

    it.effect("is not given what waits behind a dead letter of its entity, and is given what comes after it was handled", () =>
      Effect.gen(function*() {
        const type = fresh("flow")
        const name = freshName()
        const [parked, beside] = idsOfSlice(type, 7, 2) as [string, string]
        const seen: Array<string> = []
        let began = 0
        let isBroken = true
        const projection = Source.journal(type).pipe(
          Source.tap((envelope) =>
            isBroken && placeOf(envelope) === `${parked} 2` ? Effect.fail("broken") : Effect.void
          ),
          Projection.flow(name, (envelopes) =>
            Stream.suspend(() => {
              began++
              return Stream.tap(envelopes, (envelope) => Effect.sync(() => seen.push(placeOf(envelope))))
            }), savedSoon),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* append(type, parked, texts(3))
        yield* append(type, beside, texts(2))
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          assert.sameMembers(seen.splice(0), [...places(parked, 1), ...places(beside, 2)])
          yield* append(type, parked, texts(1))
          yield* append(type, beside, texts(1))
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(seen.splice(0), [`${beside} 3`])
          const [status] = yield* ProjectionStatus.status(name)
          assert.deepInclude(status, { handled: 4, skipped: 3 })
          assert.strictEqual(yield* storedIn(projection, 7), 7)
        }).pipe(whileRunning(projection))
        const beganBefore = began
        yield* Effect.gen(function*() {
          yield* append(type, parked, texts(1))
          yield* ProjectionStatus.caughtUp(name)
          yield* Wait.until("the flow of the worker to begin", Effect.sync(() => began > beganBefore))
          const letters = yield* ProjectionManagement.deadLetters(projection)
          assert.deepStrictEqual(
            letters.map(({ envelope, isQueued }) => [Number(envelope.sequenceNumber), isQueued]),
            [[2, false], [3, true], [4, true], [5, true]]
          )
          assert.deepStrictEqual(seen, [])
          isBroken = false
          const before = began
          const { handled } = yield* Projection.handleDeadLetters(projection)
          assert.strictEqual(handled, 4)
          assert.deepStrictEqual(seen.splice(0), places(parked, 5).slice(1))
          assert.strictEqual(began - before, 4, "a flow for each letter")
          yield* append(type, parked, texts(2))
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(seen, [`${parked} 6`, `${parked} 7`])
          assert.strictEqual(began - before, 4, "the flow of the worker")
        }).pipe(whileRunning(projection))
      }))

    it.effect("that does not emit a dead letter, or fails at it, leaves it, and what waits behind it", () =>
      Effect.gen(function*() {
        const type = fresh("flow")
        const name = freshName()
        const seen: Array<string> = []
        let isBroken = true
        const projection = Source.journal(type).pipe(
          Source.tap(({ sequenceNumber }) => isBroken && sequenceNumber === 1 ? Effect.fail("broken") : Effect.void),
          Projection.flow(name, (envelopes) =>
            envelopes.pipe(
              Stream.mapEffect((envelope) => {
                if (envelope.event === "fails") return Effect.fail("failed in the flow")
                if (envelope.event === "stays") return Effect.never
                return Effect.as(Effect.sync(() => seen.push(placeOf(envelope))), envelope)
              }),
              Stream.filter(({ event }) => event !== "dropped")
            ), { deadline: "500 millis", ...savedSoon }),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        for (const event of ["dropped", "fails", "stays"]) yield* append(type, event, [event, "next"])
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          isBroken = false
          assert.deepStrictEqual(yield* Projection.handleDeadLetters(projection), {
            handled: 0,
            failed: 3,
            obsolete: 0,
            excluded: 0
          })
          assert.deepStrictEqual(seen, ["dropped 1"])
          const letters = yield* ProjectionManagement.deadLetters(projection)
          assert.lengthOf(letters, 6)
          const errors = letters.filter(({ isQueued }) => !isQueued).map(({ error }) => error)
          assert.include(errors[0], "FlowEnded")
          assert.include(errors[0], "has not emitted event 1 of")
          assert.include(errors[1], "failed in the flow")
          assert.include(errors[2], "FlowOverdue")
          // the worker's own flow goes on
          yield* append(type, "other", texts(1))
          yield* append(type, "other", texts(1))
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(seen, ["dropped 1", ...places("other", 2)])
          assert.deepInclude((yield* ProjectionStatus.status(name))[0], { state: "Running" })
        }).pipe(whileRunning(projection))
      }))
  })
}
