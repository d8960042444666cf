import { assert, describe } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Offset from "@sluice/core/Offset"
import type { OffsetKey, OffsetStore } from "@sluice/core/OffsetStore"
import { ProjectionManagement, UnknownProjection } from "@sluice/core/ProjectionManagement"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Effect from "effect/Effect"
import { freshNameOf } from "../ids.ts"
import { type It, revisionOf, transactAs } from "../kit.ts"

type Stores = ConsumerFilter.ConsumerFilter | OffsetStore | ProjectionManagement

const [exact, first, second] = [Slice.make(3), Slice.make(5), Slice.make(9)]

const at = (position: number) => Offset.make(position, position * 10)

/** A projection that has read all of one slice, and has passed over something in two others. */
const begun = Effect.fnUntraced(function*(): Effect.fn.Return<OffsetKey, any, Stores> {
  const key = { projection: freshNameOf("passed"), source: freshNameOf("stream:passed") }
  yield* ConsumerFilter.begin(key.source, EventFilter.excludeAll)
  const entities = new Map()
  yield* transactAs(key, "journal", [
    { slice: exact, from: undefined, to: at(7) },
    { slice: first, from: undefined, to: at(2) },
    { slice: second, from: undefined, to: at(8), entities }
  ], Effect.void)
  yield* transactAs(key, "journal", [{ slice: first, from: at(2), to: at(6), entities }], Effect.void)
  return key
})

const change = ({ source }: OffsetKey, history: ConsumerFilter.HistoryPolicy, id: string) =>
  ConsumerFilter.update({ source }, EventFilter.includeEntityIds(id), { by: "ada", history })

const passedOver = (key: OffsetKey, range = SliceRange.full) =>
  Effect.gen(function*() {
    const filters = yield* ConsumerFilter.ConsumerFilter
    const passed = yield* filters.passedOver(key, range, yield* revisionOf(key))
    return Object.fromEntries(
      Array.from(passed, ([slice, { from, upTo }]) => [slice, [from.position, from.timestamp, upTo] as Array<number>])
    )
  })

/** @internal What is stored of that which filters have passed over. */
export const passedOverTests = (it: It<Stores>): void => {
  describe("what a filter has passed over", () => {
    it.effect("is to be looked through from where something was left out first, up to the stored offset", () =>
      Effect.gen(function*() {
        const key = yield* begun()
        const other = yield* begun()
        assert.deepStrictEqual(yield* passedOver(key), {})
        yield* change(key, "now", "a")
        const all = { [first]: [2, 20, 6], [second]: [0, 0, 8] }
        assert.deepStrictEqual(yield* passedOver(key), all)
        assert.deepStrictEqual(yield* passedOver(key, SliceRange.make(4, 8)), { [first]: all[first] })
        assert.deepStrictEqual(yield* passedOver(other), {})
      }))

    it.effect("goes on where it was stored that it goes on, until it is done", () =>
      Effect.gen(function*() {
        const key = yield* begun()
        yield* change(key, "now", "a")
        const filters = yield* ConsumerFilter.ConsumerFilter
        const revision = yield* revisionOf(key)
        yield* filters.lookedThrough(key, revision, new Map([[first, at(4)], [second, at(5)]]))
        assert.deepStrictEqual(yield* passedOver(key), { [first]: [4, 40, 6], [second]: [5, 50, 8] })
        yield* filters.lookedThrough(key, revision, new Map([[first, undefined], [second, at(7)]]))
        assert.deepStrictEqual(yield* passedOver(key), { [second]: [7, 70, 8] })
        // by a worker that has begun before a change
        yield* change(key, "now", "b")
        yield* filters.lookedThrough(key, revision, new Map([[first, undefined], [second, at(7)]]))
        assert.deepStrictEqual(yield* passedOver(key), { [first]: [2, 20, 6], [second]: [0, 0, 8] })
      }))

    it.effect("is not looked for any more after another change, or a rewind", () =>
      Effect.gen(function*() {
        const key = yield* begun()
        yield* change(key, "now", "a")
        yield* change(key, "nextEvent", "b")
        assert.deepStrictEqual(yield* passedOver(key), {})
        yield* change(key, "now", "c")
        const management = yield* ProjectionManagement
        yield* management.rewind(key, { journal: undefined, offsets: Offset.none }, Effect.void)
        assert.deepStrictEqual(yield* passedOver(key), {})
      }))

    it.effect("is looked through once more by a command, together with what is still to be looked through", () =>
      Effect.gen(function*() {
        const key = yield* begun()
        const filters = yield* ConsumerFilter.ConsumerFilter
        const lookAgain = (revision: number, parts: ReadonlyArray<readonly [Slice.Slice, number, number]>) =>
          filters.lookAgain(
            key,
            revision,
            new Map(parts.map(([slice, from, upTo]) => [slice, { from: at(from), upTo: at(upTo).position }])),
            { by: "ada", reason: "lost", target: "a slice" }
          )
        const before = yield* revisionOf(key)
        assert.isTrue(yield* lookAgain(before, [[second, 4, 7]]))
        assert.deepStrictEqual(yield* passedOver(key), { [second]: [4, 40, 7] })
        const [command] = yield* ProjectionManagement.use((management) =>
          management.history(key.projection, undefined, 1)
        )
        const { by, command: what, reason, revision, source, target } = command!
        assert.deepStrictEqual([what, source, by, reason, target], ["Repair", key.source, "ada", "lost", "a slice"])
        assert.deepStrictEqual([revision, yield* revisionOf(key)], [before + 1, before + 1])
        assert.isTrue(yield* lookAgain(revision, [[first, 3, 6], [second, 5, 8]]))
        const all = { [first]: [3, 30, 6], [second]: [4, 40, 8] }
        assert.deepStrictEqual(yield* passedOver(key), all)
        assert.isTrue(yield* lookAgain(revision + 1, [[first, 2, 4]]))
        assert.deepStrictEqual(yield* passedOver(key), { ...all, [first]: [2, 20, 6] })
        assert.isFalse(yield* lookAgain(revision, [[first, 1, 6]]), "a command was given meanwhile")
        assert.deepStrictEqual(yield* passedOver(key), { ...all, [first]: [2, 20, 6] })
        const unknown = { ...key, projection: freshNameOf("nobody") }
        const error = yield* Effect.flip(filters.lookAgain(unknown, 0, new Map(), { by: "ada", reason: "" }))
        assert.instanceOf(error, UnknownProjection)
      }))

    it.effect("is not looked for any more in a slice that begins anew", () =>
      Effect.gen(function*() {
        const key = yield* begun()
        yield* change(key, "now", "a")
        const anew = { slice: first, from: at(6), to: Offset.beginning }
        yield* transactAs(key, "journal", [anew], Effect.void)
        assert.deepStrictEqual(yield* passedOver(key), { [second]: [0, 0, 8] })
      }))
  })
}
