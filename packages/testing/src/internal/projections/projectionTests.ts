import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import { EventDecodeError } from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { Fenced, OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Wait from "../../Wait.ts"
import { freshId } from "../ids.ts"
import type { It } from "../kit.ts"
import { append, fresh, idsIn, idsOfSlice, number, readAll, sliceOf, texts, transactAs } from "../kit.ts"
import {
  appendUndecodable,
  caughtUp,
  errorOf,
  freshName,
  makeEffects,
  makeWriter,
  persistent,
  placeOf,
  rangeOf,
  stopped,
  whileRunning
} from "./projectionKit.ts"

const unavailable = new StorageError({ operation: "test", reason: "Unavailable", cause: new Error("gone") })

/** Runs an effect as a process of its own, as far as the status of projections is concerned. */
const asProcess = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, ProjectionRegistry.ProjectionRegistry, ProjectionRegistry.make())

/** Sees everything that a handler has handled, and fails when an event is left out. */
const makeSeen = () => {
  const seen: Array<string> = []
  const last = new Map<string, number>()
  return {
    seen,
    see: (envelope: Envelope<unknown>) => {
      const known = last.get(envelope.persistenceId) ?? 0
      assert.isAtMost(envelope.sequenceNumber, known + 1, `an event of ${envelope.persistenceId} was left out`)
      last.set(envelope.persistenceId, Math.max(known, envelope.sequenceNumber))
      seen.push(placeOf(envelope))
    }
  }
}
const placesOf = (written: ReadonlyMap<string, ReadonlyArray<string>>) =>
  [...written].flatMap(([id, events]) => events.map((_, i) => `${id} ${i + 1}`))

/** Stores an offset as a projection does. */
const offsetsIn = (journal: string, name: string, source: string, slice: number, offset: Offset.Offset) =>
  transactAs(
    { projection: name, source },
    journal,
    [{ slice: Slice.make(slice), from: undefined, to: offset }],
    Effect.void
  )

