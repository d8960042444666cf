import { assert, describe } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import type * as EntityType from "@sluice/core/EntityType"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as SliceRange from "@sluice/core/SliceRange"
import type { Start } from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { isFull } from "../isFull.ts"
import type { It } from "../kit.ts"
import { append, below, fresh, idsOfSlice, laterThan, texts } from "../kit.ts"
import { ada, filtered, guarantees, whileWaiting } from "./filteredProjectionTests.ts"
import { complete, only } from "./historyTests.ts"
import { caughtUp, freshName, makeEffects, makeWriter, persistent, placeOf, whileRunning } from "./projectionKit.ts"

/** Where the events after some begin: as their time, and as offsets. */
interface Place {
  readonly since: Timestamp.Timestamp
  readonly start: Start
}

/** The ways to rewind a projection to a place. By its name alone, its worker asks for the positions. */
const ways: ReadonlyArray<
  readonly [
    string,
    (
      projection: Projection.Projection<any, any>,
      place: Place,
      undo: Effect.Effect<unknown, any, any>
    ) => Effect.Effect<void, any, any>
  ]
> = [
  ["a time", (projection, { since }, undo) => Projection.rewind(projection, { since }, { undo })],
  [
    "a time, by its name,",
    (projection, { since }, undo) =>
      ProjectionManagement.ProjectionManagement.use((management) =>
        management.rewind(
          Projection.offsetKey(projection),
          { journal: undefined, offsets: Offset.since(since) },
          undo
        )
      )
  ],
  ["offsets", (projection, { start }, undo) => Projection.rewind(projection, start, { undo })]
]

const startOf = (projection: Projection.Projection<any, any>) =>
  Effect.map(
    OffsetStore.use((store) => store.load(Projection.offsetKey(projection), SliceRange.full)),
    ({ journal, offsets }): Start => ({ journal, offsets })
  )

const timesOf = (type: EntityType.EntityType<string>, id: string) =>
  Effect.map(Stream.runCollect(Journal.read(type, id)), (read) => read.map(({ timestamp }) => timestamp))

