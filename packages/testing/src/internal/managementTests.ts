import { assert, describe } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import { Fenced, type OffsetKey, OffsetStore } from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import type * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Wait from "../Wait.ts"
import type { It } from "./kit.ts"
import { number } from "./kit.ts"

const freshKey = (): OffsetKey => ({ projection: `p-${crypto.randomUUID().slice(0, 8)}`, source: "journal:cart" })

const stored = (key: OffsetKey, range = SliceRange.full) => OffsetStore.use((store) => store.load(key, range))

const store = (
  key: OffsetKey,
  slice: number,
  from: Offset.Offset | undefined,
  to: Offset.Offset,
  entities?: ReadonlyMap<PersistenceId.PersistenceId, SequenceNumber.SequenceNumber>
) =>
  OffsetStore.use((store) => store.transact(key, "j", [{ slice: Slice.make(slice), from, to, entities }], Effect.void))

const commandOf = (projection: string) => ProjectionManagement.ProjectionManagement.use((_) => _.command(projection))

const letter = (id: string, n: number, change?: Partial<EncodedEnvelope>): EncodedEnvelope => {
  const persistenceId = PersistenceId.make("cart", id)
  return {
    persistenceId,
    sequenceNumber: number(n),
    slice: Slice.ofPersistenceId(persistenceId),
    position: Position.make(n + 10),
    timestamp: Timestamp.make(n + 1_000_000),
    tags: [],
    metadata: {},
    payload: { manifest: "text", bytes: Buffer.from(`${id} ${n}`) },
    ...change
  }
}

const putAside = (key: OffsetKey, envelope: EncodedEnvelope, error = "no") =>
  ProjectionManagement.ProjectionManagement.use((management) => management.putAside({ key, envelope, error }))

const shown = (letters: ReadonlyArray<ProjectionManagement.DeadLetter>) =>
  letters.map(({ envelope, error }) =>
    `${PersistenceId.entityId(envelope.persistenceId)} ${envelope.sequenceNumber} ${error}`
  )

