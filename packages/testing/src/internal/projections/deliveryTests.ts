import { assert, describe } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Wait from "../../Wait.ts"
import { retryBusy } from "../journal/transactionTests.ts"
import type { It } from "../kit.ts"
import { append, fresh, idsOfSlice, readAll, sliceOf, texts } from "../kit.ts"
import {
  appendUndecodable,
  caughtUp,
  errorOf,
  freshName,
  makeWriter,
  persistent,
  placeOf,
  stopped,
  whileRunning
} from "./projectionKit.ts"

type Handle<E, R> = (envelope: Envelope<string>) => Effect.Effect<void, E, R>

const handlers = [
  ["one by one", 1, <E, R>(handle: Handle<E, R>) => handle],
  [
    "in groups",
    7,
    <E, R>(handle: Handle<E, R>) =>
      Handler.grouped(
        { size: 7, within: "5 millis" },
        (envelopes: ReadonlyArray<Envelope<string>>) => Effect.forEach(envelopes, handle, { discard: true })
      )
  ]
] as const

const unavailable = new StorageError({ operation: "test", reason: "Unavailable", cause: new Error("gone") })

/** Fails unless the events of each entity rise. */
const assertRising = (places: ReadonlyArray<string>) => {
  const last = new Map<string, number>()
  for (const place of places) {
    const [id, n] = place.split(" ") as [string, string]
    assert.isAbove(Number(n), last.get(id) ?? 0, `${place} comes after those before it, and once`)
    last.set(id, Number(n))
  }
}

const placesOf = (written: ReadonlyMap<string, ReadonlyArray<string>>) =>
  [...written].flatMap(([id, events]) => events.map((_, i) => `${id} ${i + 1}`))

/** The offsets of a projection, as they are stored. */
const storedOf = (name: string, source: string) =>
  Effect.flatMap(
    OffsetStore,
    (store) => Effect.map(store.load({ projection: name, source }, SliceRange.full), ({ offsets }) => offsets)
  )

/** Says of other entities whether they are in the slice of this one. */
const sameSlice = (type: EntityType.EntityType<string>, id: string) => {
  const slice = sliceOf(type, id)
  return (other: string) => sliceOf(type, other) === slice
}

