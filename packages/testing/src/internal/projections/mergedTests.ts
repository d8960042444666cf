import { assert, describe } from "@effect/vitest"
import * as DurableStateStore from "@sluice/core/DurableStateStore"
import type * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import type * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as StateType from "@sluice/core/StateType"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Wait from "../../Wait.ts"
import { freshNameOf } from "../ids.ts"
import type { It } from "../kit.ts"
import { append, fresh, texts } from "../kit.ts"
import {
  appendUndecodable,
  freshName,
  makeEffects,
  makeWriter,
  placeOf,
  reportingSoon,
  savedSoon,
  stopped,
  whileRunning
} from "./projectionKit.ts"

const long = { timeout: "2 minutes" } as const

const keyOf = (type: EntityType.EntityType<any>): string => Source.journal(type).provider.key

/** Two journals that one projection reads. */
const twoJournals = () => ({ name: freshName(), carts: fresh("cart"), orders: fresh("order") })

const places = (id: string, n: number) => Array.from({ length: n }, (_, i) => `${id} ${i + 1}`)

/** How many positions are stored of a source. */
const positions = (projection: string, source: string) =>
  Effect.map(
    OffsetStore.use((store) => store.load({ projection, source }, SliceRange.full)),
    ({ offsets }) => [...offsets.values()].reduce((sum, { position }) => sum + position, 0)
  )

type Handle = (envelope: Envelope<string>) => Effect.Effect<void>

const deliveries = [
  ["exactly once", (name: string, handle: Handle) => Projection.exactlyOnce(name, handle)],
  ["at least once", (name: string, handle: Handle) => Projection.atLeastOnce(name, handle, savedSoon)],
  ["at most once", (name: string, handle: Handle) => Projection.atMostOnce(name, handle)]
] as const

const inFlow = [
  "in a flow",
  (name: string, handle: Handle) =>
    Projection.flow(
      name,
      (envelopes: Stream.Stream<Envelope<string>>) =>
        Stream.mapEffect(envelopes, (envelope) => Effect.as(handle(envelope), envelope)),
      savedSoon
    )
] as const

