import { assert, describe } from "@effect/vitest"
import type * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { type Move, type OffsetKey, OffsetStore } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { Stores } from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as Rewind from "@sluice/core/Rewind"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import { freshNameOf } from "../ids.ts"
import { type It, transactAs } from "../kit.ts"

const freshKey = (): OffsetKey => ({ projection: freshNameOf("p"), source: "stream:carts" })

type Place = readonly [position: number, timestamp: number]

const id = (name: string) => PersistenceId.make("cart", name)

const move = (
  slice: number,
  from: Place | undefined,
  to: Place,
  entities?: Readonly<Record<string, number | readonly [first: number, last: number]>>
): Move => ({
  slice: Slice.make(slice),
  from: from && Offset.make(...from),
  to: Offset.make(...to),
  entities: entities &&
    new Map(
      Object.entries(entities).map(([name, numbers]) => {
        const [first, last] = typeof numbers === "number" ? [numbers, numbers] : numbers
        return [id(name), { first: SequenceNumber.make(first), last: SequenceNumber.make(last) }]
      })
    )
})

const transact = <A, E>(key: OffsetKey, moves: ReadonlyArray<Move>, effect: Effect.Effect<A, E>) =>
  transactAs(key, "j", moves, effect)

const store = (key: OffsetKey, ...moves: ReadonlyArray<Move>) => transact(key, moves, Effect.void)

const numbers = (key: OffsetKey, ...names: ReadonlyArray<string>) =>
  Effect.map(
    OffsetStore.use((store) => store.sequenceNumbers(key, names.map(id))),
    (found) =>
      Object.fromEntries(
        [...found].map(([id, number]) => [PersistenceId.entityId(id), number.sequenceNumber as number])
      )
  )

const completeUpTo = (key: OffsetKey) =>
  Effect.map(
    OffsetStore.use((store) => store.load(key, SliceRange.full)),
    ({ completeUpTo }) =>
      Object.fromEntries(
        [...completeUpTo].map(([slice, { position, timestamp }]) => [slice, [position, timestamp] as Array<number>])
      )
  )

const sliceOf = (name: string) => Slice.ofPersistenceId(id(name))

const place = (n: number): Place => [100 + n, 1000 + 10 * n]

const since = (revision: number, since: number) => [{ revision, since: Timestamp.make(since) }]