/** @internal */
export const projectionTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  describe("exactly once", () => {
    it.effect("hands every event to its handler, once and in order", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        for (let i = 0; i < 30; i++) yield* write(`${i}`, 1 + i % 4)
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, effects.record),
          Projection.workers(4)
        )
        yield* caughtUp(name).pipe(whileRunning(projection))
        yield* effects.assertExact(written)
      }))

    const handlers = [
      ["a handler", <E, R>(handle: (envelope: Envelope<string>) => Effect.Effect<void, E, R>) => handle],
      [
        "a handler of groups",
        <E, R>(handle: (envelope: Envelope<string>) => Effect.Effect<void, E, R>) =>
          Handler.grouped(
            { size: 7, within: "5 millis" },
            (envelopes: ReadonlyArray<Envelope<string>>) => Effect.forEach(envelopes, handle, { discard: true })
          )
      ]
    ] as const
    for (const [what, handlerOf] of handlers) {
      it.effect(`stays exact with ${what} that fails at random and workers that come and go`, () =>
        Effect.gen(function*() {
          const type = fresh("source")
          const name = freshName()
          const effects = makeEffects()
          const { write, written } = makeWriter(type)
          for (let i = 0; i < 12; i++) yield* write(`${i}`, 3)
          let calls = 0
          const handle = Effect.fnUntraced(function*(envelope: Envelope<string>) {
            calls++
            for (let turns = yield* Random.nextIntBetween(0, 2); turns > 0; turns--) yield* Effect.yieldNow
            if ((yield* Random.next) < 0.05) return yield* Effect.fail("before")
            yield* effects.record(envelope)
            if ((yield* Random.next) < 0.1) return yield* Effect.fail("after")
          })
          const projection = Source.journal(type).pipe(
            Projection.exactlyOnce(name, handlerOf(handle)),
            Projection.recovery(persistent)
          )
          for (const workers of [3, 1, 8, 2, 5]) {
            for (let i = 0; i < 12; i++) yield* write(`${i}`, 1 + i % 2)
            const interrupted = calls + (yield* Random.nextIntBetween(1, 20))
            yield* Wait.until(`${interrupted} calls of the handler`, () => calls >= interrupted).pipe(
              whileRunning(Projection.workers(workers)(projection))
            )
          }
          yield* caughtUp(name).pipe(whileRunning(Projection.workers(4)(projection)))
          yield* effects.assertExact(written)
        }))
    }

    it.effect("skips no event for what the storage has done, whatever becomes of the error", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const { see, seen } = makeSeen()
        const missing = new StorageError({
          operation: "test",
          reason: "Misconfigured",
          cause: new Error("no such table")
        })
        const failures: ReadonlyArray<Effect.Effect<never, unknown>> = [
          Effect.fail(unavailable),
          Effect.fail(missing),
          Effect.die(unavailable),
          Effect.fail(new Error("mapped", { cause: unavailable })),
          Effect.die(new Error("mapped", { cause: new Error("twice", { cause: missing }) })),
          Effect.failCause(Cause.combine(Cause.fail("mine"), Cause.die(unavailable)))
        ]
        yield* append(type, "a", texts(failures.length))
        const failed = new Set<number>()
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, (envelope) =>
            Effect.suspend((): Effect.Effect<void, unknown> => {
              const i = envelope.sequenceNumber - 1
              if (failed.has(i)) return Effect.sync(() => see(envelope))
              failed.add(i)
              return failures[i]!
            })),
          Projection.recovery(RecoveryStrategy.skip)
        )
        yield* Effect.gen(function*() {
          yield* caughtUp(name)
          const [status] = yield* ProjectionStatus.status(name)
          assert.deepStrictEqual([status!.skipped, status!.handled], [0, failures.length])
        }).pipe(whileRunning(projection), asProcess)
        assert.deepStrictEqual(seen, failures.map((_, i) => `a ${i + 1}`))
      }))

    it.effect("fences a second worker: nothing is processed twice", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        for (let i = 0; i < 10; i++) yield* write(`${i}`, 3)
        // the second has read its offsets and events, and is stopped before it handles any
        const arrived = yield* Deferred.make<void>()
        const goOn = yield* Latch.make(false)
        const second = Source.journal(type).pipe(
          Source.tap(() => Effect.andThen(Deferred.succeed(arrived, undefined), goOn.await)),
          Projection.exactlyOnce(name, effects.record)
        )
        const first = Source.journal(type).pipe(Projection.exactlyOnce(name, effects.record))
        yield* Effect.gen(function*() {
          yield* Deferred.await(arrived)
          yield* caughtUp(name).pipe(whileRunning(first), asProcess)
          yield* goOn.open
          let failure: unknown
          yield* Wait.until(
            "the second worker to be fenced",
            Effect.map(ProjectionStatus.status(name), ([worker]) => {
              if (worker!.state === "Fenced") failure = errorOf(worker!)
              return worker!.restarts === 1
            })
          )
          assert.instanceOf(failure, Fenced)
          yield* effects.assertExact(written)
          // it goes on from where the other was
          yield* write("0", 2)
          yield* caughtUp(name)
        }).pipe(whileRunning(second), asProcess)
        yield* effects.assertExact(written)
      }))

    it.effect("stays exact while two run at the same time", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        for (let i = 0; i < 10; i++) yield* write(`${i}`, 4)
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, (envelope) => Effect.andThen(effects.record(envelope), Effect.yieldNow))
        )
        yield* Effect.forkScoped(asProcess(Projection.run(Projection.workers(3)(projection))))
        yield* Effect.forkScoped(asProcess(Projection.run(Projection.workers(2)(projection))))
        for (let i = 0; i < 10; i++) yield* write(`${i}`, 2)
        yield* caughtUp(name).pipe(whileRunning(projection), asProcess)
        yield* effects.assertExact(written)
      }))
  })

  describe("at least once", () => {
    it.effect("hands every event to its handler, once as long as nothing fails", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const { see, seen } = makeSeen()
        const { write, written } = makeWriter(type)
        const projection = Source.journal(type).pipe(
          Projection.atLeastOnce(name, (envelope) => Effect.sync(() => see(envelope)), {
            saveAfter: Number.MAX_SAFE_INTEGER,
            saveWithin: "1 hour"
          })
        )
        for (const workers of [3, 1, 4]) {
          for (let i = 0; i < 20; i++) yield* write(`${i}`, 1 + i % 3)
          const total = placesOf(written).length
          // workers that are interrupted store how far they came
          yield* Wait.until(`${total} events to be handled`, () => seen.length >= total).pipe(
            whileRunning(Projection.workers(workers)(projection))
          )
        }
        assert.sameMembers(seen, placesOf(written))
      }))

    it.effect("stores how far it came after so many events, and after so long", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        yield* append(type, "a", texts(10))
        const stored = Effect.gen(function*() {
          const offsets = yield* OffsetStore
          const { offsets: found } = yield* offsets.load(
            { projection: name, source: Source.journal(type).provider.key },
            SliceRange.full
          )
          return [...found.values()].map(({ position }) => position as number)
        })
        const often = Source.journal(type).pipe(
          Projection.atLeastOnce(name, () => Effect.void, { saveAfter: 5, saveWithin: "1 hour" })
        )
        yield* Wait.until("10 events to be stored", Effect.map(stored, ([position]) => position === 10)).pipe(
          whileRunning(often)
        )
        yield* append(type, "a", texts(2))
        const soon = Source.journal(type).pipe(
          Projection.atLeastOnce(name, () => Effect.void, { saveAfter: 1000, saveWithin: "10 millis" })
        )
        yield* Wait.until("12 events to be stored", Effect.map(stored, ([position]) => position === 12)).pipe(
          whileRunning(soon)
        )
      }))

    it.effect("repeats what was not stored when it crashed, and leaves nothing out", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const { see, seen } = makeSeen()
        const { write, written } = makeWriter(type)
        const store = yield* OffsetStore
        for (const workers of [2, 1, 3, 1]) {
          for (let i = 0; i < 10; i++) yield* write(`${i}`, 3)
          // from some moment on nothing reaches the store, as when the process is killed
          let handled = 0
          const crash = yield* Random.nextIntBetween(5, 25)
          const crashing = OffsetStore.of({
            ...store,
            transact: (key, journal, moves, effect) =>
              handled < crash ? store.transact(key, journal, moves, effect) : Effect.fail(unavailable)
          })
          const projection = Source.journal(type).pipe(
            Projection.atLeastOnce(
              name,
              (envelope) =>
                Effect.sync(() => {
                  see(envelope)
                  handled++
                }),
              { saveAfter: 4, saveWithin: "1 hour" }
            ),
            Projection.workers(workers)
          )
          yield* Wait.until("the crash", () => handled >= crash).pipe(
            whileRunning(projection),
            Effect.provideService(OffsetStore, crashing)
          )
        }
        const projection = Source.journal(type).pipe(
          Projection.atLeastOnce(name, (envelope) => Effect.sync(() => see(envelope)), { saveWithin: "1 millis" })
        )
        yield* caughtUp(name).pipe(whileRunning(projection))
        assert.deepStrictEqual(new Set(seen), new Set(placesOf(written)))
      }))

    it.effect("repeats no more than what was not stored when the store failed", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const { see, seen } = makeSeen()
        yield* append(type, "a", texts(12))
        const store = yield* OffsetStore
        let calls = 0
        let stored = 0
        let seenBefore = 0
        const failing = OffsetStore.of({
          ...store,
          transact: (key, journal, moves, effect) => {
            // the third, and the attempt to store once more before the restart
            if (++calls === 3 || calls === 4) {
              seenBefore = seen.length
              return Effect.fail(unavailable)
            }
            if (calls < 3) stored = moves[0]!.to.position
            return store.transact(key, journal, moves, effect)
          }
        })
        const projection = Source.journal(type).pipe(
          Projection.atLeastOnce(name, (envelope) => Effect.sync(() => see(envelope)), {
            saveAfter: 5,
            saveWithin: "5 millis"
          })
        )
        yield* Effect.gen(function*() {
          yield* Wait.until(
            "a restart",
            Effect.map(ProjectionStatus.status(name), ([worker]) => worker!.restarts === 1)
          )
          yield* caughtUp(name)
        }).pipe(whileRunning(projection), Effect.provideService(OffsetStore, failing))
        const all = texts(12).map((_, i) => `a ${i + 1}`)
        assert.isAtLeast(stored, 5)
        assert.deepStrictEqual(seen, [...all.slice(0, seenBefore), ...all.slice(stored)])
      }))

    it.effect("stays complete with a handler that fails at random", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const { see, seen } = makeSeen()
        const { write, written } = makeWriter(type)
        for (let i = 0; i < 10; i++) yield* write(`${i}`, 6)
        const handle = Effect.fnUntraced(function*(envelope: Envelope<string>) {
          if ((yield* Random.next) < 0.2) return yield* Effect.fail("before")
          see(envelope)
          if ((yield* Random.next) < 0.2) return yield* Effect.fail("after")
        })
        const projection = Source.journal(type).pipe(
          Projection.atLeastOnce(name, handle, { saveWithin: "1 millis" }),
          Projection.recovery(persistent),
          Projection.workers(2)
        )
        yield* caughtUp(name).pipe(whileRunning(projection))
        assert.deepStrictEqual(new Set(seen), new Set(placesOf(written)))
      }))
  })

  describe("a handler of groups", () => {
    it.effect("is given full groups when there is enough", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const groups: Array<ReadonlyArray<string>> = []
        yield* append(type, "a", texts(20))
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(
            name,
            Handler.grouped(
              { size: 10, within: "1 minute" },
              (envelopes) => Effect.sync(() => groups.push(envelopes.map(({ event }) => event)))
            )
          )
        )
        const [worker] = yield* Effect.andThen(caughtUp(name), ProjectionStatus.status(name)).pipe(
          whileRunning(projection)
        )
        assert.strictEqual(worker!.handled, 20)
        assert.deepStrictEqual(groups, [texts(20).slice(0, 10), texts(20).slice(10)])
      }))

    it.effect("is given less when the events are large", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const groups: Array<ReadonlyArray<number>> = []
        const events = [10, 40, 60, 10, 200, 10, 90].map((bytes) => "x".repeat(bytes)) as [string, ...Array<string>]
        yield* append(type, "a", events)
        const projection = Source.journal(type).pipe(
          Source.map(({ event }) => event.length),
          Projection.exactlyOnce(
            name,
            Handler.grouped(
              { size: 10, within: "1 minute", bytes: 100 },
              (envelopes) => Effect.sync(() => groups.push(envelopes.map(({ event }) => event)))
            )
          )
        )
        yield* caughtUp(name).pipe(whileRunning(projection))
        assert.deepStrictEqual(groups, [[10, 40, 60], [10, 200], [10, 90]])
      }))

    it.effect("is given less when it would have to wait too long", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const groups: Array<ReadonlyArray<string>> = []
        const projection = Source.journal(type).pipe(
          Projection.atLeastOnce(
            name,
            Handler.grouped(
              { size: 10, within: "20 millis" },
              (envelopes) => Effect.sync(() => groups.push(envelopes.map(({ event }) => event)))
            )
          )
        )
        yield* Effect.gen(function*() {
          yield* append(type, "a", texts(13))
          yield* Wait.until("13 events", () => groups.flat().length === 13)
          yield* append(type, "a", ["last"])
          yield* Wait.until("one more", () => groups.flat().length === 14)
        }).pipe(whileRunning(projection))
        assert.deepStrictEqual(groups.flat(), [...texts(13), "last"])
        for (const group of groups) assert.isTrue(group.length > 0 && group.length <= 10)
      }))

    for (const [what, strategy] of [["skips", RecoveryStrategy.skip], ["stops at", RecoveryStrategy.fail]] as const) {
      it.effect(`that fails on one event ${what} that one`, () =>
        Effect.gen(function*() {
          const type = fresh("source")
          const name = freshName()
          const effects = makeEffects()
          yield* append(type, "a", texts(9))
          const projection = Source.journal(type).pipe(
            Projection.exactlyOnce(
              name,
              Handler.grouped({ size: 10, within: "5 millis" }, (envelopes) =>
                Effect.forEach(
                  envelopes,
                  (envelope) =>
                    Effect.andThen(
                      effects.record(envelope),
                      envelope.event === "e5" ? Effect.fail("poison") : Effect.void
                    ),
                  { discard: true }
                ))
            ),
            Projection.recovery(strategy)
          )
          const done = texts(9).map((event, i) => `${i + 1} ${event}`)
          yield* Effect.gen(function*() {
            if (strategy.poison === "skip") {
              yield* caughtUp(name)
              const [worker] = yield* ProjectionStatus.status(name)
              assert.deepInclude(worker, { handled: 8, skipped: 1 })
              assert.deepStrictEqual(yield* effects.events("a"), done.filter((text) => !text.startsWith("5")))
            } else {
              const worker = yield* stopped(name)
              assert.strictEqual(worker.failure!.event!.sequenceNumber, 5)
              assert.strictEqual(errorOf(worker), "poison")
              assert.deepStrictEqual(yield* effects.events("a"), done.slice(0, 4))
            }
          }).pipe(whileRunning(projection))
        }))
    }
  })

  describe("a group of many slices", () => {
    it.effect("that fails on one event leaves none of the others out", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        for (let i = 0; i < 9; i++) yield* write(`${i}`, 1)
        let poison: string | undefined = "4"
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(
            name,
            Handler.grouped({ size: 20, within: "5 millis" }, (envelopes: ReadonlyArray<Envelope<string>>) =>
              Effect.forEach(
                envelopes,
                (envelope) =>
                  Effect.andThen(
                    effects.record(envelope),
                    placeOf(envelope) === `${poison} 1` ? Effect.fail("poison") : Effect.void
                  ),
                { discard: true }
              ))
          ),
          Projection.recovery(RecoveryStrategy.fail)
        )
        const worker = yield* stopped(name).pipe(whileRunning(projection))
        assert.strictEqual(worker.failure!.event!.persistenceId, EntityType.persistenceId(type, "4"))
        poison = undefined
        yield* caughtUp(name).pipe(whileRunning(projection))
        yield* effects.assertExact(written)
      }))
  })

  describe("the stages of a source", () => {
    it.effect("change events on their way to the handler, and leave their places alone", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        yield* append(type, "a", texts(8))
        const tapped: Array<string> = []
        const handled: Array<readonly [number, { length: number; text: string }]> = []
        const projection = Source.journal(type).pipe(
          Source.filter(({ event }) => event !== "e2"),
          Source.map(({ event }) => event.toUpperCase()),
          Source.filterMap(({ event }) => event === "E3" ? Option.none() : Option.some(`${event}!`)),
          Source.mapEffect(({ event }) => Effect.succeed({ text: event, length: event.length })),
          Source.tap(({ event }) => Effect.sync(() => tapped.push(event.text))),
          Source.filter(({ event }) => event.text !== "E4!"),
          Projection.exactlyOnce(name, ({ event, sequenceNumber }) =>
            Effect.sync(() => handled.push([sequenceNumber, event])))
        )
        yield* caughtUp(name).pipe(whileRunning(projection))
        assert.deepStrictEqual(tapped, ["E1!", "E4!", "E5!", "E6!", "E7!", "E8!"])
        assert.deepStrictEqual(
          handled,
          [1, 5, 6, 7, 8].map((n) => [n, { text: `E${n}!`, length: 3 }])
        )
      }))

    it.effect("that drop events move the offset all the same", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const { write } = makeWriter(type)
        for (let i = 0; i < 20; i++) yield* write(`${i}`, 5)
        for (const deliver of ["exactly", "at least"] as const) {
          const name = freshName()
          let calls = 0
          const handle = () => Effect.sync(() => void calls++)
          const none = Source.journal(type).pipe(Source.filter(() => false))
          const projection = deliver === "exactly"
            ? Projection.exactlyOnce(name, handle)(none)
            : Projection.atLeastOnce(name, handle, { saveWithin: "1 millis" })(none)
          yield* caughtUp(name).pipe(whileRunning(Projection.workers(2)(projection)))
          assert.strictEqual(calls, 0)
          const journal = yield* Journal.Journal
          const store = yield* OffsetStore
          const stored = yield* store.load(
            { projection: name, source: projection.sources[0].provider.key },
            SliceRange.full
          )
          assert.deepStrictEqual(new Map(stored.offsets), new Map(yield* journal.heads(type.name, SliceRange.full)))
          assert.strictEqual(stored.journal, journal.identity)
        }
      }))

    it.effect("that fail are tried again, after the events before were handled", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        yield* write("a", 6)
        let failures = 0
        const projection = Source.journal(type).pipe(
          Source.mapEffect(({ event, sequenceNumber }) =>
            sequenceNumber === 4 && failures++ < 1 ? Effect.fail("not yet") : Effect.succeed(event)
          ),
          Projection.exactlyOnce(name, effects.record)
        )
        yield* Effect.gen(function*() {
          yield* Wait.until(
            "a restart",
            Effect.map(ProjectionStatus.status(name), ([worker]) => worker!.state === "Restarting")
          )
          assert.strictEqual((yield* effects.events("a")).length, 3)
          yield* caughtUp(name)
        }).pipe(whileRunning(projection))
        yield* effects.assertExact(written)
        assert.strictEqual(failures, 2)
      }))

    it.effect("that fail for good make their event poison", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const effects = makeEffects()
        yield* append(type, "a", texts(4))
        const failing = Source.journal(type).pipe(
          Source.tap(({ sequenceNumber }) => sequenceNumber === 3 ? Effect.fail("never") : Effect.void)
        )
        const stopping = freshName()
        const worker = yield* stopped(stopping).pipe(
          whileRunning(failing.pipe(
            Projection.exactlyOnce(stopping, () => Effect.void),
            Projection.recovery(RecoveryStrategy.fail)
          ))
        )
        assert.strictEqual(worker.failure!.event!.sequenceNumber, 3)
        assert.strictEqual(errorOf(worker), "never")
        const skipping = freshName()
        yield* caughtUp(skipping).pipe(
          whileRunning(failing.pipe(
            Projection.exactlyOnce(skipping, effects.record),
            Projection.recovery(RecoveryStrategy.skip)
          ))
        )
        assert.deepStrictEqual(yield* effects.events("a"), ["1 e1", "2 e2", "4 e4"])
      }))
  })

  describe("an event that cannot be decoded", () => {
    it.effect("stops its worker alone, by name, after the events before it were handled", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        const others = [0, 1, 3].flatMap((worker) => idsIn(type, rangeOf(worker, 4), 3))
        const [id] = idsIn(type, rangeOf(2, 4), 1) as [string]
        for (const other of others) yield* write(other, 2)
        yield* write(id, 2)
        yield* appendUndecodable(type, id)
        yield* append(type, id, ["never"])
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, effects.record),
          Projection.workers(4)
        )
        yield* Effect.gen(function*() {
          const worker = yield* stopped(name)
          assert.deepStrictEqual(worker.range, rangeOf(2, 4))
          assert.deepStrictEqual(worker.failure!.event, {
            persistenceId: EntityType.persistenceId(type, id),
            sequenceNumber: number(3)
          })
          const error = errorOf(worker)
          assert.instanceOf(error, EventDecodeError)
          assert.strictEqual(error.manifest, "test/unknown")
          // the others go on
          for (const other of others) yield* write(other, 1)
          yield* Wait.until(
            "all but the stopped worker to catch up",
            Effect.map(
              Effect.all([ProjectionStatus.lag(name), ProjectionStatus.status(name)]),
              ([lag, workers]) =>
                lag === 2 && workers.map(({ state }) => state).join() === "Running,Running,Stopped,Running"
            )
          )
        }).pipe(whileRunning(projection))
        yield* effects.assertExact(written)
      }))

    it.effect("is met after the events before it, by a handler of groups as well", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const effects = makeEffects()
        yield* append(type, "a", texts(5))
        yield* appendUndecodable(type, "a")
        yield* append(type, "a", ["e6", "e7"])
        const group = Handler.grouped(
          { size: 10, within: "5 millis" },
          (envelopes: ReadonlyArray<Envelope<string>>) => Effect.forEach(envelopes, effects.record, { discard: true })
        )
        const name = freshName()
        const projection = Source.journal(type).pipe(Projection.exactlyOnce(name, group))
        const worker = yield* stopped(name).pipe(whileRunning(projection))
        assert.strictEqual(worker.failure!.event!.sequenceNumber, 6)
        const before = texts(5).map((event, i) => `${i + 1} ${event}`)
        assert.deepStrictEqual(yield* effects.events("a"), before)
        yield* caughtUp(name).pipe(whileRunning(Projection.recovery(RecoveryStrategy.skip)(projection)))
        assert.deepStrictEqual(yield* effects.events("a"), [...before, "7 e6", "8 e7"])
      }))

    it.effect("is skipped where that is asked for", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        for (const deliver of ["exactly", "at least"] as const) {
          const name = freshName()
          yield* append(type, "a", ["x"])
          yield* appendUndecodable(type, "a")
          yield* append(type, "a", ["y"])
          const seen: Array<string> = []
          const handle = ({ event }: Envelope<string>) => Effect.sync(() => void seen.push(event))
          const source = Source.journal(type)
          const projection = deliver === "exactly"
            ? Projection.exactlyOnce(name, handle)(source)
            : Projection.atLeastOnce(name, handle, { saveWithin: "1 millis" })(source)
          const [worker] = yield* Effect.andThen(caughtUp(name), ProjectionStatus.status(name)).pipe(
            whileRunning(Projection.recovery(RecoveryStrategy.skip)(projection))
          )
          const times = deliver === "exactly" ? 1 : 2
          assert.deepInclude(worker, { handled: 2 * times, skipped: times, restarts: 0 })
          assert.deepStrictEqual(seen, Array.from({ length: times }, () => ["x", "y"]).flat())
        }
      }))
  })

  describe("a handler that fails on an event", () => {
    for (
      const [what, strategy, attempts] of [
        ["is tried again, then stops", RecoveryStrategy.retryAndFail({ retries: 3, delay: "1 millis" }), 4],
        ["is tried again, then skips it", RecoveryStrategy.retryAndSkip({ retries: 2, delay: "1 millis" }), 3],
        ["stops at once", RecoveryStrategy.fail, 1],
        ["skips it at once", RecoveryStrategy.skip, 1]
      ] as const
    ) {
      for (const [how, failure] of [["fails", Effect.fail("no")], ["dies", Effect.die("no")]] as const) {
        it.effect(`${what} (${how})`, () =>
          Effect.gen(function*() {
            const type = fresh("source")
            const name = freshName()
            const effects = makeEffects()
            yield* append(type, "a", texts(5))
            const calls: Array<string> = []
            const projection = Source.journal(type).pipe(
              Projection.exactlyOnce(name, (envelope) =>
                Effect.gen(function*() {
                  calls.push(envelope.event)
                  yield* effects.record(envelope)
                  if (envelope.event === "e3") return yield* failure
                })),
              Projection.recovery(strategy)
            )
            yield* Effect.gen(function*() {
              if (strategy.poison === "stop") {
                const worker = yield* stopped(name)
                assert.strictEqual(worker.failure!.event!.sequenceNumber, 3)
                assert.strictEqual(Cause.squash(worker.failure!.cause), "no")
              } else {
                yield* caughtUp(name)
              }
            }).pipe(whileRunning(projection))
            const after = strategy.poison === "stop" ? [] : ["e4", "e5"]
            assert.deepStrictEqual(calls, ["e1", "e2", ...Array.from({ length: attempts }, () => "e3"), ...after])
            assert.deepStrictEqual(
              yield* effects.events("a"),
              ["1 e1", "2 e2", ...after.map((event, i) => `${4 + i} ${event}`)]
            )
          }))
      }
    }

    for (const deliver of ["exactly", "at least"] as const) {
      it.effect(`is given the event again when it is started again (${deliver} once)`, () =>
        Effect.gen(function*() {
          const type = fresh("source")
          const name = freshName()
          const effects = makeEffects()
          const { write, written } = makeWriter(type)
          yield* write("a", 5)
          let repaired = false
          const handle = Effect.fnUntraced(function*(envelope: Envelope<string>) {
            if (envelope.sequenceNumber === 3 && !repaired) return yield* Effect.fail("no")
            yield* effects.record(envelope)
          })
          const source = Source.journal(type)
          const projection = (deliver === "exactly"
            ? Projection.exactlyOnce(name, handle)(source)
            : Projection.atLeastOnce(name, handle, { saveWithin: "1 millis" })(source))
            .pipe(Projection.recovery(RecoveryStrategy.fail))
          // as an effect it fails as its worker did
          assert.strictEqual(yield* Effect.flip(Projection.run(projection)), "no")
          assert.strictEqual((yield* effects.events("a")).length, 2)
          repaired = true
          yield* caughtUp(name).pipe(whileRunning(projection))
          yield* effects.assertExact(written)
        }))
    }

    it.effect("and is to skip it passes what was dropped around it, too", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const ids = idsIn(type, SliceRange.full, 30)
        for (const id of ids) yield* append(type, id, [id === ids[15] ? "poison" : "dropped"])
        for (const size of [1, 40]) {
          const name = freshName()
          const projection = Source.journal(type).pipe(
            Source.filter(({ event }) => event === "poison"),
            Projection.exactlyOnce(
              name,
              size === 1
                ? () => Effect.fail("no")
                : Handler.grouped({ size, within: "5 millis" }, () => Effect.fail("no"))
            ),
            Projection.recovery(RecoveryStrategy.skip)
          )
          const [worker] = yield* Effect.andThen(caughtUp(name), ProjectionStatus.status(name)).pipe(
            whileRunning(projection)
          )
          assert.deepInclude(worker, { handled: 0, skipped: 1 })
          assert.strictEqual(worker!.offsets.size, new Set(ids.map((id) => sliceOf(type, id))).size)
        }
      }))
  })

  describe("a journal that is not the one that was read", () => {
    it.effect("stops the workers that have offsets in another", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("source")
        const name = freshName()
        const [id] = idsOfSlice(type, 600, 1) as [string]
        yield* append(type, id, ["never"])
        let calls = 0
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, () => Effect.sync(() => void calls++)),
          Projection.workers(2)
        )
        const other = freshId()
        yield* offsetsIn(other, name, projection.sources[0].provider.key, 600, Offset.make(7, 7))
        yield* Effect.gen(function*() {
          const worker = yield* stopped(name)
          assert.strictEqual(worker.range.min, 512)
          const error = errorOf(worker)
          assert.instanceOf(error, Journal.JournalReplaced)
          assert.deepInclude(error, { expected: other, actual: journal.identity })
          assert.isUndefined(worker.failure!.event)
        }).pipe(whileRunning(projection))
        assert.strictEqual(calls, 0)
      }))

    it.effect("stops the workers whose events it has lost", () =>
      Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const type = fresh("source")
        const name = freshName()
        const [id] = idsOfSlice(type, 600, 1) as [string]
        const { position, timestamp } = yield* append(type, id, ["never"])
        let calls = 0
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, () => Effect.sync(() => void calls++))
        )
        const lost = Offset.make(position, timestamp - 1)
        yield* offsetsIn(journal.identity, name, projection.sources[0].provider.key, 600, lost)
        const worker = yield* stopped(name).pipe(whileRunning(projection))
        assert.instanceOf(errorOf(worker), Journal.JournalForked)
        assert.strictEqual(calls, 0)
      }))
  })

  describe("a running projection", () => {
    it.effect("is given events as they are appended", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(name, effects.record),
          Projection.workers(3)
        )
        yield* Effect.gen(function*() {
          for (let round = 0; round < 4; round++) {
            for (let i = 0; i < 6; i++) yield* write(`${i}`, 1 + round)
            yield* caughtUp(name)
            yield* effects.assertExact(written)
          }
        }).pipe(whileRunning(projection))
      }))

    it.effect("knows exactly how far it is behind", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        yield* append(type, "a", texts(6))
        yield* append(type, "b", texts(4))
        const passes = yield* Latch.make(false)
        const started: Array<string> = []
        let allowed = 3
        const projection = Source.journal(type).pipe(
          Projection.atLeastOnce(
            name,
            (envelope) =>
              Effect.suspend(() => {
                started.push(placeOf(envelope))
                return allowed-- > 0 ? Effect.void : passes.await
              }),
            { saveAfter: 1 }
          )
        )
        yield* Effect.gen(function*() {
          yield* Wait.until("the handler to be busy with the fourth event", () => started.length === 4)
          assert.strictEqual(yield* ProjectionStatus.lag(name), 7)
          yield* append(type, "a", texts(5))
          assert.strictEqual(yield* ProjectionStatus.lag(name), 12)
          const [worker] = yield* ProjectionStatus.status(name)
          assert.deepInclude(worker, { projection: name, state: "CatchingUp", handled: 3, skipped: 0, restarts: 0 })
          yield* passes.open
          yield* caughtUp(name)
          assert.strictEqual((yield* ProjectionStatus.status(name))[0]!.handled, 15)
        }).pipe(whileRunning(projection))
        assert.deepStrictEqual(yield* ProjectionStatus.status(name), [])
        assert.strictEqual((yield* readAll(type)).length, 15)
      }))
  })
}