/** @internal Several sources that one projection reads. */
export const mergedTests = (
  it: It<Journal.Journal | Projection.Stores | DurableStateStore.DurableStateStore>
): void => {
  describe("a projection of several sources", () => {
    for (const [what, deliver] of deliveries) {
      it.effect(`hands over the events of all of them, those of an entity in order, ${what}`, () =>
        Effect.gen(function*() {
          const { carts, name, orders } = twoJournals()
          const states = StateType.make(freshNameOf("state"), { codec: EventCodec.string })
          const seen: Array<string> = []
          const see = (envelope: Envelope<string>) => Effect.sync(() => void seen.push(placeOf(envelope)))
          const projection = Source.mergeAll([
            Source.journal(carts),
            Source.journal(orders).pipe(Source.filter(({ sequenceNumber }) => sequenceNumber !== 2)),
            Source.durableState(states).pipe(Source.filterMap(({ event }) => event))
          ]).pipe(deliver(name, see), Projection.workers(3))
          for (let i = 0; i < 5; i++) {
            yield* append(carts, `c-${i}`, texts(4))
            yield* append(orders, `o-${i}`, texts(3))
            yield* DurableStateStore.upsert(states, { id: `s-${i}`, expected: 0, state: "one" })
          }
          yield* Effect.gen(function*() {
            yield* ProjectionStatus.caughtUp(name)
            for (let i = 0; i < 5; i++) {
              yield* append(carts, `c-${i}`, texts(1))
              yield* append(orders, `o-${i}`, texts(1))
            }
            yield* ProjectionStatus.caughtUp(name)
            assert.strictEqual(yield* ProjectionStatus.lag(name), 0)
            const workers = yield* ProjectionStatus.status(projection)
            assert.deepStrictEqual(
              workers.map(({ range, source }) => `${source} ${SliceRange.format(range)}`),
              projection.sources.flatMap(({ provider: { key } }) =>
                SliceRange.split(3).map((range) => `${key} ${SliceRange.format(range)}`)
              )
            )
          }).pipe(whileRunning(projection))
          const of = (id: string) => seen.filter((place) => place.startsWith(`${id} `))
          for (let i = 0; i < 5; i++) {
            assert.deepStrictEqual(of(`c-${i}`), places(`c-${i}`, 5))
            assert.deepStrictEqual(of(`o-${i}`), [1, 3, 4].map((n) => `o-${i} ${n}`))
            assert.deepStrictEqual(of(`s-${i}`), [`s-${i} 1`])
          }
          assert.lengthOf(seen, 5 * (5 + 3 + 1))
          // each has offsets of its own, also of what it drops
          assert.strictEqual(yield* positions(name, keyOf(carts)), 25)
          assert.strictEqual(yield* positions(name, keyOf(orders)), 20)
          const known = (yield* ProjectionManagement.list).filter((key) => key.projection === name)
          assert.sameDeepMembers(known, [...Projection.offsetKeys(projection)])
        }))
    }

    it.effect("stays exact with workers that come and go, and a handler that fails", () =>
      Effect.gen(function*() {
        const { carts, name, orders } = twoJournals()
        const effects = makeEffects()
        const [cartWriter, orderWriter] = [makeWriter(carts), makeWriter(orders)]
        let calls = 0
        const projection = Source.mergeAll([Source.journal(carts), Source.journal(orders)]).pipe(
          Projection.exactlyOnce(name, (envelope) =>
            Effect.andThen(
              effects.record(envelope),
              Effect.suspend(() => ++calls % 7 === 0 ? Effect.fail("at times") : Effect.void)
            )),
          Projection.recovery(RecoveryStrategy.retryAndFail({ retries: 1000, delay: 0 }))
        )
        for (const workers of [1, 4, 2]) {
          for (let i = 0; i < 6; i++) {
            yield* cartWriter.write(`c-${i}`, 2)
            yield* orderWriter.write(`o-${i}`, 2)
          }
          const until = calls + 9
          yield* Wait.until(`${until} calls`, () => calls >= until).pipe(
            whileRunning(Projection.workers(workers)(projection))
          )
        }
        yield* ProjectionStatus.caughtUp(name).pipe(whileRunning(Projection.workers(3)(projection)))
        yield* effects.assertExact(new Map([...cartWriter.written, ...orderWriter.written]))
      }))

    it.effect("goes on in the others where one stops at an event, and says which", () =>
      Effect.gen(function*() {
        const { carts, name, orders } = twoJournals()
        const seen: Array<string> = []
        const projection = Source.mergeAll([Source.journal(carts), Source.journal(orders)]).pipe(
          Projection.exactlyOnce(name, (envelope) => Effect.sync(() => void seen.push(placeOf(envelope)))),
          Projection.recovery(RecoveryStrategy.fail)
        )
        yield* append(carts, "c", texts(2))
        yield* appendUndecodable(carts, "c")
        yield* Effect.gen(function*() {
          const { failure, source } = yield* stopped(name)
          assert.strictEqual(source, keyOf(carts))
          assert.strictEqual(failure!.event!.sequenceNumber, 3)
          const receipt = yield* append(orders, "o", texts(3))
          yield* ProjectionStatus.reached(name, receipt, long)
          yield* ProjectionStatus.caughtUp({ projection: name, source: keyOf(orders) })
          assert.deepStrictEqual(seen, [...places("c", 2), ...places("o", 3)])
          assert.instanceOf(yield* Effect.flip(ProjectionStatus.caughtUp(name)), ProjectionStatus.WorkerStopped)
          assert.strictEqual(yield* ProjectionStatus.lag({ projection: name, source: keyOf(orders) }), 0)
          assert.strictEqual(yield* ProjectionStatus.lag(name), 1)
          // and each wait ends with what concerns it
          const behind = yield* append(carts, "c", texts(1))
          assert.instanceOf(
            yield* Effect.flip(ProjectionStatus.reached(name, behind, long)),
            ProjectionStatus.WorkerStopped
          )
        }).pipe(whileRunning(projection))
      }))

    it.effect("goes on in the others where one is away, which then catches up", () =>
      Effect.gen(function*() {
        const { carts, name, orders } = twoJournals()
        const { provider } = Source.journal(carts)
        let isAway = true
        const away = Source.make<string, string, Journal.Journal>({
          ...provider,
          open: (range, start) => Effect.suspend(() => isAway ? Effect.fail("away") : provider.open(range, start)),
          heads: (range) => Effect.suspend(() => isAway ? Effect.fail("away") : provider.heads(range))
        })
        const seen: Array<string> = []
        const projection = Source.mergeAll([away, Source.journal(orders)]).pipe(
          Projection.exactlyOnce(name, (envelope) => Effect.sync(() => void seen.push(placeOf(envelope)))),
          Projection.workers(2)
        )
        const receipt = yield* append(carts, "c", texts(2))
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.reached(name, yield* append(orders, "o", texts(2)), long)
          yield* ProjectionStatus.caughtUp({ projection: name, source: keyOf(orders) })
          assert.deepStrictEqual(seen, places("o", 2))
          assert.instanceOf(yield* Effect.flip(ProjectionStatus.lag(name)), ProjectionStatus.SourceFailed)
          assert.strictEqual(yield* ProjectionStatus.lag({ projection: name, source: keyOf(orders) }), 0)
          const workers = yield* ProjectionStatus.status({ projection: name, source: keyOf(carts) })
          assert.isFalse(workers.some(({ state }) => state === "Running"))
          isAway = false
          yield* ProjectionStatus.reached(name, receipt, long)
          assert.deepStrictEqual(seen, [...places("o", 2), ...places("c", 2)])
        }).pipe(whileRunning(projection))
      }))

    it.effect("begins a source that is added at its beginning, goes on in the others, and keeps what is removed", () =>
      Effect.gen(function*() {
        const { carts, name, orders } = twoJournals()
        const seen: Array<string> = []
        const handle = (envelope: Envelope<string>) => Effect.sync(() => void seen.push(placeOf(envelope)))
        yield* append(carts, "c", texts(2))
        yield* append(orders, "o", texts(2))
        const one = Source.journal(carts).pipe(Projection.exactlyOnce(name, handle))
        const both = Source.mergeAll([Source.journal(orders), Source.journal(carts)]).pipe(
          Projection.exactlyOnce(name, handle)
        )
        yield* ProjectionStatus.caughtUp(name).pipe(whileRunning(one))
        yield* append(carts, "c", texts(1))
        yield* ProjectionStatus.caughtUp(name).pipe(whileRunning(both))
        assert.sameMembers(seen.splice(0), [...places("c", 3), ...places("o", 2)])
        yield* append(orders, "o", texts(1))
        yield* ProjectionStatus.caughtUp(name).pipe(whileRunning(one))
        assert.deepStrictEqual(seen, [])
        assert.strictEqual(yield* positions(name, keyOf(orders)), 2)
        yield* ProjectionStatus.caughtUp(name).pipe(whileRunning(both))
        assert.deepStrictEqual(seen.splice(0), ["o 3"])
        // for good
        yield* ProjectionManagement.clear({ projection: name, source: keyOf(orders) })
        yield* ProjectionStatus.caughtUp(name).pipe(whileRunning(both))
        assert.deepStrictEqual(seen, places("o", 3))
      }))

    it.effect("is paused and resumed as one, also where it has begun to read another source meanwhile", () =>
      Effect.gen(function*() {
        const { carts, name, orders } = twoJournals()
        const seen: Array<string> = []
        const handle = (envelope: Envelope<string>) => Effect.sync(() => void seen.push(placeOf(envelope)))
        const both = Source.mergeAll([Source.journal(carts), Source.journal(orders)]).pipe(
          Projection.exactlyOnce(name, handle)
        )
        yield* ProjectionStatus.caughtUp(name).pipe(
          whileRunning(Source.journal(carts).pipe(Projection.exactlyOnce(name, handle)))
        )
        yield* ProjectionManagement.pause(both)
        const receipts = [yield* append(carts, "c", texts(1)), yield* append(orders, "o", texts(1))]
        yield* Effect.gen(function*() {
          const isPaused = Effect.map(
            ProjectionStatus.status(name),
            (workers) => workers.length === 2 && workers.every(({ state }) => state === "Paused")
          )
          yield* Wait.until("both to pause", isPaused)
          for (const receipt of receipts) {
            const error = yield* Effect.flip(ProjectionStatus.reached(name, receipt, long))
            assert.instanceOf(error, ProjectionStatus.ProjectionPaused)
          }
          yield* ProjectionManagement.resume(both)
          yield* ProjectionStatus.reached(name, receipts, long)
          assert.sameMembers(seen, ["c 1", "o 1"])
          yield* ProjectionManagement.pause(name)
          yield* Wait.until("both to pause again", isPaused)
        }).pipe(whileRunning(both))
      }))

    it.effect("is not taken for one of them by its name while the others are not registered", () =>
      Effect.gen(function*() {
        const { carts, name, orders } = twoJournals()
        const seen: Array<string> = []
        const projection = Source.mergeAll([Source.journal(carts), Source.journal(orders)]).pipe(
          Projection.exactlyOnce(name, (envelope) => Effect.sync(() => void seen.push(placeOf(envelope))))
        )
        const key = { projection: name, source: keyOf(carts) }
        yield* append(carts, "c", texts(3))
        yield* append(orders, "o", texts(2))
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          yield* ProjectionManagement.pause(name)
          yield* Wait.until(
            "both to pause",
            Effect.map(ProjectionStatus.status(name), (workers) => workers.every(({ state }) => state === "Paused"))
          )
          yield* ProjectionManagement.clear({ projection: name, source: keyOf(orders) })
          const known = (yield* ProjectionManagement.list).filter(({ projection }) => projection === name)
          assert.deepStrictEqual(known, [key])
          for (const command of [ProjectionManagement.rewind(name, "beginning"), ProjectionManagement.clear(name)]) {
            const error = yield* Effect.flip(command)
            assert.instanceOf(error, ProjectionManagement.AmbiguousProjection)
            assert.sameMembers([...error.sources], [keyOf(carts), keyOf(orders)])
          }
          assert.strictEqual(yield* positions(name, keyOf(carts)), 3)
          yield* ProjectionManagement.rewind(key, "beginning")
          assert.strictEqual(yield* positions(name, keyOf(carts)), 0)
          seen.length = 0
          yield* ProjectionManagement.resume(name)
          yield* ProjectionStatus.caughtUp(name)
          assert.sameMembers(seen, [...places("c", 3), ...places("o", 2)])
        }).pipe(whileRunning(projection))
        // where it does not run, the one that is known is meant
        yield* ProjectionManagement.clear({ projection: name, source: keyOf(orders) })
        yield* ProjectionManagement.rewind(name, "beginning")
        assert.strictEqual(yield* positions(name, keyOf(carts)), 0)
      }))

    it.effect("is rewound in all of them, or in one, with what its handler has written", () =>
      Effect.gen(function*() {
        const { carts, name, orders } = twoJournals()
        const effects = makeEffects()
        const seen: Array<string> = []
        const projection = Source.mergeAll([Source.journal(carts), Source.journal(orders)]).pipe(
          Projection.exactlyOnce(name, (envelope) =>
            Effect.andThen(Effect.sync(() => void seen.push(placeOf(envelope))), effects.record(envelope)))
        )
        yield* append(carts, "c", texts(3))
        const { timestamp } = yield* append(orders, "o", texts(2))
        const forget = (ids: ReadonlyArray<string>) =>
          Effect.forEach(ids, effects.forget, { discard: true })
        const remembered = Effect.map(
          Effect.forEach(["c", "o"], effects.remembered),
          (all) => all.map((texts) => texts.length)
        )
        yield* Effect.gen(function*() {
          yield* ProjectionStatus.caughtUp(name)
          seen.length = 0
          yield* Projection.rewind(projection, "beginning", { undo: forget(["c", "o"]), by: "ada" })
          yield* ProjectionStatus.caughtUp(name)
          assert.sameMembers(seen.splice(0), [...places("c", 3), ...places("o", 2)])
          assert.deepStrictEqual(yield* remembered, [3, 2])

          // one of them, by its key or with an undo of its own
          yield* Projection.rewind(projection, "beginning", { source: keyOf(orders), undo: forget(["o"]) })
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(seen.splice(0), places("o", 2))
          assert.deepStrictEqual(yield* remembered, [3, 2])
          yield* Projection.rewind(projection, { since: timestamp }, { undo: forget(["o"]) })
          yield* ProjectionStatus.caughtUp(name)
          assert.includeMembers(seen.splice(0), ["o 2"])
          yield* ProjectionManagement.rewind({ projection: name, source: keyOf(carts) }, "beginning")
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(seen.splice(0), places("c", 3))

          // nothing is changed by one that fails
          const failed = Projection.rewind(projection, "beginning", {
            undo: Effect.andThen(forget(["c", "o"]), Effect.fail("no"))
          })
          assert.strictEqual(yield* Effect.flip(failed), "no")
          const offsets = { journal: undefined, offsets: Offset.none }
          for (
            const ambiguous of [
              Projection.rewind(projection, offsets),
              ProjectionManagement.rewind(projection, "beginning"),
              ProjectionManagement.clear(name)
            ]
          ) {
            const error = yield* Effect.flip(ambiguous as Effect.Effect<void, unknown, any>)
            assert.instanceOf(error, ProjectionManagement.AmbiguousProjection)
            assert.sameMembers([...error.sources], [keyOf(carts), keyOf(orders)])
          }
          const unknown = yield* Effect.flip(Projection.rewind(projection, "beginning", { source: "stream:none" }))
          assert.deepInclude(unknown, { _tag: "UnknownProjection", source: "stream:none" })
          yield* ProjectionStatus.caughtUp(name)
          assert.deepStrictEqual(seen, [])
        }).pipe(whileRunning(projection))
        const commands = (yield* ProjectionManagement.history(name)).toReversed()
        assert.sameDeepMembers(
          commands.slice(0, 2).map(({ by, command, source }) => [command, source, by]),
          [keyOf(carts), keyOf(orders)].map((source) => ["Rewind", source, "ada"])
        )
        assert.lengthOf(commands, 2 + 1 + 2 + 1)
        assert.lengthOf([...new Set(commands.map(({ revision }) => revision))], commands.length)
      }))

    it.effect("puts events of each aside, and handles them again, where another source is away as well", () =>
      Effect.gen(function*() {
        const { carts, name, orders } = twoJournals()
        const { provider } = Source.journal(orders)
        let isBroken = true
        let isAway = false
        const handled: Array<string> = []
        const others = Source.make<string, string, Journal.Journal>({
          ...provider,
          entity: (id, from, to) => isAway ? Stream.fail("away") : provider.entity(id, from, to)
        })
        const projection = Source.mergeAll([others, Source.journal(carts)]).pipe(
          Projection.exactlyOnce(
            name,
            (envelope) => isBroken ? Effect.fail("broken") : Effect.sync(() => void handled.push(placeOf(envelope)))
          ),
          Projection.recovery(RecoveryStrategy.deadLetter)
        )
        const receipts = [yield* append(carts, "c", texts(2)), yield* append(orders, "o", texts(1))]
        yield* Effect.gen(function*() {
          const { deadLetters } = yield* ProjectionStatus.reached(name, receipts, long)
          assert.deepStrictEqual(
            deadLetters.map(({ persistenceId, sequenceNumber }) =>
              `${PersistenceId.entityId(persistenceId)} ${sequenceNumber}`
            ),
            ["c 1", "c 2", "o 1"]
          )
          const error = yield* Effect.flip(ProjectionManagement.deadLetters(projection))
          assert.instanceOf(error, ProjectionManagement.AmbiguousProjection)
          assert.lengthOf(yield* ProjectionManagement.deadLetters({ projection: name, source: keyOf(carts) }), 2)
          isBroken = false
          isAway = true
          assert.strictEqual(yield* Effect.flip(Projection.handleDeadLetters(projection)), "away")
          assert.deepStrictEqual(handled, places("c", 2))
          isAway = false
          assert.deepStrictEqual(yield* Projection.handleDeadLetters(projection), {
            handled: 1,
            failed: 0,
            obsolete: 0,
            excluded: 0
          })
          assert.deepStrictEqual(handled, [...places("c", 2), "o 1"])
        }).pipe(whileRunning(projection))
      }))

    for (const [what, deliver] of [...deliveries, inFlow]) {
      it.effect(`parks an entity in the source in which an event of it has failed, and in no other, ${what}`, () =>
        Effect.gen(function*() {
          const { carts, name } = twoJournals()
          const { provider } = Source.journal(carts)
          let isBroken = true
          const seen: Array<string> = []
          const projection = Source.mergeAll([
            Source.journal(carts).pipe(Source.map((envelope) => {
              if (isBroken && envelope.sequenceNumber === 2) throw new Error("broken")
              return `one: ${placeOf(envelope)}`
            })),
            Source.make<string, any, Journal.Journal>({ ...provider, key: `stream:${carts.name}` }).pipe(
              Source.map((envelope) => `two: ${placeOf(envelope)}`)
            )
          ]).pipe(
            deliver(name, ({ event }) => Effect.sync(() => void seen.push(event))),
            Projection.recovery(RecoveryStrategy.deadLetter)
          )
          const letters = (source: string) =>
            Effect.map(
              ProjectionManagement.deadLetters({ projection: name, source }),
              (letters) => letters.map(({ envelope }) => Number(envelope.sequenceNumber))
            )
          const handled = () => seen.splice(0).toSorted()
          yield* append(carts, "c", texts(3))
          yield* Effect.gen(function*() {
            yield* ProjectionStatus.caughtUp(name)
            assert.deepStrictEqual(handled(), ["one: c 1", "two: c 1", "two: c 2", "two: c 3"])
            yield* append(carts, "c", texts(1))
            yield* ProjectionStatus.caughtUp(name)
            assert.deepStrictEqual(handled(), ["two: c 4"])
            assert.deepStrictEqual(yield* letters(keyOf(carts)), [2, 3, 4])
            assert.deepStrictEqual(yield* letters(`stream:${carts.name}`), [])
            isBroken = false
            assert.deepInclude(yield* Projection.handleDeadLetters(projection), { handled: 3, failed: 0 })
            assert.deepStrictEqual(seen.splice(0), ["one: c 2", "one: c 3", "one: c 4"])
            yield* append(carts, "c", texts(1))
            yield* ProjectionStatus.caughtUp(name)
            assert.deepStrictEqual(handled(), ["one: c 5", "two: c 5"])
          }).pipe(whileRunning(projection))
        }))
    }

    it.effect("is reported on source by source", () =>
      Effect.gen(function*() {
        const { carts, name, orders } = twoJournals()
        const projection = Source.mergeAll([Source.journal(carts), Source.journal(orders)]).pipe(
          Projection.exactlyOnce(name, () => Effect.void),
          Projection.workers(2)
        )
        yield* append(carts, "c", texts(2))
        yield* Effect.gen(function*() {
          const everywhere = ProjectionStatus.everywhere(projection)
          const isDone = Effect.map(
            everywhere,
            (workers) => workers.length === 4 && workers.every(({ lag, state }) => state === "Running" && lag === 0)
          )
          yield* Wait.until("the reports", isDone)
          const reported = (yield* everywhere).map(({ range, source }) => [source, SliceRange.format(range)])
          const expected = [keyOf(carts), keyOf(orders)].toSorted().flatMap((source) =>
            SliceRange.split(2).map((range) => [source, SliceRange.format(range)])
          )
          assert.deepStrictEqual(reported, expected)
          const one = yield* ProjectionStatus.everywhere({ projection: name, source: keyOf(orders) })
          assert.deepStrictEqual(one.map(({ source }) => source), [keyOf(orders), keyOf(orders)])
        }).pipe(whileRunning(projection), reportingSoon)
      }))

    it.effect("opens as one plain stream", () =>
      Effect.gen(function*() {
        const { carts, orders } = twoJournals()
        yield* append(carts, "c", texts(2))
        yield* append(orders, "o", texts(2))
        const merged = Source.mergeAll([
          Source.journal(carts),
          Source.journal(orders).pipe(Source.filterMap(({ event }) => Option.some(event)))
        ])
        const seen = yield* Stream.runCollect(Stream.take(Source.toStream(merged), 4))
        assert.sameMembers(seen.map(placeOf), [...places("c", 2), ...places("o", 2)])
      }))
  })
}
