import { assert, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Arbitrary from "effect/Arbitrary"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { SliceLanes } from "../src/internal/projection/SliceLanes.ts"

/** Entities of two slices: 0 and 1 of one, 2 and 3 of another. */
const sliceOf = (entity: number) => Slice.make(entity < 2 ? 7 : 8)

const envelopeOf = (entity: number, n: number, bytes = 1) =>
  Envelope.make(
    {
      persistenceId: PersistenceId.make("note", `${entity}`),
      sequenceNumber: SequenceNumber.make(n),
      slice: sliceOf(entity),
      position: Position.make(n),
      timestamp: Timestamp.make(n)
    },
    n,
    bytes
  )

type Event = ReturnType<typeof envelopeOf>

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const Op = Schema.Union([
  Schema.TaggedStruct("Add", { entity: upTo(3), bytes: Schema.Literals([0, 1, 5_000_000]) }),
  Schema.TaggedStruct("Add", { entity: upTo(3), bytes: Schema.Literals([0, 1]) }),
  Schema.TaggedStruct("Pass", {}),
  Schema.TaggedStruct("Begin", {}),
  Schema.TaggedStruct("End", { which: upTo(10), fails: Schema.Literals([false, false, false, true]) }),
  Schema.TaggedStruct("Leave", {})
])

it.effect.prop(
  "hands out each event once, those of a slice in order, and lets them leave in the order of their slice or of the source",
  {
    ops: Arbitrary.array(Arbitrary.schema(Op), { minLength: 60, maxLength: 200 }),
    parallelism: Arbitrary.schema(Schema.Literals([1, 2, 5])),
    inSourceOrder: Arbitrary.schema(Schema.Boolean),
    size: Arbitrary.schema(Schema.Literals([1, 3, 40]))
  },
  ({ inSourceOrder, ops, parallelism, size }) =>
    Effect.sync(() => {
      const bytes = size === 1 ? Infinity : 10
      const lanes = new SliceLanes(parallelism, {
        inSourceOrder,
        group: size === 1 ? undefined : { size, bytes }
      })
      const added: Array<Envelope.Element<number>> = []
      const left = new Set<Envelope.Element<number>>()
      const given = new Set<Event>()
      /** Those that have failed together. */
      const alone = new Set<Event>()
      const held: Array<NonEmptyReadonlyArray<Event>> = []
      const failed = new Set<Envelope.Element<number>>()
      const done = new Set<Envelope.Element<number>>()
      const numbers = new Map<number, number>()
      let ended = 0
      const before = (element: Envelope.Element<number>, isAny: boolean) =>
        added.slice(0, added.indexOf(element)).filter(({ slice }) => isAny || slice === element.slice)
      const takeOut = (element: Envelope.Element<number>) => {
        for (const other of before(element, inSourceOrder)) assert.isTrue(left.has(other), "left before")
        assert.isFalse(left.has(element), "leaves once")
        left.add(element)
      }
      const take = () => {
        const next = lanes.next()
        if (next === undefined) return
        const [first] = next
        assert.isAtMost(next.length, size)
        assert.isAtMost(next.slice(0, -1).reduce((sum, { bytes }) => sum + bytes, 0), bytes)
        for (const event of next) {
          assert.isFalse(given.has(event), "given once")
          assert.strictEqual(event.slice, first.slice)
          given.add(event)
        }
        if (alone.has(first)) assert.strictEqual(next.length, 1, "one by one")
        for (const other of before(first, false)) {
          assert.isTrue(
            done.has(other) || failed.has(other) && left.has(other),
            "those of its slice before it are done"
          )
        }
        // nothing of the slice that is there is left out, unless the group is full
        const events = added.filter((element): element is Event =>
          element._tag === "Envelope" && element.slice === first.slice && !done.has(element) && !failed.has(element)
        )
        assert.deepStrictEqual([...next], events.slice(0, next.length))
        const isFull = next.length === size || alone.has(first) ||
          next.reduce((sum, { bytes }) => sum + bytes, 0) >= bytes
        if (!isFull) assert.strictEqual(next.length, events.length)
        held.push(next)
        assert.isAtMost(held.length, parallelism)
      }
      const apply = (op: typeof Op.Type) => {
        switch (op._tag) {
          case "Add": {
            if (!lanes.hasRoom) return
            const n = (numbers.get(op.entity) ?? 0) + 1
            const envelope = envelopeOf(op.entity, n, op.bytes)
            if (op.bytes > 0) numbers.set(op.entity, n)
            const element = op.bytes > 0 ? envelope : Envelope.placeholder(envelope)
            if (op.bytes === 0) done.add(element)
            lanes.add([element])
            added.push(element)
            assert.isAtMost(
              added.filter((other) => other._tag === "Envelope" && !left.has(other)).length,
              Math.max(16, size) * parallelism
            )
            return
          }
          case "Begin":
            if (lanes.begin()) take()
            return
          case "End": {
            const events = held[op.which % Math.max(1, held.length)]
            if (events === undefined) return
            held.splice(held.indexOf(events), 1)
            const [event] = events
            if (!op.fails) {
              // only a first part of them, as the next one is of an entity that is parked
              const some = events.slice(0, 1 + op.which % events.length) as unknown as NonEmptyReadonlyArray<Event>
              for (const each of events.slice(some.length)) given.delete(each)
              for (const each of some) done.add(each)
              ended += some.length
              lanes.handled(some)
            } else if (events.length > 1) {
              for (const each of events) {
                given.delete(each)
                alone.add(each)
              }
              lanes.failedTogether(events)
            } else {
              failed.add(event)
              ended++
              lanes.failed(event, Cause.fail("failed"))
            }
            take()
            return
          }
          case "Leave": {
            const { bytes, elements } = lanes.leave()
            for (const element of elements) {
              assert.isTrue(done.has(element))
              takeOut(element)
            }
            assert.strictEqual(bytes, elements.reduce((sum, one) => sum + (one._tag === "Envelope" ? one.bytes : 0), 0))
            // nothing stays that could leave
            for (const element of added) {
              const isFirst = before(element, inSourceOrder).every((other) => left.has(other))
              assert.isFalse(isFirst && done.has(element) && !left.has(element), "stays")
            }
            const behind = inSourceOrder ? added.filter((element) => done.has(element) && !left.has(element)) : []
            // placeholders of a slice wait for the events before them
            assert.includeMembers(behind, [...lanes.behind])
            assert.includeMembers([...lanes.behind], behind.filter(({ _tag }) => _tag === "Envelope"))
            return
          }
          case "Pass": {
            apply({ _tag: "Leave" })
            const { poison } = lanes
            const isThere = [...failed].some((event) =>
              !left.has(event) && before(event, inSourceOrder).every((other) => left.has(other))
            )
            assert.strictEqual(poison !== undefined, isThere)
            if (poison === undefined) return
            assert.isTrue(failed.has(poison.envelope))
            takeOut(poison.envelope)
            lanes.pass(poison)
            if (lanes.begin()) take()
          }
        }
      }
      for (const op of ops) apply(op)
      // once nothing is being handled any more, all that was handled of slices may leave
      while (held.length > 0) apply({ _tag: "End", which: 0, fails: false })
      apply({ _tag: "Leave" })
      if (!inSourceOrder) {
        assert.strictEqual(
          [...given].filter((event) => left.has(event)).length,
          ended - [...failed].filter((event) => !left.has(event)).length
        )
      }
      for (let i = 0; i < 1000 && !lanes.isEmpty; i++) {
        apply({ _tag: "Begin" })
        apply({ _tag: "End", which: 0, fails: false })
        apply({ _tag: "Pass" })
      }
      assert.isTrue(lanes.isEmpty)
      assert.strictEqual(lanes.busy, 0)
      assert.strictEqual(left.size, added.length)
    }),
  { arbitrary: { runs: 300 } }
)

for (const inSourceOrder of [false, true]) {
  it(`gives nothing more out once it has stopped, and what was handled can be told (in source order: ${inSourceOrder})`, () => {
    const lanes = new SliceLanes(2, { inSourceOrder })
    const slow = [envelopeOf(0, 1), envelopeOf(0, 2)] as const
    const quick = [envelopeOf(2, 1), envelopeOf(3, 1)] as const
    lanes.add([slow[0]])
    lanes.add([slow[1]])
    lanes.add([quick[0]])
    lanes.add([quick[1]])
    assert.isTrue(lanes.begin())
    assert.deepStrictEqual(lanes.next(), [slow[0]])
    assert.isTrue(lanes.begin())
    for (const event of quick) {
      assert.deepStrictEqual(lanes.next(), [event])
      lanes.handled([event])
    }
    lanes.stop()
    assert.isUndefined(lanes.next())
    assert.isFalse(lanes.begin())
    assert.strictEqual(lanes.busy, 1)
    assert.deepStrictEqual(lanes.leave().elements, inSourceOrder ? [] : quick)
    assert.deepStrictEqual(lanes.behind, inSourceOrder ? quick : [])
    lanes.handled([slow[0]])
    assert.isUndefined(lanes.next())
    assert.strictEqual(lanes.busy, 0)
    assert.deepStrictEqual(lanes.leave().elements, [slow[0]])
    assert.deepStrictEqual(lanes.behind, inSourceOrder ? quick : [])
  })
}