/** @internal What a filter has left out before the place that a projection is rewound to. */
export const rewoundTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  for (const [guarantee, make] of guarantees) {
    describe(`what a filter has left out before a projection ${guarantee} was rewound`, whileWaiting(guarantee), () => {
      for (const [n, [way, rewind]] of ways.entries()) {
        for (const [m, history] of (["nextEvent", "now", "none"] as const).entries()) {
          // how far a worker begins again does not depend on the history, and how entities come does not depend on the way
          if (!isFull && guarantee === "at least once" && n !== m) continue
          it.effect(`to ${way} is not forgotten: its entity is included with the history ${history}`, () =>
            Effect.gen(function*() {
              const type = fresh("rewound")
              const name = freshName()
              const [a, b, c] = idsOfSlice(type, 7, 3) as [string, string, string]
              const handled: Array<string> = []
              const projection = filtered(type, only(a, c)()).pipe(
                make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope)))),
                Projection.workers(2)
              )
              yield* Effect.gen(function*() {
                // nothing is left out before the first of them
                yield* append(type, c, texts(1))
                yield* append(type, b, texts(3))
                yield* append(type, a, texts(2))
                yield* append(type, c, texts(1))
                yield* caughtUp(name)
                const start = yield* startOf(projection)
                yield* append(type, a, texts(2))
                yield* append(type, b, texts(1))
                yield* caughtUp(name)
                assert.sameMembers(handled, [`${c} 1`, `${a} 1`, `${a} 2`, `${c} 2`, `${a} 3`, `${a} 4`])
                const [, , since] = yield* timesOf(type, a)
                for (let times = 0; times < 2; times++) {
                  handled.length = 0
                  yield* rewind(projection, { since: since!, start }, Effect.void)
                  yield* caughtUp(name)
                  assert.deepStrictEqual(handled, [`${a} 3`, `${a} 4`])
                }
                handled.length = 0
                yield* append(type, c, texts(1))
                yield* caughtUp(name)
                assert.deepStrictEqual(handled, [`${c} 3`])
                handled.length = 0
                yield* ConsumerFilter.update(projection, only(a, b, c), { ...ada, history })
                yield* complete(projection)
                const past = [1, 2, 3, 4].map((n) => `${b} ${n}`)
                assert.deepStrictEqual(handled, history === "now" ? past : [])
                handled.length = 0
                yield* append(type, b, texts(1))
                yield* caughtUp(name)
                assert.deepStrictEqual(handled, [...history === "nextEvent" ? past : [], `${b} 5`])
              }).pipe(whileRunning(projection))
            }))
        }
      }

      it.effect("is asked for as soon as that is included, right after the rewind, before its worker has begun", () =>
        Effect.gen(function*() {
          const type = fresh("rewound")
          const name = freshName()
          const handled: Array<string> = []
          const [a, b, c] = idsOfSlice(type, 7, 3) as [string, string, string]
          const projection = filtered(type, only(a)()).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
          )
          yield* whileRunning(projection)(Effect.gen(function*() {
            for (const id of [a, b, c]) yield* append(type, id, texts(2))
            yield* append(type, a, texts(1))
            yield* caughtUp(name)
          }))
          const [, , since] = yield* timesOf(type, a)
          yield* ProjectionManagement.rewind(name, { since: since! })
          yield* ConsumerFilter.update(projection, only(a, b), { ...ada, history: "now" })
          handled.length = 0
          yield* whileRunning(projection)(complete(projection))
          assert.sameMembers(handled, [`${a} 3`, `${b} 1`, `${b} 2`])
          yield* ProjectionManagement.rewind(name, { since: since! })
          yield* ConsumerFilter.update(projection, only(a, b, c), { ...ada, history: "none" })
          yield* append(type, c, texts(1))
          handled.length = 0
          yield* whileRunning(projection)(complete(projection))
          assert.sameMembers(handled, [`${a} 3`, `${c} 3`])
        }))

      it.effect("forwards still comes, and what was jumped over does not", () =>
        Effect.gen(function*() {
          const type = fresh("rewound")
          const name = freshName()
          const [a, b] = idsOfSlice(type, 7, 2) as [string, string]
          const handled: Array<string> = []
          const projection = filtered(type, only(a)()).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
          )
          yield* whileRunning(projection)(Effect.gen(function*() {
            yield* append(type, b, texts(2))
            yield* append(type, a, texts(2))
            yield* caughtUp(name)
          }))
          yield* append(type, a, texts(2))
          yield* append(type, b, texts(1))
          yield* append(type, a, texts(1))
          const times = yield* timesOf(type, a)
          yield* Projection.rewind(projection, { since: times[4]! })
          handled.length = 0
          yield* Effect.gen(function*() {
            yield* caughtUp(name)
            assert.deepStrictEqual(handled, [`${a} 5`])
            yield* ConsumerFilter.update(projection, only(a, b), ada)
            yield* append(type, b, texts(1))
            yield* caughtUp(name)
            assert.deepStrictEqual(handled, [`${a} 5`, `${b} 1`, `${b} 2`, `${b} 4`])
            handled.length = 0
            // to the middle of what was jumped over
            yield* Projection.rewind(projection, { since: times[3]! })
            yield* caughtUp(name)
            const of = (id: string) => handled.filter((place) => place.startsWith(`${id} `))
            assert.deepStrictEqual([of(a), of(b)], [[`${a} 4`, `${a} 5`], [`${b} 3`, `${b} 4`]])
          }).pipe(whileRunning(projection))
        }))

      it.effect("forwards is brought at once by what was jumped over, which does not come itself", () =>
        Effect.gen(function*() {
          const type = fresh("rewound")
          const name = freshName()
          const [a, b] = idsOfSlice(type, 7, 2) as [string, string]
          const handled: Array<string> = []
          const projection = filtered(type, only(a)()).pipe(
            make(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
          )
          yield* whileRunning(projection)(Effect.gen(function*() {
            yield* append(type, b, texts(2))
            yield* append(type, a, texts(1))
            yield* caughtUp(name)
          }))
          const appendLarge = Journal.append(type, { id: b, events: ["large"], tags: ["large"] })
          yield* appendLarge
          yield* append(type, a, texts(1))
          const times = yield* timesOf(type, a)
          yield* Projection.rewind(projection, { since: times[1]! })
          handled.length = 0
          yield* Effect.gen(function*() {
            // so that a change does not come before the offset of what was handled, which would come again
            yield* caughtUp(name)
            assert.deepStrictEqual(handled, [`${a} 2`])
            yield* ConsumerFilter.update(projection, EventFilter.includeTags("large"), { ...ada, history: "now" })
            yield* complete(projection)
            assert.deepStrictEqual(handled.slice(1), [`${b} 1`, `${b} 2`])
            yield* appendLarge
            yield* caughtUp(name)
            assert.deepStrictEqual(handled.slice(3), [`${b} 4`])
          }).pipe(whileRunning(projection))
        }))
    })
  }

  describe("what a filter has left out before a projection was rewound, exactly once,", () => {
    it.effect("comes as it would have, though events were deleted at the source", () =>
      Effect.gen(function*() {
        const type = fresh("rewound")
        const name = freshName()
        const [a, b] = idsOfSlice(type, 7, 2) as [string, string]
        const handled: Array<string> = []
        const projection = filtered(type, only(a)()).pipe(
          Projection.exactlyOnce(name, (envelope) => Effect.sync(() => void handled.push(placeOf(envelope))))
        )
        yield* Effect.gen(function*() {
          yield* append(type, b, texts(2))
          yield* append(type, a, texts(2))
          yield* append(type, b, texts(1))
          yield* append(type, a, texts(2))
          yield* caughtUp(name)
          yield* Journal.deleteEvents(type, b, { to: 1 })
          const times = yield* timesOf(type, a)
          handled.length = 0
          yield* Projection.rewind(projection, { since: times[2]! })
          yield* caughtUp(name)
          assert.deepStrictEqual(handled, [`${a} 3`, `${a} 4`])
          yield* ConsumerFilter.update(projection, only(a, b), ada)
          yield* append(type, b, texts(1))
          yield* caughtUp(name)
          assert.deepStrictEqual(handled.slice(2), [`${b} 2`, `${b} 3`, `${b} 4`])
        }).pipe(whileRunning(projection))
      }))

    // in the last one, what a change has given up is followed by what was left out after it, and something new comes before that
    it.effect.each(
      (isFull ? [1, 2, 3, 4, 30_004] : [1, 30_004]).flatMap((seed) => [
        { seed, rewinds: "no" },
        { seed, rewinds: "some" }
      ])
    )(
      "comes as each change has asked for, and nothing comes twice between two rewinds, whatever happens ($rewinds, $seed)",
      ({ rewinds, seed }) =>
        Effect.gen(function*() {
          const type = fresh("rewound")
          const name = freshName()
          const effects = makeEffects()
          const { write: writeUntimed, written } = makeWriter(type)
          /** The time of the newest event, in any slice. */
          let newest = Timestamp.make(0)
          const write = (id: string, n: number) =>
            Effect.tap(writeUntimed(id, n), ({ timestamp }) =>
              Effect.sync(() => {
                if (timestamp > newest) newest = timestamp
              }))
          const ids = [...idsOfSlice(type, 7, 3), ...idsOfSlice(type, 9, 2), ...idsOfSlice(type, 900, 2)]
          /** The numbers of events that are never to come. */
          const gone = new Map(ids.map((id) => [id, new Set<number>()]))
          const projection = filtered(type, EventFilter.passAll).pipe(
            Projection.exactlyOnce(name, effects.record),
            Projection.workers(3),
            Projection.recovery(persistent)
          )
          /** What is handled, as the effects say with what was undone of them. */
          const doneOf = (id: string) =>
            Effect.map(effects.events(id), (events) => {
              let done: Array<number> = []
              for (const event of events) {
                const number = Number(event.split(" ")[0])
                if (number < 0) done = done.filter((n) => n < -number)
                else {
                  assert.isAbove(number, done.at(-1) ?? 0, `once and in order: ${id} ${events.join(", ")}`)
                  done.push(number)
                }
              }
              return done
            })
          /** For each entity, the first number that comes again. */
          const undoing = (firsts: ReadonlyMap<string, number>) =>
            Effect.forEach(firsts, ([id, first]) => append(effects.type, id, [`${-first}`]), { discard: true })
          /** Whom each version of the filter includes, and the newest one. */
          const versions: Array<ReadonlyArray<string>> = [ids]
          let included: ReadonlyArray<string> = ids
          const change = Effect.fnUntraced(function*(
            history: ConsumerFilter.HistoryPolicy,
            next: ReadonlyArray<string>,
            update: Effect.Effect<ConsumerFilter.FilterVersion, unknown, Projection.Stores>
          ) {
            if (history === "none") yield* caughtUp(name)
            const before = included
            included = next
            const { version } = yield* update
            versions[version - 1] = included
            if (history !== "none") return
            for (const [id, events] of written) {
              if (!included.includes(id) || before.includes(id)) continue
              const done = new Set(yield* doneOf(id))
              events.forEach((_, i) => done.has(i + 1) || gone.get(id)!.add(i + 1))
            }
          })
          /** Deletes what is older than a time, but for the newest event of each entity. */
          const prune = Effect.fnUntraced(function*(before: Timestamp.Timestamp) {
            yield* complete(projection)
            for (const id of ids) {
              const events = yield* Stream.runCollect(Journal.read(type, id))
              const done = new Set(yield* doneOf(id))
              for (const { sequenceNumber, timestamp } of events.slice(0, -1)) {
                if (timestamp < before && !done.has(sequenceNumber)) gone.get(id)!.add(sequenceNumber)
              }
            }
            yield* Journal.prune(type, { before })
            // nobody gets back to before that
            places = places.filter(({ since }) => since >= before)
          })
          let places: ReadonlyArray<Place & { readonly firsts: ReadonlyMap<string, number> }> = []
          const outer = yield* Effect.scope
          const start = Effect.gen(function*() {
            const scope = yield* Scope.fork(outer)
            yield* Scope.provide(Layer.build(Projection.layer(projection)), scope)
            return scope
          })
          let running = yield* start
          for (let step = 0; step < 50; step++) {
            const what = yield* below(rewinds === "some" ? 16 : 14)
            const id = ids[yield* below(ids.length)]!
            const history = (["nextEvent", "nextEvent", "now", "none"] as const)[yield* below(4)]!
            if (what < 4) yield* write(id, 1 + (yield* below(5)))
            else if (what < 8) {
              const picked = yield* Effect.forEach(ids, () => below(2))
              const next = ids.filter((_, i) => picked[i] === 1)
              yield* change(history, next, ConsumerFilter.update(projection, only(...next), { ...ada, history }))
            } else if (what < 9) {
              const version = 1 + (yield* below(versions.length))
              const rollBack = ConsumerFilter.rollBack(projection, version, { ...ada, history })
              yield* change(history, versions[version - 1] ?? ids, rollBack)
            } else if (what < 11) {
              yield* Scope.close(running, Exit.void)
              running = yield* start
            } else if (what < 13) {
              yield* caughtUp(name)
              const offsets = yield* startOf(projection)
              const firsts = new Map(ids.map((id) => [id, (written.get(id)?.length ?? 0) + 1]))
              // several that were written at once to another slice run ahead of the clock
              yield* laterThan(newest)
              const { timestamp: since } = yield* write(id, 1)
              places = [...places, { since, start: offsets, firsts }]
            } else if (what < 14) {
              const place = places[yield* below(places.length + 1)]
              yield* prune(place?.since ?? Timestamp.make(newest + 1))
            } else if (places.length > 0) {
              const place = places[yield* below(places.length)]!
              // so that it leads back in all slices
              yield* caughtUp(name)
              yield* ways[yield* below(ways.length)]![1](projection, place, undoing(place.firsts))
              for (const [id, numbers] of gone) {
                for (const number of numbers) if (number >= place.firsts.get(id)!) numbers.delete(number)
              }
            }
          }
          yield* ConsumerFilter.update(projection, () => EventFilter.passAll, { ...ada, history: "now" })
          yield* complete(projection)
          for (const id of ids) yield* write(id, 1)
          yield* caughtUp(name)
          for (const [id, events] of written) {
            const expected = events.map((_, i) => i + 1).filter((number) => !gone.get(id)!.has(number))
            assert.deepStrictEqual(yield* doneOf(id), expected, id)
          }
        }).pipe(Effect.scoped, Random.withSeed(seed))
    )
  })
}
