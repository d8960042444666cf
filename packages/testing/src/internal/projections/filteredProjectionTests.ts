import { assert, describe } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import type * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as Wait from "../../Wait.ts"
import type { It } from "../kit.ts"
import { append, fresh } from "../kit.ts"
import {
  caughtUp,
  freshName,
  makeEffects,
  makeWriter,
  persistent,
  placeOf,
  savedSoon,
  stopped,
  whileRunning
} from "./projectionKit.ts"

/** @internal A journal that is read as another service's stream is: whoever offers it leaves out what does not pass the filter. */
export const filtered = (
  type: EntityType.EntityType<string>,
  initial = EventFilter.passAll
): Source.Source<string, any, Journal.Journal> => {
  const local = Source.journal(type)
  return Source.make<string, any, Journal.Journal>({
    ...local.provider,
    key: `stream:${type.name}`,
    filter: initial,
    open: (range, { filter = initial, ...start }) => {
      const passes = EventFilter.compile(filter)
      return Source.openEncoded(local, type.codec, {
        range,
        start,
        selection: { isOpen: false, isSelected: (envelope) => passes(envelope) }
      }) as any
    }
  })
}

/** @internal */
export const idOf = ({ persistenceId }: Envelope<unknown>): string => PersistenceId.entityId(persistenceId)

/** @internal */
export const ada = { by: "ada" }

/** @internal */
export const guarantees = [
  [
    "exactly once",
    <E>(
      name: string,
      handler: (envelope: Envelope<string>) => Effect.Effect<void, E, Journal.Journal>
    ) => Projection.exactlyOnce(name, handler)
  ],
  [
    "at least once",
    <E>(
      name: string,
      handler: (envelope: Envelope<string>) => Effect.Effect<void, E, Journal.Journal>
    ) => Projection.atLeastOnce(name, handler, savedSoon)
  ]
] as const

/**
 * @internal
 * At least once, a change waits a second for workers of other processes, so that such tests may run at the same time. The others would only
 * take turns.
 */
export const whileWaiting = (guarantee: string) => ({ concurrent: guarantee === "at least once" })

/** An id whose entity is in the slice of another one. */
const idInSliceOf = ({ name }: EntityType.EntityType<string>, id: string): string => {
  const sliceOf = (id: string) => Slice.ofPersistenceId(PersistenceId.make(name, id))
  let i = 0
  while (sliceOf(`other${i}`) !== sliceOf(id)) i++
  return `other${i}`
}

/** Changes the filter of a projection as fast as it can be changed, whether that has begun or not, and says when it does. */
const changing = <E, R>(projection: Projection.Projection<E, R>, change: () => void) =>
  Effect.forever(Effect.suspend(() => {
    change()
    return Effect.andThen(
      ConsumerFilter.update(projection, EventFilter.excludeEntityIds("other"), ada),
      ConsumerFilter.update(projection, () => EventFilter.passAll, ada)
    )
  }))

