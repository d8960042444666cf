import { assert, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { EntityLanes, type Entry } from "../src/internal/projection/EntityLanes.ts"

const entry = (entity: number, n: number, bytes = 1): Entry => {
  const persistenceId = PersistenceId.make("note", `${entity}`)
  const place = {
    persistenceId,
    sequenceNumber: SequenceNumber.make(n),
    slice: Slice.ofPersistenceId(persistenceId),
    position: Position.make(n),
    timestamp: Timestamp.make(n)
  }
  const envelope = Envelope.make(place, n, bytes)
  return { elements: [envelope], envelope, bytes }
}

const placeholderOnly = (): Entry => ({
  elements: [Envelope.placeholder(entry(0, 1).envelope!)],
  envelope: undefined,
  bytes: 0
})

const entityOf = ({ envelope }: Entry) => envelope!.persistenceId

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
  "hands out each event once, those of an entity in order, and lets them leave in the order of the source",
  {
    ops: Arbitrary.array(Arbitrary.schema(Op), { maxLength: 200 }),
    parallelism: Arbitrary.schema(Schema.Literals([1, 2, 5]))
  },
  ({ ops, parallelism }) =>
    Effect.sync(() => {
      const lanes = new EntityLanes(parallelism)
      const added: Array<Entry> = []
      const left: Array<Entry> = []
      const given: Array<Entry> = []
      const held: Array<Entry> = []
      const failed = new Set<Entry>()
      const done = new Set<Entry>()
      const numbers = new Map<number, number>()
      const take = () => {
        const next = lanes.next()
        if (next === undefined) return
        assert.isFalse(held.some((other) => entityOf(other) === entityOf(next)), "one at a time of an entity")
        assert.isFalse(given.includes(next), "given once")
        for (const other of added) {
          if (other === next) break
          if (other.envelope?.persistenceId === entityOf(next)) {
            assert.isTrue(done.has(other) || failed.has(other) && left.includes(other), "those before are done")
          }
        }
        given.push(next)
        held.push(next)
        assert.isAtMost(held.length, parallelism)
      }
      const apply = (op: typeof Op.Type) => {
        switch (op._tag) {
          case "Add": {
            if (!lanes.hasRoom) return
            const n = (numbers.get(op.entity) ?? 0) + 1
            const made = op.bytes === 0 ? placeholderOnly() : entry(op.entity, n, op.bytes)
            if (op.bytes > 0) numbers.set(op.entity, n)
            else done.add(made)
            lanes.add(made)
            added.push(made)
            assert.isAtMost(added.length - left.length, 16 * parallelism)
            return
          }
          case "Begin":
            if (lanes.begin()) take()
            return
          case "End": {
            const ended = held[op.which % Math.max(1, held.length)]
            if (ended === undefined) return
            held.splice(held.indexOf(ended), 1)
            if (op.fails) {
              failed.add(ended)
              lanes.failed(ended, Cause.fail("failed"))
            } else {
              done.add(ended)
              lanes.handled(ended)
            }
            take()
            return
          }
          case "Leave": {
            const entries = lanes.leave()
            for (const entry of entries) assert.isTrue(done.has(entry))
            left.push(...entries)
            assert.deepStrictEqual(left.map((entry) => added.indexOf(entry)), left.map((_, i) => i))
            // nothing stays that could leave
            const next = added[left.length]
            assert.isFalse(next !== undefined && done.has(next))
            return
          }
          case "Pass": {
            apply({ _tag: "Leave" })
            const { poison } = lanes
            const next = added[left.length]
            assert.strictEqual(poison?.entry, next !== undefined && failed.has(next) ? next : undefined)
            if (poison === undefined) return
            lanes.pass()
            left.push(poison.entry)
            if (lanes.begin()) take()
          }
        }
      }
      for (const op of ops) apply(op)
      // in the end all leave
      for (let i = 0; i < 1000 && !lanes.isEmpty; i++) {
        apply({ _tag: "Begin" })
        apply({ _tag: "End", which: 0, fails: false })
        apply({ _tag: "Pass" })
      }
      assert.isTrue(lanes.isEmpty)
      assert.isFalse(lanes.isBusy)
      assert.strictEqual(left.length, added.length)
    }),
  { arbitrary: { runs: 300 } }
)

it("gives nothing more out once it has stopped", () => {
  const lanes = new EntityLanes(2)
  const first = entry(1, 1)
  lanes.add(first)
  lanes.add(entry(1, 2))
  lanes.add(entry(2, 1))
  assert.isTrue(lanes.begin())
  assert.strictEqual(lanes.next(), first)
  lanes.stop()
  assert.isFalse(lanes.begin())
  lanes.handled(first)
  assert.isTrue(lanes.isBusy)
  assert.isUndefined(lanes.next())
  assert.isFalse(lanes.isBusy)
  assert.deepStrictEqual(lanes.leave(), [first])
})
