import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import { encoded, type EncodedElement, type EncodedEnvelope, isSkipped } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import { SelectionChanged } from "@sluice/core/Selection"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

const Note = EntityType.make("note", { codec: EventCodec.string })

const append = (id: string, n: number, tag: string) =>
  Journal.append(Note, { id, events: Array.from({ length: n }, (_, i) => `${i + 1}`), tags: [tag] })

/** Two entities of one log, and one of another. */
const ids = (() => {
  const bySlice = new Map<number, string>()
  for (let i = 0;; i++) {
    const slice = Slice.ofPersistenceId(EntityType.persistenceId(Note, `n${i}`))
    const first = bySlice.get(slice)
    if (first !== undefined) return [first, `n${i}`, [...bySlice.values()].find((id) => id !== first)!] as const
    bySlice.set(slice, `n${i}`)
  }
})()
const [a, b, c] = ids

const numbersOf = (elements: ReadonlyArray<EncodedElement>) =>
  elements.map((element) => isSkipped(element) ? "left out" : Number(element.sequenceNumber))

const partsOf = (elements: ReadonlyArray<EncodedElement>) =>
  elements.map((element) => `${isSkipped(element) ? element.from : "an event"}-${element.position}`)

describe("a selection", () => {
  for (
    const [name, source] of [
      ["of a source that passes bytes through", Source.journal(Note)],
      ["before the stages of a source", Source.journal(Note).pipe(Source.map(({ event }) => `${event}!`))]
    ] as const
  ) {
    it.effect(`${name} leaves runs of events out for now, one part of each log`, () =>
      Effect.gen(function*() {
        yield* append(a, 3, "small")
        yield* append(b, 2, "large")
        yield* append(a, 1, "small")
        yield* append(c, 2, "small")
        const feed = yield* Source.openEncoded(source, EventCodec.string, {
          selection: { isOpen: false, isSelected: ({ tags }) => tags.includes("large") }
        })
        const found = yield* Stream.runCollect(Stream.take(feed.envelopes, 5))
        const shown = found.map((element) =>
          isSkipped(element)
            ? `${element.slice} ${element.from}-${element.position} ${element.isDeferred}`
            : `${PersistenceId.entityId(element.persistenceId)} ${element.sequenceNumber}`
        )
        const [first, second] = [a, c].map((id) => Slice.ofPersistenceId(EntityType.persistenceId(Note, id)))
        assert.sameMembers(shown, [
          `${first} 1-3 true`,
          `${b} 1`,
          `${b} 2`,
          `${first} 6-6 true`,
          `${second} 1-2 true`
        ])
        // in the order of its log
        assert.deepStrictEqual(shown.filter((text) => !text.startsWith(`${second} `)), [
          `${first} 1-3 true`,
          `${b} 1`,
          `${b} 2`,
          `${first} 6-6 true`
        ])
        const timed = found.every((element) => element.timestamp !== undefined && element.timestamp > 0)
        assert.isTrue(timed, "the offset moves past what is left out")
      }).pipe(Effect.provide(MemoryStorage.layer)))
  }

  it.effect("leaves one part of a log that is longer than a page, as soon as there is no more to be read", () =>
    Effect.gen(function*() {
      // two whole pages, so that nothing tells of the last that it is the last
      for (let i = 0; i < 10; i++) yield* append(i < 5 ? a : c, 100, "small")
      const feed = yield* Source.openEncoded(Source.journal(Note), EventCodec.string, {
        selection: { isOpen: false, isSelected: () => false }
      })
      const pull = yield* Stream.toPull(feed.envelopes)
      assert.deepStrictEqual(partsOf(yield* pull), ["1-500", "1-500"])
      yield* append(a, 1, "small")
      assert.deepStrictEqual(partsOf(yield* pull), ["501-501"])
    }).pipe(Effect.scoped, Effect.provide(MemoryStorage.layer)))

  it.effect("that changes does not show events of another type that the journal has", () =>
    Effect.gen(function*() {
      const Secret = EntityType.make("secret", { codec: EventCodec.string })
      yield* append(a, 1, "small")
      yield* Journal.append(Secret, { id: "s", events: ["the password"] })
      const feed = yield* Source.openEncoded(Source.journal(Note), EventCodec.string)
      const pull = yield* Stream.toPull(feed.envelopes)
      assert.deepStrictEqual(numbersOf(yield* pull), [1])
      assert.isTrue(
        yield* feed.replay!({ persistenceId: EntityType.persistenceId(Secret, "s"), from: SequenceNumber.make(1) })
      )
      yield* append(a, 1, "small")
      assert.deepStrictEqual(numbersOf(yield* pull), [2])
    }).pipe(Effect.scoped, Effect.provide(MemoryStorage.layer)))

  it.effect("says of events that are replayed that they are, and leaves nothing where they are not selected", () =>
    Effect.gen(function*() {
      yield* append(a, 3, "small")
      const replayed: Array<string> = []
      const feed = yield* Source.openEncoded(Source.journal(Note), EventCodec.string, {
        range: SliceRange.full,
        selection: {
          isOpen: false,
          isSelected: ({ sequenceNumber }, isReplayed) => {
            replayed.push(`${sequenceNumber} ${isReplayed}`)
            return isReplayed ? sequenceNumber === 2 : sequenceNumber === 3
          }
        }
      })
      const pull = yield* Stream.toPull(feed.envelopes)
      assert.deepStrictEqual(numbersOf(yield* pull), ["left out", 3])
      const persistenceId = EntityType.persistenceId(Note, a)
      assert.isTrue(yield* feed.replay!({ persistenceId, from: SequenceNumber.make(1) }))
      assert.deepStrictEqual(numbersOf(yield* pull), [2])
      assert.deepStrictEqual(replayed, ["1 false", "2 false", "3 false", "1 true", "2 true", "3 true"])
      yield* append(c, 1, "small")
      assert.deepStrictEqual(numbersOf(yield* pull), ["left out"])
    }).pipe(Effect.scoped, Effect.provide(MemoryStorage.layer)))
})