/** @internal */
export const filteredProjectionTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  for (const [guarantee, make] of guarantees) {
    describe(`a projection ${guarantee} of a filtered stream`, () => {
      it.effect("goes by a change at once, and is given what was left out before the next event", () =>
        Effect.gen(function*() {
          const type = fresh("filtered")
          const handled: Array<string> = []
          const name = freshName()
          const projection = filtered(type, EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("a"))).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(`${idOf(envelope)} ${envelope.event}`))),
            Projection.workers(2)
          )
          yield* append(type, "a", ["1"])
          yield* append(type, "b", ["1", "2"])
          yield* Effect.gen(function*() {
            yield* caughtUp(name)
            assert.deepStrictEqual(handled, ["a 1"])
            yield* ConsumerFilter.update(projection, EventFilter.includeEntityIds("b"), ada)
            yield* append(type, "b", ["3"])
            yield* caughtUp(name)
            assert.deepStrictEqual(handled, ["a 1", "b 1", "b 2", "b 3"])
            yield* ConsumerFilter.update(projection, () => EventFilter.excludeAll, ada)
            yield* append(type, "a", ["2"])
            yield* append(type, "b", ["4"])
            yield* caughtUp(name)
            assert.strictEqual(handled.length, 4)
            const workers = yield* ProjectionStatus.status(name)
            assert.deepStrictEqual(workers.map(({ restarts }) => restarts), [0, 0], "nothing has failed")
            yield* ConsumerFilter.rollBack(projection, 2, ada)
            yield* append(type, "a", ["3"])
            yield* caughtUp(name)
            assert.deepStrictEqual(handled.slice(4), ["a 2", "a 3"])
          }).pipe(whileRunning(projection))
        }))

      it.effect("is given nothing that is excluded once the change is acknowledged, however busy it is", () =>
        Effect.gen(function*() {
          const type = fresh("filtered")
          const name = freshName()
          const isBusy = yield* Deferred.make<void>()
          const goOn = Latch.makeUnsafe()
          let excluded: string | undefined
          let late = 0
          const projection = filtered(type).pipe(make(name, (envelope) =>
            Effect.gen(function*() {
              if (idOf(envelope) === excluded) late++
              yield* Deferred.succeed(isBusy, undefined)
              yield* goOn.await
            })))
          // before it runs, as a handler holds up all writers of some databases
          for (let i = 0; i < 20; i++) for (const id of ["a", "b"]) yield* append(type, id, [`${i}`])
          yield* Effect.gen(function*() {
            yield* Deferred.await(isBusy)
            const updating = yield* Effect.forkChild(
              ConsumerFilter.update(projection, EventFilter.excludeEntityIds("b"), ada).pipe(
                // at the very moment of the acknowledgement
                Effect.tap(() => Effect.sync(() => void (excluded = "b")))
              )
            )
            for (let turns = 0; turns < 20; turns++) yield* Effect.yieldNow
            yield* goOn.open
            yield* Fiber.join(updating)
            for (const id of ["a", "b"]) yield* append(type, id, ["more"])
            yield* caughtUp(name)
            assert.strictEqual(late, 0)
          }).pipe(whileRunning(projection))
        }))

      it.effect("makes progress while the filter changes as fast as it can be changed", () =>
        Effect.gen(function*() {
          const type = fresh("filtered")
          const name = freshName()
          const ids = ["a", "b", "c", "d"]
          const handled = new Set<string>()
          const projection = filtered(type).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.add(`${idOf(envelope)} ${envelope.event}`))),
            Projection.workers(2)
          )
          let changes = 0
          const rounds = Effect.gen(function*() {
            for (let round = 0; round < 5; round++) {
              const before = changes
              for (const id of ids) {
                yield* append(type, id, [`${round}`])
              }
              yield* Wait.until("all to be handled", () => handled.size === (round + 1) * ids.length)
              yield* Wait.until("another change", () => changes > before)
            }
          })
          yield* Effect.raceFirst(rounds, changing(projection, () => changes++)).pipe(whileRunning(projection))
        }))

      it.effect("hands over a group in time while the filter changes", () =>
        Effect.gen(function*() {
          const type = fresh("filtered")
          const name = freshName()
          let handled = 0
          const group = Handler.grouped(
            { size: 100, within: "1 second" },
            (envelopes: ReadonlyArray<Envelope<string>>) =>
              Effect.sync(() => {
                handled += envelopes.length
              })
          )
          const projection = filtered(type).pipe(
            guarantee === "exactly once"
              ? Projection.exactlyOnce(name, group)
              : Projection.atLeastOnce(name, group, savedSoon)
          )
          const once = Effect.andThen(
            append(type, "a", ["x"]),
            Wait.until("it to be handled", () => handled > 0)
          )
          yield* Effect.raceFirst(once, changing(projection, () => {})).pipe(whileRunning(projection))
        }))

      it.effect("stays with a change when it is started again, and follows its pipeline before and after", () =>
        Effect.gen(function*() {
          const type = fresh("filtered")
          const handled: Array<string> = []
          const name = freshName()
          const begins = (filter: EventFilter.EventFilter) => {
            const projection = filtered(type, filter).pipe(
              make(name, (envelope) => Effect.sync(() => void handled.push(`${idOf(envelope)} ${envelope.event}`)))
            )
            return Effect.andThen(append(type, "a", [`${handled.length}`]), caughtUp(name)).pipe(
              whileRunning(projection)
            )
          }
          yield* begins(EventFilter.passAll)
          assert.deepStrictEqual(handled, ["a 0"])
          yield* begins(EventFilter.excludeAll)
          assert.strictEqual(handled.length, 1)
          yield* ConsumerFilter.update(name, () => EventFilter.passAll, ada)
          yield* begins(EventFilter.excludeAll)
          assert.deepStrictEqual(handled, ["a 0", "a 1", "a 1"])
          // the newest of the pipeline's
          yield* ConsumerFilter.rollBack(name, 2, ada)
          yield* begins(EventFilter.passAll.pipe(EventFilter.excludeTags("x")))
          assert.deepStrictEqual(handled.slice(3), ["a 3"])
        }))

      it.effect("goes on with other entities while one is replayed, also when it is started again meanwhile", () =>
        Effect.gen(function*() {
          const type = fresh("filtered")
          const name = freshName()
          const handled: Array<string> = []
          const answers = Latch.makeUnsafe()
          let asked = 0
          const { provider } = filtered(type, EventFilter.excludeAll.pipe(EventFilter.includeTags("large")))
          const projection = Source.make<string, any, Journal.Journal>({
            ...provider,
            entity: (persistenceId, from, to) =>
              Stream.unwrap(Effect.suspend(() => {
                asked++
                return Effect.as(answers.await, provider.entity(persistenceId, from, to))
              }))
          }).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
          )
          const other = idInSliceOf(type, "slow")
          const write = (id: string, event: string, ...tags: ReadonlyArray<string>) =>
            Journal.append(type, { id, events: [event], tags })
          const others = (from: number) => [from, from + 1, from + 2].map((n) => `${other} ${n}`)
          const waits = Effect.gen(function*() {
            const before = asked
            yield* Wait.until("a question", () => asked > before)
          })
          for (const n of ["1", "2", "3"]) yield* write("slow", n)
          yield* Effect.gen(function*() {
            yield* caughtUp(name)
            const question = yield* Effect.forkChild(waits, { startImmediately: true })
            for (const event of ["4", "5"]) yield* write("slow", event, "large")
            for (const event of ["1", "2", "3"]) yield* write(other, event, "large")
            yield* Fiber.join(question)
            yield* Wait.until("others to be handled", () => handled.length === 3)
            assert.deepStrictEqual(handled, others(1))
            assert.strictEqual(yield* ProjectionStatus.lag(name), 5, "it does not pass what waits")
            const [worker] = yield* ProjectionStatus.status(name)
            assert.isDefined(worker!.waitsFrom)
          }).pipe(whileRunning(projection))
          yield* Effect.gen(function*() {
            yield* waits
            for (const event of ["4", "5", "6"]) yield* write(other, event, "large")
            yield* Wait.until("others to be handled", () => handled.length === 6)
            assert.deepStrictEqual(handled.slice(3), others(4), "what is stored does not come again")
            yield* answers.open
            yield* caughtUp(name)
            assert.deepStrictEqual(handled.slice(6), ["slow 1", "slow 2", "slow 3", "slow 4", "slow 5"])
            const [worker] = yield* ProjectionStatus.status(name)
            assert.deepInclude(worker, { state: "Running", restarts: 0, waitsFrom: undefined })
          }).pipe(whileRunning(projection))
        }))

      it.effect("that is paused, or has stopped at an event, goes by a change when it goes on", () =>
        Effect.gen(function*() {
          const type = fresh("filtered")
          const name = freshName()
          const handled: Array<string> = []
          const projection = filtered(type).pipe(
            make(name, (envelope) =>
              idOf(envelope) === "poison"
                ? Effect.fail("poison")
                : Effect.sync(() => void handled.push(envelope.event))),
            Projection.recovery(RecoveryStrategy.fail)
          )
          yield* Effect.gen(function*() {
            yield* append(type, "poison", ["no"])
            yield* stopped(name)
            // the change may make the stop pointless
            yield* ConsumerFilter.update(name, EventFilter.excludeEntityIds("poison"), ada)
            yield* append(type, "a", ["1"])
            yield* caughtUp(name)
            yield* ProjectionManagement.pause(name)
            yield* Wait.until(
              "the pause",
              Effect.map(ProjectionStatus.status(name), ([worker]) => worker!.state === "Paused")
            )
            yield* ConsumerFilter.update(name, EventFilter.excludeEntityIds("b"), ada)
            for (const id of ["a", "b"]) yield* append(type, id, [`${id} 2`])
            assert.deepStrictEqual(handled, ["1"])
            yield* ProjectionManagement.resume(name)
            yield* caughtUp(name)
            assert.deepStrictEqual(handled, ["1", "a 2"])
          }).pipe(whileRunning(projection))
        }))

      it.effect("handles no dead letter that is excluded since, and those that come before what is included", () =>
        Effect.gen(function*() {
          const type = fresh("filtered")
          const name = freshName()
          const handled: Array<string> = []
          let isBroken = true
          const projection = filtered(type).pipe(
            make(name, (envelope) =>
              Effect.suspend(() => {
                if (isBroken && idOf(envelope) !== "a") return Effect.fail("broken")
                handled.push(placeOf(envelope))
                return Effect.void
              })),
            Projection.recovery(RecoveryStrategy.deadLetter)
          )
          for (const id of ["a", "b", "c"]) {
            for (const tags of [[], id === "c" ? ["large"] : [], []]) {
              yield* Journal.append(type, { id, events: ["event"], tags })
            }
          }
          yield* caughtUp(name).pipe(whileRunning(projection))
          yield* ConsumerFilter.update(
            projection,
            () => EventFilter.excludeAll.pipe(EventFilter.includeTags("large")),
            ada
          )
          isBroken = false
          handled.length = 0
          assert.deepStrictEqual(
            yield* Projection.handleDeadLetters(projection),
            { handled: 2, failed: 0, obsolete: 0, excluded: 2 }
          )
          assert.deepStrictEqual(handled, ["c 1", "c 2"])
          yield* ConsumerFilter.update(projection, () => EventFilter.passAll, ada)
          assert.deepStrictEqual(
            yield* Projection.handleDeadLetters(projection),
            { handled: 4, failed: 0, obsolete: 0, excluded: 0 }
          )
          assert.deepStrictEqual(handled.slice(2), ["b 1", "b 2", "b 3", "c 3"])
        }))
    })
  }

  describe("a projection exactly once of a filtered stream", () => {
    it.effect("makes progress, and misses and repeats nothing, while the filter changes on and on", () =>
      Effect.gen(function*() {
        const type = fresh("filtered")
        const name = freshName()
        const effects = makeEffects()
        const { write, written } = makeWriter(type)
        const ids = Array.from({ length: 8 }, (_, i) => `e${i}`)
        const projection = filtered(type).pipe(
          Projection.exactlyOnce(name, effects.record),
          Projection.workers(2),
          Projection.recovery(persistent)
        )
        let last = 0
        const progress = Effect.map(
          ProjectionStatus.status(name),
          (workers) => workers.reduce((sum, { handled }) => sum + handled, 0)
        )
        yield* Effect.gen(function*() {
          const changing = yield* Effect.gen(function*() {
            for (let i = 0;; i++) {
              yield* ConsumerFilter.update(name, () =>
                EventFilter.excludeAll.pipe(
                  EventFilter.includeEntityIds(...ids.filter((_, k) => (i + k) % 3 > 0))
                ), ada)
              yield* Effect.sleep("100 millis")
            }
          }).pipe(Effect.forkScoped)
          const writeAll = Effect.forEach(ids, (id) => write(id, 2), { discard: true })
          for (let round = 0; round < 10; round++) {
            yield* writeAll
            yield* Wait.until(
              "progress",
              Effect.gen(function*() {
                if ((yield* progress) > last) return true
                // each may have been read while it was excluded: it comes before the next one then
                if ((yield* ProjectionStatus.lag(name)) === 0) yield* writeAll
                return false
              })
            )
            last = yield* progress
          }
          yield* Fiber.interrupt(changing)
          yield* ConsumerFilter.update(name, () => EventFilter.passAll, ada)
          for (const id of ids) yield* write(id, 1)
          yield* caughtUp(name)
          yield* effects.assertExact(written)
        }).pipe(whileRunning(projection), Effect.scoped)
      }))
  })
}