/** @internal */
export const managementTests = (it: It<Journal.Journal | Projection.Stores>): void => {
  describe("what a projection is told", () => {
    it.effect("is to pause, and to go on", () =>
      Effect.gen(function*() {
        const { projection } = freshKey()
        assert.deepStrictEqual(yield* commandOf(projection), { paused: false, revision: 0 })
        yield* ProjectionManagement.pause(projection)
        assert.deepStrictEqual(yield* commandOf(projection), { paused: true, revision: 1 })
        assert.isTrue(yield* ProjectionManagement.isPaused(projection))
        assert.isFalse(yield* ProjectionManagement.isPaused(freshKey().projection))
        yield* ProjectionManagement.resume(projection)
        yield* ProjectionManagement.resume(projection)
        assert.deepStrictEqual(yield* commandOf(projection), { paused: false, revision: 3 })
      }))

    it.effect("wakes who waits for it", () =>
      Effect.gen(function*() {
        const { projection } = freshKey()
        const management = yield* ProjectionManagement.ProjectionManagement
        const changed = yield* management.changes(projection)
        const waiting = yield* Effect.forkChild(changed)
        yield* ProjectionManagement.pause(projection)
        yield* Wait.end("the pause to be noticed", Fiber.join(waiting))
      }))
  })

  describe("a projection that is rewound", () => {
    const entities = new Map([[PersistenceId.make("cart", "a"), SequenceNumber.make(3)]])

    it.effect("goes on at the beginning, at a time, or after offsets, and nowhere else", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(key, 7, undefined, Offset.make(5, 50), entities)
        yield* ProjectionManagement.rewind(key, "beginning")
        const beginning = yield* stored(key)
        assert.isUndefined(beginning.journal)
        assert.deepStrictEqual(beginning.offsets.get(Slice.make(7)), Offset.make(0, 0))
        assert.strictEqual(beginning.offsets.size, Slice.count)
        // nothing is left out of what begins again
        assert.strictEqual(beginning.completeUpTo.size, 0)
        const numbers = yield* OffsetStore.use((store) => store.sequenceNumbers(key, [...entities.keys()]))
        assert.strictEqual(numbers.size, 0)

        yield* ProjectionManagement.rewind(key, { since: Timestamp.make(77) })
        for (const offset of (yield* stored(key)).offsets.values()) assert.deepStrictEqual(offset, Offset.make(0, 77))

        const offsets = new Map([[Slice.make(3), Offset.make(2, 20)]])
        yield* ProjectionManagement.rewind(key, { journal: "other", offsets })
        const after = yield* stored(key)
        assert.strictEqual(after.journal, "other")
        assert.deepStrictEqual(after.offsets.get(Slice.make(3)), Offset.make(2, 20))
        assert.deepStrictEqual(after.offsets.get(Slice.make(7)), Offset.make(0, 0))
        assert.strictEqual((yield* commandOf(key.projection)).revision, 3)
      }))

    it.effect("fences the workers that were elsewhere, also where they had not begun", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(key, 7, undefined, Offset.make(5, 50))
        yield* ProjectionManagement.rewind(key, { since: Timestamp.make(20) })
        assert.instanceOf(yield* Effect.flip(store(key, 7, Offset.make(5, 50), Offset.make(6, 60))), Fenced)
        assert.instanceOf(yield* Effect.flip(store(key, 8, undefined, Offset.make(1, 10))), Fenced)
        yield* store(key, 8, Offset.make(0, 20), Offset.make(2, 30))
        const { journal, offsets } = yield* stored(key)
        assert.strictEqual(journal, "j")
        assert.deepStrictEqual(offsets.get(Slice.make(8)), Offset.make(2, 30))
      }))

    it.effect("leaves others alone", () =>
      Effect.gen(function*() {
        const [one, two] = [freshKey(), freshKey()]
        const other = { ...one, source: "other" }
        for (const key of [one, two, other]) yield* store(key, 7, undefined, Offset.make(5, 50))
        yield* ProjectionManagement.rewind(one, "beginning")
        for (const key of [two, other]) {
          assert.deepStrictEqual((yield* stored(key)).offsets, new Map([[Slice.make(7), Offset.make(5, 50)]]))
        }
      }))

    it.effect("is rewound with the transaction, or not", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* store(key, 7, undefined, Offset.make(5, 50))
        yield* Effect.ignore(
          Journal.transaction(Effect.andThen(ProjectionManagement.rewind(key, "beginning"), Effect.fail("no")))
        )
        assert.deepStrictEqual((yield* stored(key)).offsets, new Map([[Slice.make(7), Offset.make(5, 50)]]))
        assert.strictEqual((yield* commandOf(key.projection)).revision, 0)
      }))
  })

  describe("a projection that is cleared", () => {
    it.effect("is forgotten, and no other", () =>
      Effect.gen(function*() {
        const [one, two] = [freshKey(), freshKey()]
        const entities = new Map([[PersistenceId.make("cart", "a"), SequenceNumber.make(3)]])
        for (const key of [one, two]) {
          yield* store(key, 7, undefined, Offset.make(5, 50), entities)
          yield* putAside(key, letter("a", 1))
        }
        const listed = yield* ProjectionManagement.list
        assert.includeDeepMembers([...listed], [one, two])
        yield* ProjectionManagement.clear(one)
        assert.strictEqual((yield* stored(one)).offsets.size, 0)
        assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(one), [])
        assert.strictEqual((yield* OffsetStore.use((_) => _.sequenceNumbers(one, [...entities.keys()]))).size, 0)
        assert.instanceOf(yield* Effect.flip(store(one, 7, Offset.make(5, 50), Offset.make(6, 60))), Fenced)
        assert.strictEqual((yield* stored(two)).offsets.size, 1)
        assert.strictEqual((yield* ProjectionManagement.deadLetters(two)).length, 1)
        assert.strictEqual((yield* OffsetStore.use((_) => _.sequenceNumbers(two, [...entities.keys()]))).size, 1)
        const left = yield* ProjectionManagement.list
        assert.notDeepInclude(left, one)
        assert.deepInclude(left, two)
      }))
  })

  describe("dead letters", () => {
    it.effect("come back as they were put aside", () =>
      Effect.gen(function*() {
        const key = freshKey()
        const before = yield* Journal.Journal.use((journal) => journal.now)
        const full = letter("a", 1, { tags: ["x", "ü\""], metadata: { "😀": "'" } })
        const bare = letter("b", 2, { position: undefined, payload: undefined })
        yield* putAside(key, full, "naïve 🙂 \0 '\"\\ \r\n")
        yield* putAside(key, bare)
        const [first, second] = yield* ProjectionManagement.deadLetters(key)
        const { payload, ...place } = first!.envelope
        const { payload: expected, ...expectedPlace } = full
        assert.deepStrictEqual(place, expectedPlace)
        assert.strictEqual(payload!.manifest, expected!.manifest)
        assert.deepStrictEqual([...payload!.bytes], [...expected!.bytes])
        assert.include(first!.error, "naïve 🙂")
        assert.deepStrictEqual(second!.envelope, bare)
        assert.isAtLeast(first!.at, before - 1_000_000)
      }))

    it.effect("are listed in order, a page at a time", () =>
      Effect.gen(function*() {
        const key = freshKey()
        for (const [id, n] of [["b", 2], ["a", 10], ["b", 1], ["a", 9], ["c", 1]] as const) {
          yield* putAside(key, letter(id, n))
        }
        assert.deepStrictEqual(
          shown(yield* ProjectionManagement.deadLetters(key)),
          ["a 9 no", "a 10 no", "b 1 no", "b 2 no", "c 1 no"]
        )
        const first = yield* ProjectionManagement.deadLetters(key, { limit: 2 })
        assert.deepStrictEqual(shown(first), ["a 9 no", "a 10 no"])
        const rest = yield* ProjectionManagement.deadLetters(key, { after: first[1]!.envelope })
        assert.deepStrictEqual(shown(rest), ["b 1 no", "b 2 no", "c 1 no"])
        assert.deepStrictEqual(yield* ProjectionManagement.deadLetters(freshKey()), [])
      }))

    it.effect("take the place of one of the same event, and can be thrown away", () =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* putAside(key, letter("a", 1), "first")
        yield* putAside(key, letter("a", 1), "again")
        yield* putAside(key, letter("a", 2))
        assert.deepStrictEqual(shown(yield* ProjectionManagement.deadLetters(key)), ["a 1 again", "a 2 no"])
        yield* ProjectionManagement.discard(key, letter("a", 1))
        yield* ProjectionManagement.discard(key, letter("b", 1))
        assert.deepStrictEqual(shown(yield* ProjectionManagement.deadLetters(key)), ["a 2 no"])
      }))
  })
}