const persistenceId = EntityType.persistenceId(Note, "n")
const last = 9

/** The events of an entity of `last` events, in pages of `size`, and what is to be done when a page was read. */
const entityOf = (size: number, onPage: () => void) => (_: unknown, from: number, to: number) =>
  Stream.paginate(from, (first) =>
    Effect.sync(() => {
      onPage()
      const page = Array.from({ length: Math.max(0, Math.min(size, to - first + 1, last - first + 1)) }, (_, i) =>
        encoded({
          persistenceId,
          sequenceNumber: SequenceNumber.make(first + i),
          slice: Slice.ofPersistenceId(persistenceId),
          position: Position.make(first + i),
          timestamp: Timestamp.make(first + i)
        }, EventCodec.string.encodeUnsafe("text")))
      return [page, page.length === 0 ? Option.none() : Option.some(first + page.length)] as const
    }))

const numbers = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: last }))
const views = Schema.Array(Schema.Array(numbers).check(Schema.isMaxLength(3)))
  .check(Schema.isMinLength(1), Schema.isMaxLength(8))

describe("the places of an entity", () => {
  it.effect.prop(
    "are whole, and of what may be seen at that moment, whenever that changes",
    [Schema.Struct({ from: numbers, to: numbers, size: numbers.check(Schema.isLessThan(5)), views })],
    ([{ from, size, to, views }]) =>
      Effect.gen(function*() {
        let at = -1
        const visible = () => views[Math.min(Math.max(at, 0), views.length - 1)]!
        const source = Source.make({
          ...Source.journal(Note).provider,
          entity: entityOf(size, () => void at++)
        })
        const shown: Array<EncodedEnvelope> = []
        const read = Source.entityEncoded(
          source,
          EventCodec.string,
          persistenceId,
          SequenceNumber.make(from),
          SequenceNumber.make(to),
          {
            selection: { isOpen: false, isSelected: ({ sequenceNumber }) => visible().includes(sequenceNumber) },
            unselected: "places"
          }
        )
        const outcome = yield* Stream.runForEachArray(read, (page) =>
          Effect.sync(() => {
            assert.isTrue(visible().some((number) => number >= from), "something of the entity may be seen")
            for (const { payload, sequenceNumber } of page) {
              assert.strictEqual(payload !== undefined, visible().includes(sequenceNumber), String(sequenceNumber))
            }
            shown.push(...page)
          })).pipe(Effect.result)
        const found = shown.map(({ sequenceNumber }) => Number(sequenceNumber))
        assert.deepStrictEqual(found, Array.from({ length: found.length }, (_, i) => from + i))
        if (outcome._tag === "Failure") {
          assert.instanceOf(outcome.failure, SelectionChanged)
          assert.isAbove(at, 0)
        } else if (found.length > 0) {
          assert.strictEqual(found.at(-1), to)
        }
      }).pipe(Effect.provide(MemoryStorage.layer)),
    { arbitrary: { runs: 2000 } }
  )
})