/** @internal */
export const deliveryTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  describe("at most once", () => {
    for (const [what, size, handlerOf] of handlers) {
      it.effect(`hands every event to its handler, in order, after the offset was stored, ${what}`, () =>
        Effect.gen(function*() {
          const type = fresh("source")
          const name = freshName()
          const { write, written } = makeWriter(type)
          for (let i = 0; i < 20; i++) yield* write(`${i}`, 1 + i % 4)
          const store = yield* OffsetStore
          const seen: Array<string> = []
          const key = { projection: name, source: Source.journal(type).provider.key }
          const projection = Source.journal(type).pipe(
            Source.filter(({ event }) => !event.endsWith("e2")),
            Projection.atMostOnce(
              name,
              handlerOf((envelope) =>
                Effect.gen(function*() {
                  const { offsets } = yield* store.load(key, SliceRange.make(envelope.slice, envelope.slice))
                  assert.isAtLeast(offsets.get(envelope.slice)?.position ?? 0, envelope.position!)
                  seen.push(placeOf(envelope))
                })
              )
            ),
            Projection.workers(3)
          )
          yield* Effect.gen(function*() {
            yield* caughtUp(name)
            yield* write("0", 3)
            yield* ProjectionStatus.caughtUp(name)
          }).pipe(whileRunning(projection))
          assertRising(seen)
          const dropped = placesOf(written).length - seen.length
          assert.strictEqual(dropped, [...written.values()].flat().filter((event) => event.endsWith("e2")).length)
        }))

      it.effect(`loses no more than its handler had when its workers ended, and repeats nothing, ${what}`, () =>
        Effect.gen(function*() {
          const type = fresh("source")
          const name = freshName()
          const { write, written } = makeWriter(type)
          const begun: Array<string> = []
          let ends = Infinity
          const projection = Source.journal(type).pipe(
            Projection.atMostOnce(
              name,
              handlerOf((envelope) =>
                Effect.gen(function*() {
                  begun.push(placeOf(envelope))
                  // as one that is in the middle when its process is killed
                  if (begun.length >= ends) return yield* Effect.never
                  if ((yield* Random.next) < 0.3) yield* Effect.yieldNow
                })
              )
            )
          )
          let most = 0
          for (const workers of [3, 1, 5, 2]) {
            for (let i = 0; i < 12; i++) yield* write(`${i}`, 2)
            ends = begun.length + (yield* Random.nextIntBetween(1, 15))
            most += workers * size
            yield* Wait.until(`${ends} calls of the handler`, () => begun.length >= ends).pipe(
              whileRunning(Projection.workers(workers)(projection))
            )
          }
          ends = Infinity
          yield* caughtUp(name).pipe(whileRunning(projection))
          assertRising(begun)
          const total = placesOf(written).length
          assert.isAtLeast(begun.length, total - most)
        }))
    }

    it.effect("never tries again what its handler has failed on, and goes on", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const seen: Array<string> = []
        yield* append(type, "a", texts(5))
        const projection = Source.journal(type).pipe(
          Projection.atMostOnce(name, ({ event }) =>
            Effect.suspend((): Effect.Effect<void, string> => {
              seen.push(event)
              if (event === "e4") throw new Error("thrown")
              return event === "e2" ? Effect.fail("broken") : Effect.void
            })),
          Projection.recovery(RecoveryStrategy.retryAndFail({ retries: 3, delay: 0 }))
        )
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          const [status] = yield* ProjectionStatus.status(name)
          assert.deepInclude(status, { state: "Running", handled: 3, skipped: 2, restarts: 0 })
        }).pipe(whileRunning(projection))
        assert.deepStrictEqual(seen, [...texts(5)])
      }))

    it.effect("waits before it loses more where a database is away", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const seen: Array<string> = []
        yield* append(type, "a", texts(4))
        const projection = Source.journal(type).pipe(
          Projection.atMostOnce(name, ({ event }) =>
            Effect.suspend(() => {
              seen.push(event)
              return event === "e2" ? Effect.fail(unavailable) : Effect.void
            }))
        )
        yield* Effect.gen(function*() {
          yield* caughtUp(name)
          const [status] = yield* ProjectionStatus.status(name)
          assert.deepInclude(status, { handled: 3, restarts: 1 })
        }).pipe(whileRunning(projection))
        assert.deepStrictEqual(seen, [...texts(4)])
      }))

    it.effect("hands over nothing whose offset could not be stored", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const seen: Array<string> = []
        yield* append(type, "a", texts(4))
        const store = yield* OffsetStore
        let calls = 0
        const failing = OffsetStore.of({
          ...store,
          transact: (key, journal, moves, effect) =>
            ++calls === 2 ? Effect.fail(unavailable) : store.transact(key, journal, moves, effect)
        })
        const projection = Source.journal(type).pipe(
          Projection.atMostOnce(name, ({ event }) => Effect.sync(() => void seen.push(`${calls} ${event}`)))
        )
        yield* caughtUp(name).pipe(whileRunning(projection), Effect.provideService(OffsetStore, failing))
        assert.deepStrictEqual(seen, ["1 e1", "3 e2", "4 e3", "5 e4"])
      }))

    it.effect("does as its recovery strategy says with what cannot be decoded", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        yield* append(type, "a", ["x"])
        yield* appendUndecodable(type, "a")
        yield* append(type, "a", ["y"])
        const make = (strategy: RecoveryStrategy.RecoveryStrategy, seen: Array<string>) =>
          Source.journal(type).pipe(
            Projection.atMostOnce(freshName(), ({ event }) => Effect.sync(() => void seen.push(event))),
            Projection.recovery(strategy)
          )
        const before: Array<string> = []
        const stopping = make(RecoveryStrategy.fail, before)
        const worker = yield* stopped(stopping.name).pipe(whileRunning(stopping))
        assert.strictEqual(worker.failure!.event!.sequenceNumber, 2)
        assert.deepStrictEqual(before, ["x"])
        const seen: Array<string> = []
        const asiding = make(RecoveryStrategy.deadLetter, seen)
        yield* caughtUp(asiding.name).pipe(whileRunning(asiding))
        // what comes after it of its entity waits
        assert.deepStrictEqual(seen, ["x"])
        assert.deepStrictEqual(
          yield* ProjectionManagement.deadLetterCounts(asiding.name),
          { entities: 1, failed: 1, queued: 1 }
        )
      }))

    it.effect("hands what was put aside over once", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const seen: Array<string> = []
        let isBroken = true
        yield* append(type, "a", texts(6))
        const projection = Source.journal(type).pipe(
          Source.tap(({ event }) => isBroken && event !== "e1" ? Effect.fail("broken") : Effect.void),
          Projection.atMostOnce(name, ({ event }) =>
            Effect.andThen(
              Effect.sync(() => void seen.push(event)),
              event === "e3" ? Effect.fail("again") : Effect.yieldNow
            )),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* caughtUp(name).pipe(whileRunning(projection))
        assert.deepStrictEqual(seen, ["e1"])
        isBroken = false
        const counts = yield* Effect.all(
          [retryBusy(Projection.handleDeadLetters(projection)), retryBusy(Projection.handleDeadLetters(projection))],
          { concurrency: "unbounded" }
        )
        const sum = (of: "failed" | "handled") => counts.reduce((sum, count) => sum + count[of], 0)
        assert.deepStrictEqual([sum("handled"), sum("failed")], [4, 1])
        assert.sameMembers(seen, [...texts(6)])
        assert.strictEqual((yield* ProjectionManagement.deadLetters(name)).length, 0)
      }))

    it.effect("begins again where it is rewound to", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const seen: Array<string> = []
        yield* append(type, "a", texts(3))
        const projection = Source.journal(type).pipe(
          Projection.atMostOnce(name, ({ event }) => Effect.sync(() => void seen.push(event)))
        )
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          yield* Projection.rewind(projection, "beginning")
          yield* ProjectionStatus.caughtUp(name)
        }).pipe(whileRunning(projection))
        assert.deepStrictEqual(seen, [...texts(3), ...texts(3)])
      }))
  })

  describe.concurrent("a handler with a life", () => {
    const deliveries = [
      ["exactly once", Projection.exactlyOnce],
      ["at least once", Projection.atLeastOnce],
      ["at most once", Projection.atMostOnce]
    ] as const
    type Start = (
      range: SliceRange.SliceRange
    ) => Effect.Effect<Handle<unknown, never>, unknown, Scope.Scope>
    const lives = [
      [
        "one by one",
        (start: Start) => Handler.scoped(start)
      ],
      [
        "in groups",
        (start: Start) =>
          Handler.grouped(
            { size: 3, within: "5 millis" },
            Handler.scoped((range) =>
              Effect.map(
                start(range),
                (handle) => (envelopes: ReadonlyArray<Envelope<string>>) =>
                  Effect.forEach(envelopes, handle, { discard: true })
              )
            )
          )
      ]
    ] as const
    for (const [delivery, deliver] of deliveries) {
      for (const [what, handlerOf] of lives) {
        it.effect(`starts and stops with each worker, and begins anew with it, ${delivery}, ${what}`, () =>
          Effect.gen(function*() {
            const type = fresh("source")
            const name = freshName()
            const { write, written } = makeWriter(type)
            for (let i = 0; i < 12; i++) yield* write(`${i}`, 2)
            const open = new Map<object, SliceRange.SliceRange>()
            const seen = new Set<string>()
            let starts = 0
            let refusals = 1
            let failures = 1
            const handler = handlerOf((range) =>
              Effect.gen(function*() {
                if (refusals-- > 0) return yield* Effect.fail("not yet")
                starts++
                const life = {}
                const counts = new Map<string, number>()
                yield* Effect.acquireRelease(
                  Effect.sync(() => {
                    for (const other of open.values()) assert.isTrue(other.max < range.min || range.max < other.min)
                    open.set(life, range)
                  }),
                  () => Effect.sync(() => void open.delete(life))
                )
                return (envelope: Envelope<string>) =>
                  Effect.suspend((): Effect.Effect<void, unknown> => {
                    assert.isTrue(open.has(life), "called while it lives")
                    assert.isTrue(SliceRange.contains(range, envelope.slice))
                    // what a life has seen of an entity is in order, as it begins anew when the worker does
                    const last = counts.get(envelope.persistenceId)
                    if (last !== undefined) assert.strictEqual(envelope.sequenceNumber, last + 1)
                    counts.set(envelope.persistenceId, envelope.sequenceNumber)
                    seen.add(placeOf(envelope))
                    return failures-- > 0 ? Effect.fail(unavailable) : Effect.void
                  })
              })
            )
            const projection = deliver(name, handler)(Source.journal(type)).pipe(
              Projection.workers(3)
            )
            yield* Effect.gen(function*() {
              yield* ProjectionStatus.caughtUp(name)
              // one begins again as its handler did not start, one as it failed, at most once perhaps at its last event
              yield* Wait.until("all to have started, and one again", () => starts >= 4 && open.size === 3)
              assert.sameMembers(
                [...open.values()].map(SliceRange.format),
                SliceRange.split(3).map(SliceRange.format)
              )
              yield* Projection.rewind(projection, "beginning")
              yield* ProjectionStatus.caughtUp(name)
              yield* Wait.until("all to have started again", () => starts >= 7)
              yield* ProjectionManagement.pause(name)
              yield* Wait.until("all to stop", () => open.size === 0)
              yield* ProjectionManagement.resume(name)
              yield* write("0", 1)
              yield* ProjectionStatus.caughtUp(name)
              yield* Wait.until("all to have started again", () => starts >= 10)
            }).pipe(whileRunning(projection))
            assert.strictEqual(open.size, 0)
            assert.sameMembers([...seen], placesOf(written))
          }))
      }
    }

    it.effect("handles what was put aside, and starts for it outside of the transaction", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const log: Array<string> = []
        let isBroken = true
        yield* append(type, "a", texts(2))
        const projection = Source.journal(type).pipe(
          Projection.exactlyOnce(
            name,
            Handler.scoped((range) =>
              Effect.gen(function*() {
                log.push(`starts ${SliceRange.format(range)}`)
                yield* Effect.addFinalizer(() => Effect.sync(() => log.push("stops")))
                return (envelope: Envelope<string>) =>
                  isBroken ? Effect.fail("broken") : Effect.sync(() => void log.push(envelope.event))
              })
            )
          ),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        yield* caughtUp(name).pipe(whileRunning(projection))
        isBroken = false
        assert.deepInclude(yield* Projection.handleDeadLetters(projection), { handled: 2 })
        assert.deepInclude(yield* Projection.handleDeadLetters(projection), { handled: 0 })
        assert.deepStrictEqual(log, ["starts 0-1023", "stops", "starts 0-1023", "e1", "e2", "stops"])
      }))
  })

  describe("at least once, at the same time", () => {
    it.effect("hands over events of different entities at a time, up to so many, and those of one in order", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const { write, written } = makeWriter(type)
        for (let i = 0; i < 12; i++) yield* write(`${i}`, 5)
        const seen: Array<string> = []
        const open = new Set<string>()
        let most = 0
        const projection = Source.journal(type).pipe(
          Source.filter(({ event }) => !event.endsWith("e3")),
          Projection.atLeastOnce(
            name,
            (envelope) =>
              Effect.gen(function*() {
                assert.isFalse(open.has(envelope.persistenceId), "one at a time of an entity")
                open.add(envelope.persistenceId)
                most = Math.max(most, open.size)
                for (let turns = yield* Random.nextIntBetween(1, 5); turns > 0; turns--) yield* Effect.yieldNow
                open.delete(envelope.persistenceId)
                seen.push(placeOf(envelope))
              }),
            { parallelism: 4, saveWithin: "5 millis" }
          )
        )
        yield* Effect.gen(function*() {
          yield* caughtUp(name)
          yield* write("0", 3)
          yield* ProjectionStatus.caughtUp(name)
          const [status] = yield* ProjectionStatus.status(name)
          assert.strictEqual(status!.handled, seen.length)
        }).pipe(whileRunning(projection))
        assertRising(seen)
        const kept = [...written.values()].flat().filter((event) => !event.endsWith("e3"))
        assert.strictEqual(seen.length, kept.length)
        assert.strictEqual(most, 4)
      }))

    it.effect("leaves nothing out and keeps the order when it fails at random and workers come and go", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const { write, written } = makeWriter(type)
        const source = Source.journal(type).provider.key
        const handled = new Map<string, number>()
        let calls = 0
        const handle = Effect.fnUntraced(function*(envelope: Envelope<string>) {
          calls++
          for (let turns = yield* Random.nextIntBetween(0, 4); turns > 0; turns--) yield* Effect.yieldNow
          if ((yield* Random.next) < 0.1) return yield* Effect.fail("before")
          // none of its entity is left out, whatever repeats
          const last = handled.get(envelope.persistenceId) ?? 0
          assert.isAtMost(envelope.sequenceNumber, last + 1, `before ${placeOf(envelope)}`)
          handled.set(envelope.persistenceId, Math.max(last, envelope.sequenceNumber))
          if ((yield* Random.next) < 0.1) return yield* Effect.fail("after")
          if ((yield* Random.next) < 0.02) return yield* Effect.fail(unavailable)
        })
        const projection = Source.journal(type).pipe(
          Projection.atLeastOnce(name, handle, { parallelism: 3, saveAfter: 4, saveWithin: "5 millis" }),
          Projection.recovery(persistent)
        )
        const journal = yield* Journal.Journal
        for (const workers of [2, 1, 3]) {
          for (let i = 0; i < 10; i++) yield* write(`${i}`, 3)
          const interrupted = calls + (yield* Random.nextIntBetween(5, 30))
          yield* Wait.until(`${interrupted} calls of the handler`, () => calls >= interrupted).pipe(
            whileRunning(Projection.workers(workers)(projection))
          )
          // what is stored was handled
          const offsets = yield* storedOf(name, source)
          for (const event of yield* readAll(type)) {
            if (event.position! > (offsets.get(event.slice)?.position ?? 0)) continue
            assert.isAtLeast(handled.get(event.persistenceId) ?? 0, event.sequenceNumber)
          }
        }
        yield* caughtUp(name).pipe(whileRunning(projection))
        assert.deepStrictEqual(
          new Map(yield* storedOf(name, source)),
          new Map(yield* journal.heads(type.name, SliceRange.full))
        )
        for (const [id, events] of written) {
          assert.strictEqual(handled.get(EntityType.persistenceId(type, id)), events.length)
        }
      }))

    it.effect("stores after so many events, and never past one that is not handled", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const source = Source.journal(type).provider.key
        const slow = yield* Latch.make(false)
        const done: Array<string> = []
        const isOfSlow = sameSlice(type, "slow")
        const others = Array.from({ length: 10 }, (_, i) => `${i}`).filter((id) => !isOfSlow(id)).slice(0, 5)
        yield* append(type, "slow", ["first", ...Array.from({ length: 30 }, () => "later")])
        for (let i = 0; i < 60; i++) yield* append(type, others[i % 5]!, [`${i}`])
        const projection = Source.journal(type).pipe(
          Projection.atLeastOnce(
            name,
            ({ event }) =>
              Effect.andThen(event === "first" ? slow.await : Effect.void, Effect.sync(() => void done.push(event))),
            { parallelism: 3, saveAfter: 5, saveWithin: "1 hour" }
          )
        )
        const stored = Effect.map(
          storedOf(name, source),
          (offsets) => [...offsets.values()].reduce((sum, { position }) => sum + position, 0)
        )
        yield* Effect.gen(function*() {
          // those of its own slice alone wait for it
          yield* Wait.until("the others", () => done.length === 60)
          yield* Wait.until("their offsets", Effect.map(stored, (sum) => sum > 55))
          assert.isFalse(
            (yield* storedOf(name, source)).has(Slice.ofPersistenceId(EntityType.persistenceId(type, "slow")))
          )
          yield* slow.open
          yield* Wait.until("all", () => done.length === 91)
          yield* Wait.until("the offsets", Effect.map(stored, (sum) => sum > 86))
        }).pipe(whileRunning(projection))
      }))

    it.effect("stops at an event that it must not pass, with everything stored that it has handled", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        yield* append(type, "a", texts(3))
        yield* append(type, "b", ["poison", "never"])
        yield* append(type, "c", texts(2))
        const seen: Array<string> = []
        let isBroken = true
        const projection = (saveWithin: Duration.Input) =>
          Source.journal(type).pipe(
            Projection.atLeastOnce(
              name,
              (envelope) =>
                isBroken && envelope.event === "poison"
                  ? Effect.fail("poison")
                  : Effect.andThen(Effect.yieldNow, Effect.sync(() => void seen.push(placeOf(envelope)))),
              { parallelism: 8, saveWithin }
            ),
            Projection.recovery(RecoveryStrategy.fail)
          )
        const worker = yield* stopped(name).pipe(whileRunning(projection("1 hour")))
        assert.strictEqual(worker.failure!.event!.persistenceId, EntityType.persistenceId(type, "b"))
        assert.strictEqual(errorOf(worker), "poison")
        assert.include(seen, "a 1")
        assert.notInclude(seen, "b 2")
        isBroken = false
        yield* caughtUp(name).pipe(whileRunning(projection("5 millis")))
        assert.sameMembers(seen, ["a 1", "a 2", "a 3", "b 1", "b 2", "c 1", "c 2"])
      }))

    for (const strategy of [RecoveryStrategy.skip, RecoveryStrategy.deadLetter]) {
      it.effect(`goes past events that fail, as its recovery strategy says: ${strategy.poison}`, () =>
        Effect.gen(function*() {
          const type = fresh("source")
          const name = freshName()
          for (let i = 0; i < 8; i++) yield* append(type, `${i}`, [i % 3 === 0 ? "poison" : "fine", "x", "y"])
          yield* appendUndecodable(type, "1")
          yield* append(type, "1", ["z"])
          const seen: Array<string> = []
          let isBroken = true
          const isParking = strategy.poison === "putAside"
          const projection = Source.journal(type).pipe(
            Projection.atLeastOnce(
              name,
              (envelope) =>
                isBroken && envelope.event === "poison"
                  ? Effect.fail("poison")
                  : Effect.andThen(Effect.yieldNow, Effect.sync(() => void seen.push(placeOf(envelope)))),
              { parallelism: 4, saveWithin: "5 millis" }
            ),
            Projection.recovery(strategy)
          )
          yield* Effect.gen(function*() {
            yield* caughtUp(name)
            const [status] = yield* ProjectionStatus.status(name)
            assert.deepInclude(status, isParking ? { handled: 15, skipped: 11 } : { handled: 22, skipped: 4 })
          }).pipe(whileRunning(projection))
          const broken = [0, 3, 6]
          const fine = [1, 2, 4, 5, 7].flatMap(threeOf)
          assert.sameMembers(
            seen.splice(0),
            isParking ? fine : [...fine, "1 5", ...broken.flatMap((i) => [`${i} 2`, `${i} 3`])]
          )
          if (isParking) {
            isBroken = false
            const counts = yield* Projection.handleDeadLetters(projection)
            assert.deepInclude(counts, { handled: 9, failed: 1 })
            assert.deepStrictEqual(seen, broken.flatMap(threeOf))
          }
        }))
    }

    it.effect("hands over nothing twice for a command, nor at its end but what is interrupted", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        const isOfSlow = sameSlice(type, "slow")
        // however many it takes: ids that are counted up come to few slices at first
        const [beside] = idsOfSlice(type, sliceOf(type, "slow"), 1) as [string]
        yield* append(type, "slow", ["slow"])
        const others = Array.from({ length: 80 }, (_, i) => `${i}`).filter((id) => !isOfSlow(id)).slice(0, 60)
        for (const id of others) yield* append(type, id, ["quick"])
        const goOn = yield* Latch.make(false)
        const given: Array<string> = []
        const interrupted: Array<string> = []
        const projection = (saveWithin: Duration.Input) =>
          Source.journal(type).pipe(
            Projection.atLeastOnce(
              name,
              (envelope) =>
                Effect.suspend(() => {
                  given.push(placeOf(envelope))
                  return Effect.andThen(Effect.yieldNow, envelope.event === "slow" ? goOn.await : Effect.void)
                }).pipe(Effect.onInterrupt(() => Effect.sync(() => void interrupted.push(placeOf(envelope))))),
              { parallelism: 8, saveAfter: 1_000_000, saveWithin }
            )
          )
        const isAt = (state: string) =>
          Wait.until(state, Effect.map(ProjectionStatus.status(name), ([worker]) => worker!.state === state))
        yield* Effect.gen(function*() {
          yield* Wait.until("some", () => given.length > 30)
          yield* ProjectionManagement.pause(name)
          yield* goOn.open
          yield* isAt("Paused")
          yield* goOn.close
          assert.deepStrictEqual([...new Set(given)], given)
          yield* append(type, "slow", ["slow"])
          yield* append(type, beside, texts(2))
          for (const id of others.slice(0, 3)) yield* append(type, id, ["quick"])
          yield* ProjectionManagement.resume(name)
          yield* Wait.until("all others", () => new Set(given).size === 65)
          assert.include(given, "slow 2")
          assert.notInclude(given, `${beside} 1`)
        }).pipe(whileRunning(projection("1 hour")))
        yield* goOn.open
        yield* caughtUp(name).pipe(whileRunning(projection("5 millis")))
        assert.strictEqual(new Set(given).size, 67)
        const twice = given.filter((place, i) => given.indexOf(place) < i)
        assert.includeMembers(interrupted, twice)
        assert.deepStrictEqual(new Set(twice), new Set(interrupted))
      }))

    it.effect("ends what it handles before it obeys a command, and begins nothing more", () =>
      Effect.gen(function*() {
        const type = fresh("source")
        const name = freshName()
        for (let i = 0; i < 12; i++) yield* append(type, `${i}`, ["x", "y"])
        const goOn = yield* Latch.make(false)
        let begun = 0
        let ended = 0
        const projection = Source.journal(type).pipe(
          Projection.atLeastOnce(
            name,
            () =>
              Effect.suspend(() => {
                begun++
                return Effect.andThen(goOn.await, Effect.sync(() => ended++))
              }),
            { parallelism: 5 }
          )
        )
        yield* Effect.gen(function*() {
          yield* Wait.until("as many as may be", () => begun === 5)
          yield* ProjectionManagement.pause(name)
          for (let i = 0; i < 50; i++) yield* Effect.yieldNow
          assert.deepStrictEqual([begun, ended], [5, 0])
          yield* goOn.open
          yield* Wait.until(
            "the pause",
            Effect.map(ProjectionStatus.status(name), ([worker]) => worker!.state === "Paused")
          )
          assert.strictEqual(begun, ended)
          yield* ProjectionManagement.resume(name)
          yield* ProjectionStatus.caughtUp(name)
          assert.strictEqual(begun, 24)
        }).pipe(whileRunning(projection))
        assert.strictEqual(begun, ended)
      }))
  })
}

const threeOf = (entity: number) => [1, 2, 3].map((n) => `${entity} ${n}`)