/** @internal What is stored where a source leaves something out. */
export const entityOffsetTests = (it: It<Journal.Journal | Stores>): void => {
  describe("where a source leaves something out", () => {
    it.effect("knows the last sequence number of each entity", () =>
      Effect.gen(function*() {
        const key = freshKey()
        assert.deepStrictEqual(yield* numbers(key, "a", "b"), {})
        yield* store(key, move(1, undefined, [3, 30], { a: 2, b: 1 }), move(2, undefined, [1, 10], { c: 7 }))
        assert.deepStrictEqual(yield* numbers(key, "a", "b", "c", "d"), { a: 2, b: 1, c: 7 })
        yield* store(key, move(1, [3, 30], [5, 50], { a: 3 }))
        assert.deepStrictEqual(yield* numbers(key, "a", "b", "c"), { a: 3, b: 1, c: 7 })
        assert.deepStrictEqual(yield* numbers(freshKey(), "a"), {})
        assert.deepStrictEqual(yield* numbers({ ...key, source: "other" }, "a"), {})
      }))

    it.effect("fences a worker that has handled what another has, though the offset does not move", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const at: Place = [3, 30]
        yield* store(key, move(1, undefined, at, { a: [1, 2] }))
        const fenced = (...moves: ReadonlyArray<Move>) =>
          Effect.map(Effect.flip(store(key, ...moves)), (error) => assert.strictEqual(error._tag, "Fenced"))
        // all of it, the end of it, and more than it
        yield* fenced(move(1, at, at, { a: [1, 2] }))
        yield* fenced(move(1, at, at, { b: 1, a: 2 }))
        yield* fenced(move(1, at, at, { a: [2, 7] }))
        yield* fenced(move(1, at, [4, 40], { a: [1, 7] }))
        assert.deepStrictEqual(yield* numbers(key, "a", "b"), { a: 2 })
        yield* store(key, move(1, at, at, { a: [3, 7], b: 1 }))
        assert.deepStrictEqual(yield* numbers(key, "a", "b"), { a: 7, b: 1 })
      }))

    it.effect("knows many entities", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const many = Object.fromEntries(Array.from({ length: 1_300 }, (_, i) => [`e${i}`, i + 1]))
        yield* store(key, move(1, undefined, [3, 30], many))
        assert.deepStrictEqual(yield* numbers(key, ...Object.keys(many)), many)
      }))

    it.effect("remembers up to where nothing was left out, slice by slice", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(key, move(1, undefined, [3, 30]), move(2, undefined, [4, 40]))
        assert.deepStrictEqual(yield* completeUpTo(key), {})
        // the first move that leaves something out, which may tell of no entity
        yield* store(
          key,
          move(1, [3, 30], [7, 70], {}),
          move(2, [4, 40], [5, 50]),
          move(3, undefined, [9, 90], { a: 1 })
        )
        assert.deepStrictEqual(yield* completeUpTo(key), { 1: [3, 30], 3: [0, 0] })
        yield* store(key, move(1, [7, 70], [8, 80], { a: 2 }), move(2, [5, 50], [6, 60]), move(3, [9, 90], [10, 100]))
        assert.deepStrictEqual(yield* completeUpTo(key), { 1: [3, 30], 3: [0, 0] })
      }))

    it.effect("remembers from which time a slice without positions is read, slice by slice", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const since = 1_790_000_000_000_000
        yield* store(key, move(1, undefined, [0, since]))
        yield* store(key, move(1, [0, since], [0, since + 70], { a: 1 }), move(2, undefined, [0, since + 70], {}))
        assert.deepStrictEqual(yield* completeUpTo(key), { 1: [0, since], 2: [0, 0] })
        // at the same time, and back
        yield* store(key, move(1, [0, since + 70], [0, since + 70], { a: 2, b: 1 }))
        yield* store(key, move(1, [0, since + 70], [0, since + 60], { c: 1 }))
        const error = yield* Effect.flip(store(key, move(1, [0, since + 60], [0, since + 60], { a: 2 })))
        assert.strictEqual(error._tag, "Fenced")
        assert.deepStrictEqual(yield* completeUpTo(key), { 1: [0, since], 2: [0, 0] })
        assert.deepStrictEqual(yield* numbers(key, "a", "b", "c"), { a: 2, b: 1, c: 1 })
      }))

    it.effect("stores it with the offsets, or not at all", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(key, move(1, undefined, [3, 30]))
        const moves = [move(1, [3, 30], [7, 70], { a: 1 })]
        yield* Effect.ignore(transact(key, moves, Effect.fail("no")))
        yield* Effect.flip(store(key, move(1, [2, 20], [7, 70], { a: 1 })))
        assert.deepStrictEqual(yield* completeUpTo(key), {})
        assert.deepStrictEqual(yield* numbers(key, "a"), {})
        yield* store(key, ...moves)
        assert.deepStrictEqual(yield* completeUpTo(key), { 1: [3, 30] })
      }))

    it.effect("forgets it of a slice that begins anew, and of no other", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const names = Array.from({ length: 1_100 }, (_, i) => `e${i}`)
        const slices = new Map(names.map((name) => [name, Slice.ofPersistenceId(id(name))]))
        const [anew, other] = new Set(slices.values())
        const of = (slice: number) =>
          Object.fromEntries(names.filter((name) => slices.get(name) === slice).map((_) => [_, 3]))
        yield* store(
          key,
          ...[move(anew!, undefined, [3, 30], of(anew!)), move(other!, undefined, [4, 40], of(other!))]
            .toSorted((a, b) => a.slice - b.slice)
        )
        // what is nothing to begin anew with
        yield* store(key, move(other!, [4, 40], [0, 0], {}))
        assert.deepStrictEqual(yield* numbers(key, ...names), { ...of(anew!), ...of(other!) })
        yield* store(key, move(anew!, [3, 30], [0, 0]))
        assert.deepStrictEqual(yield* numbers(key, ...names), of(other!))
        assert.deepStrictEqual(yield* completeUpTo(key), { [other!]: [0, 0] })
        // and stores it again
        yield* store(key, move(anew!, undefined, [5, 50]))
        yield* store(key, move(anew!, [5, 50], [6, 60], of(anew!)))
        assert.deepStrictEqual(yield* completeUpTo(key), { [anew!]: [5, 50], [other!]: [0, 0] })
      }))

    it.effect("is still known of a slice that is rewound to a later place, and what was handled after that is handled again", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const load = OffsetStore.use((store) => store.load(key, SliceRange.full))
        const rewind = (offsets: Offset.Offsets, journal?: string) =>
          ProjectionManagement.rewind(key, { journal, offsets })
        const fenced = (...moves: ReadonlyArray<Move>) =>
          Effect.map(Effect.flip(store(key, ...moves)), (error) => assert.strictEqual(error._tag, "Fenced"))
        const [one, two, three] = [1, 2, 3].map((n) => Slice.make(n)) as [Slice.Slice, Slice.Slice, Slice.Slice]
        yield* store(key, move(1, undefined, [2, 20]), move(2, undefined, [6, 60]), move(3, undefined, [1, 10]))
        yield* store(key, move(1, [2, 20], [9, 90], { a: 5, b: 1 }), move(2, [6, 60], [9, 90], { c: 2 }))
        yield* rewind(new Map([[one, Offset.make(4, 40)], [two, Offset.make(6, 60)], [three, Offset.make(1, 10)]]))
        const known = yield* load
        assert.deepStrictEqual(yield* completeUpTo(key), { 1: [2, 20] })
        assert.deepStrictEqual(known.rewinds, new Map([[one, since(1, 41)], [two, since(1, 61)]]))
        assert.strictEqual(known.journal, "j")
        assert.deepStrictEqual(yield* numbers(key, "a", "b", "c"), { a: 5, b: 1, c: 2 })
        // once
        yield* store(key, move(1, [4, 40], [5, 50], { a: 3 }), move(2, [6, 60], [7, 70], { c: 1 }))
        yield* fenced(move(1, [5, 50], [5, 50], { a: 3 }))
        yield* fenced(move(2, [7, 70], [7, 70], { c: 1 }))
        yield* store(key, move(1, [5, 50], [6, 60], { a: 4, b: 1 }))
        assert.deepStrictEqual(yield* numbers(key, "a", "b", "c"), { a: 4, b: 1, c: 1 })
        // forwards
        yield* rewind(new Map([[one, Offset.make(8, 80)], [two, Offset.make(8, 80)]]))
        const jumped = (yield* load).rewinds.get(one)!
        assert.deepStrictEqual(jumped, [...since(1, 41), { ...since(2, 81)[0]!, jumpedFrom: Timestamp.make(61) }])
        yield* store(key, move(1, [8, 80], [8, 80], { a: 4 }))
        yield* fenced(move(1, [8, 80], [9, 90], { a: 4 }))
        // a slice that begins anew, and a journal of which nothing is known
        yield* store(key, move(1, [8, 80], [0, 0]))
        assert.deepStrictEqual([...(yield* load).rewinds.keys()], [two])
        yield* rewind(new Map([[two, Offset.make(9, 90)]]), "k")
        assert.deepStrictEqual(yield* completeUpTo(key), {})
        assert.strictEqual((yield* load).rewinds.size, 0)
        assert.deepStrictEqual(yield* numbers(key, "a", "b", "c"), {})
      }))

    it.effect("remembers rewinds with its entities, once there are too many for a slice, unless they have jumped over events", () =>
      Effect.gen(function*() {
        const key = freshKey()
        // of more than a page
        const names = Array.from({ length: 1_100 }, (_, i) => `e${i}`)
        const back = sliceOf("e0")
        const ahead = Slice.make((back + 1) % Slice.count)
        const own = names.filter((name) => sliceOf(name) === back)
        const free = Array.from({ length: 10_000 }, (_, i) => `f${i}`).filter((name) => sliceOf(name) === back)
        const [second, last] = free as [string, string]
        const all: Place = [900, 9000]
        yield* store(key, move(back, undefined, [2, 20]))
        yield* store(key, move(back, [2, 20], all, Object.fromEntries(names.map((name) => [name, 3]))))
        yield* store(key, move(ahead, undefined, [3, 30]))
        yield* store(key, move(ahead, [3, 30], [5, 50], {}))
        const rewind = (n: number, to: Place) =>
          ProjectionManagement.rewind(key, {
            journal: undefined,
            offsets: new Map([[back, Offset.make(...place(n))], [ahead, Offset.make(...to)]])
          })
        const known = OffsetStore.use((store) => store.load(key, SliceRange.full))
        const stored = OffsetStore.use((store) =>
          Effect.map(
            store.sequenceNumbers(key, [...names, second, last].map(id)),
            (found) =>
              Object.fromEntries(
                [...found].flatMap(([id, { since }]) =>
                  since === undefined ? [] : [[PersistenceId.entityId(id), since]]
                )
              )
          )
        )
        for (let n = 1; n <= Rewind.maxRewinds; n++) {
          yield* rewind(n, place(n))
          yield* store(key, move(back, place(n), all, n === 1 ? { [second]: 1 } : n === 32 ? { [last]: 1 } : {}))
        }
        const before = yield* known
        assert.deepStrictEqual([back, ahead].map((slice) => before.rewinds.get(slice)?.length), [32, 32])
        assert.deepStrictEqual(yield* stored, {})
        assert.strictEqual((yield* Effect.flip(rewind(33, place(33))))._tag, "TooManyRewinds")
        assert.deepStrictEqual(yield* known, before)
        assert.deepStrictEqual(yield* stored, {})
        // to before what was jumped over
        yield* rewind(33, [4, 40])
        const { rewinds } = yield* known
        const [newest, ...others] = rewinds.get(back)!
        assert.strictEqual(newest!.since, Timestamp.make(1331))
        assert.deepStrictEqual([others, rewinds.get(ahead)!.length], [[], 1])
        const folded = { ...Object.fromEntries(own.map((name) => [name, 1011])), [second]: 1021 }
        assert.deepStrictEqual<unknown>(yield* stored, folded)
        // which is no longer so of an entity that is handled again
        yield* store(key, move(back, place(33), place(33), { [second]: 1 }))
        const { [second]: _, ...rest } = folded
        assert.deepStrictEqual<unknown>(yield* stored, rest)
      }))

    it.effect("takes events again that come again, of a slice that was rewound to its beginning beside one that was not", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(key, move(1, undefined, [3, 30], { a: 2 }), move(2, undefined, [1, 10]))
        yield* store(key, move(2, [1, 10], [4, 40], {}))
        yield* ProjectionManagement.rewind(key, {
          journal: undefined,
          offsets: new Map([[Slice.make(2), Offset.make(3, 30)]])
        })
        yield* store(key, move(1, undefined, [3, 30], { a: [1, 2] }))
        assert.deepStrictEqual(yield* numbers(key, "a"), { a: 2 })
        const twice = yield* Effect.flip(store(key, move(1, [3, 30], [4, 40], { a: 2 })))
        assert.strictEqual(twice._tag, "Fenced")
      }))

    it.effect("says in which journal that is so, also of a slice at its beginning", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const load = OffsetStore.use((store) => store.load(key, SliceRange.full))
        yield* store(key, move(1, undefined, [0, 0], { a: 2 }))
        const known = yield* load
        assert.strictEqual(known.journal, "j")
        assert.strictEqual(known.offsets.size, 0)
        yield* store(key, move(1, undefined, [0, 0]))
        assert.isUndefined((yield* load).journal)
      }))

    it.effect("tells ids apart that differ in case, blanks and accents", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const names = { "a": 1, "A": 2, "a ": 3, " a": 4, "á": 5, "a\u0301": 6 }
        yield* store(key, move(1, undefined, [3, 30], names))
        assert.deepStrictEqual(yield* numbers(key, ...Object.keys(names)), names)
      }))
  })
}
