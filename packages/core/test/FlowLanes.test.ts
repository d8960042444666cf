import { assert, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { FlowLanes } from "../src/internal/projection/FlowLanes.ts"

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const Op = Schema.Union([
  Schema.TaggedStruct("Add", { slice: upTo(2), isEvent: Schema.Boolean, bytes: Schema.Literals([0, 1, 5_000_000]) }),
  Schema.TaggedStruct("Add", { slice: upTo(2), isEvent: Schema.Boolean, bytes: Schema.Literals([0, 1]) }),
  Schema.TaggedStruct("Take", {}),
  Schema.TaggedStruct("Done", { which: upTo(20) }),
  Schema.TaggedStruct("Leave", {}),
  Schema.TaggedStruct("Park", { slice: upTo(2), isParked: Schema.Boolean }),
  Schema.TaggedStruct("Meet", { isParked: Schema.Boolean })
])

const placeOf = (slice: number, n: number) => ({
  persistenceId: PersistenceId.make("note", `${slice}`),
  sequenceNumber: SequenceNumber.make(n),
  slice: Slice.make(slice),
  position: Position.make(n),
  timestamp: Timestamp.make(n)
})

it.effect.prop(
  "give each event once, in order, unless its entity is parked, and let elements leave once they are done, in the order of their slice or of the source",
  {
    ops: Arbitrary.array(Arbitrary.schema(Op), { minLength: 60, maxLength: 200 }),
    inSourceOrder: Arbitrary.schema(Schema.Boolean)
  },
  ({ inSourceOrder, ops }) =>
    Effect.sync(() => {
      const parked = new Set<number>()
      const lanes = new FlowLanes(20, { inSourceOrder, isParked: ({ slice }) => parked.has(slice) })
      const added: Array<Envelope.Element<number>> = []
      const waiting: Array<Envelope.Envelope<number>> = []
      let held: Array<Envelope.Envelope<number>> = []
      const passed = new Set<Envelope.Element<number>>()
      const open: Array<Envelope.Envelope<number>> = []
      const done = new Set<Envelope.Element<number>>()
      const left: Array<Envelope.Element<number>> = []
      let now = 0
      let oldestSince = 0
      const inHand = () => added.filter((element) => !left.includes(element) && !passed.has(element))
      for (const op of ops) {
        now++
        switch (op._tag) {
          case "Add": {
            const events = inHand().filter(({ _tag }) => _tag === "Envelope")
            const bytes = events.reduce((sum, element) => sum + (element as Envelope.Envelope<number>).bytes, 0)
            assert.strictEqual(lanes.hasRoom, inHand().length === 0 || events.length < 20 && bytes < 4 * 1024 * 1024)
            if (!lanes.hasRoom) break
            const n = added.length + 1
            const element = op.isEvent
              ? Envelope.make(placeOf(op.slice, n), n, op.bytes)
              : Envelope.skipped(Slice.make(op.slice), Position.make(n), Position.make(n), Timestamp.make(n))
            added.push(element)
            if (element._tag !== "Envelope") done.add(element)
            else if (parked.has(op.slice) || held.some(({ slice }) => slice === op.slice)) held.push(element)
            else waiting.push(element)
            lanes.add([element])
            break
          }
          case "Take": {
            assert.strictEqual(lanes.waiting, waiting[0])
            if (waiting.length === 0) break
            const some = lanes.take(now)
            if (open.length === 0) oldestSince = now
            assert.deepStrictEqual(some as ReadonlyArray<unknown>, waiting.splice(0, 16))
            open.push(...some)
            break
          }
          case "Done": {
            const envelope = open[op.which]
            if (envelope === undefined) break
            open.splice(op.which, 1)
            const { persistenceId, sequenceNumber } = envelope
            assert.strictEqual(lanes.done({ persistenceId, sequenceNumber }, now), envelope)
            if (op.which === 0) oldestSince = now
            assert.isUndefined(lanes.done(envelope, now), "once")
            done.add(envelope)
            break
          }
          case "Park":
            if (op.isParked) parked.add(op.slice)
            else parked.delete(op.slice)
            break
          case "Meet": {
            const envelope = lanes.parked
            if (envelope === undefined) break
            left.push(...lanes.leave().elements)
            if (op.isParked) {
              lanes.pass(envelope)
              passed.add(envelope)
              held = held.filter((other) => other !== envelope)
            } else {
              lanes.unpark(envelope)
              const ofEntity = held.filter(({ slice }) => slice === envelope.slice)
              const free = parked.has(envelope.slice) ? ofEntity.slice(0, 1) : ofEntity
              waiting.unshift(...free)
              held = held.filter((other) => !free.includes(other))
            }
            break
          }
          case "Leave":
            left.push(...lanes.leave().elements)
        }
        assert.deepStrictEqual(lanes.oldest, open[0] && { envelope: open[0], since: oldestSince })
        const laneOf = (element: Envelope.Element<number>) => inSourceOrder ? 0 : element.slice
        const mayLeave = inHand().filter((element, i, all) =>
          all.slice(0, i + 1).every((before) => laneOf(before) !== laneOf(element) || done.has(before))
        )
        assert.strictEqual(lanes.elementsLeft, mayLeave.length)
        const due = inHand().filter((element, i, all) =>
          element === held.find(({ slice }) => slice === element.slice) &&
          all.slice(0, i).every((before) => laneOf(before) !== laneOf(element) || done.has(before))
        )
        if (due.length === 0) assert.isUndefined(lanes.parked)
        else assert.include(due, lanes.parked)
        const behind = inHand().filter((element) =>
          element._tag === "Envelope" && done.has(element) && !mayLeave.includes(element)
        )
        assert.sameMembers([...lanes.behind], behind)
        assert.strictEqual(lanes.isEmpty, inHand().length === 0)
      }
      // those of a slice, or all, in the order in which they came
      for (const slice of inSourceOrder ? [undefined] : [0, 1, 2]) {
        const ofLane = (all: ReadonlyArray<Envelope.Element<number>>) =>
          all.filter((element) => slice === undefined || element.slice === slice)
        const all = ofLane(added).filter((element) => !passed.has(element))
        assert.deepStrictEqual(ofLane(left), all.slice(0, ofLane(left).length))
      }
    })
)
