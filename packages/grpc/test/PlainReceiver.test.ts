import { create, toBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import { earliest, PlainReceiver } from "../src/internal/client/PlainReceiver.ts"
import {
  FilteredEventSchema,
  StreamOutSchema
} from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import * as FakeSource from "./kit/FakeSource.ts"
import { toEvent } from "./kit/Generated.ts"

type Origin = "" | "PS" | "BT"

const event = (n: number, source: Origin = "", entity = "a"): Buffer => {
  const value = toEvent({ ...FakeSource.event(n, `e${n}`, entity), position: undefined })
  value.source = source
  if (source === "BT") delete (value as { payload?: unknown }).payload
  return Buffer.from(toBinary(StreamOutSchema, create(StreamOutSchema, { message: { case: "event", value } })))
}

const filtered = (n: number, source: Origin): Buffer => {
  const { offset, persistenceId, seqNr, slice } = toEvent(FakeSource.event(n))
  const value = create(FilteredEventSchema, { offset, persistenceId, seqNr, slice, source })
  return Buffer.from(toBinary(StreamOutSchema, create(StreamOutSchema, { message: { case: "filteredEvent", value } })))
}

const receiver = (options?: Partial<ConstructorParameters<typeof PlainReceiver>[1]>) =>
  new PlainReceiver(SliceRange.full, { offsets: Offset.none, reminders: true, ...options })

const shown = (self: PlainReceiver, ...messages: ReadonlyArray<Buffer>) =>
  self.receive(messages).map((element) => {
    if (Envelope.isSkipped(element)) return "skipped"
    const { payload, sequenceNumber } = element
    return payload === undefined
      ? `${sequenceNumber} filtered`
      : payload === Envelope.notSent
      ? `${sequenceNumber} reminder`
      : `${sequenceNumber}`
  })

/** A request for the events from a number on. */
const again = (from: number) => ({
  persistenceId: FakeSource.event(1).persistenceId,
  from: SequenceNumber.make(from)
})

const offsetOf = ({ offset }: PlainReceiver) => offset && [offset.timestamp as number, Object.fromEntries(offset.seen)]

const offsets = (...times: ReadonlyArray<readonly [position: number, timestamp: number]>) =>
  new Map(times.map(([position, time], i) => [Slice.make(i), Offset.make(position, time)]))

describe("what comes from a plain producer", () => {
  it("comes once, though it is shown when it is written, in its turn, and to remind of it", () => {
    const self = receiver()
    assert.deepStrictEqual(shown(self, event(1, "PS"), event(1), event(2, "PS"), event(2), event(1, "BT")), ["1", "2"])
    assert.deepStrictEqual(shown(self, event(2, "BT"), event(3)), ["3"])
  })

  it("waits for its turn where something before it has not come", () => {
    const self = receiver()
    assert.deepStrictEqual(shown(self, event(7, "PS"), event(7), event(9, "PS"), event(8), event(9)), ["7", "8", "9"])
  })

  it("is reminded of, for those who load it, unless it has come", () => {
    assert.deepStrictEqual(shown(receiver(), event(1), event(1, "BT"), event(2, "BT"), event(2, "BT")), [
      "1",
      "2 reminder",
      "2 reminder"
    ])
    assert.deepStrictEqual(shown(receiver({ reminders: false }), event(2, "BT"), event(1)), ["1"])
    // there is nothing to load of what stays inside
    assert.deepStrictEqual(shown(receiver(), filtered(1, "BT"), filtered(2, "")), ["1 filtered", "2 filtered"])
  })

  it("comes again once it is asked for again, and moves no offset then", () => {
    const self = receiver()
    shown(self, event(1), event(4))
    assert.deepStrictEqual(shown(self, event(2), event(3)), [])
    self.replay(again(2), 0)
    assert.deepStrictEqual(shown(self, event(2), event(3), event(4), event(5)), ["2", "3", "4", "5"])
    assert.deepStrictEqual(offsetOf(self), [4, { "Cart|a": 4 }])
    assert.deepStrictEqual(self.reset(1), [])
    shown(self, event(6))
    assert.deepStrictEqual(offsetOf(self), [6, { "Cart|a": 6 }])
  })

  it("comes again though a later one overtakes it, and is asked for once more on another connection", () => {
    const self = receiver()
    shown(self, event(1), event(4))
    self.replay(again(2), 0)
    assert.deepStrictEqual(shown(self, event(5), event(2)), ["5", "2"])
    assert.deepStrictEqual(self.reset(1000), [again(2)])
    assert.deepStrictEqual(shown(self, event(6), event(2), event(3), event(4)), ["6", "2", "3", "4"])
    assert.deepStrictEqual(self.reset(2000), [])
    // whoever has asked does not wait any more
    self.replay(again(5), 2000)
    assert.deepStrictEqual(self.reset(20_000), [])
  })

  it("moves the offset again once the stream is past all that was replayed", () => {
    const self = receiver()
    shown(self, event(1), event(4))
    self.replay(again(2), 0)
    // the replay is not there yet
    shown(self, event(5, "", "b"), event(6))
    assert.deepStrictEqual(offsetOf(self), [5, { "Cart|b": 5 }])
    shown(self, event(2), event(3), event(4), event(5), event(6), event(7))
    // may be of the replay
    assert.deepStrictEqual(offsetOf(self), [5, { "Cart|b": 5 }])
    shown(self, event(7, "", "b"), event(8, "", "b"))
    assert.deepStrictEqual(shown(self, event(8), event(9), event(9)), ["8", "9"])
    assert.deepStrictEqual(offsetOf(self), [9, { "Cart|a": 9 }])
  })

  it("moves the offset by many entities that were replayed, once one that was not is newer", () => {
    const self = receiver()
    const entities = Array.from({ length: 20 }, (_, i) => `e${i}`)
    for (const entity of entities) {
      shown(self, event(1, "", entity), event(3, "", entity))
      const { persistenceId } = FakeSource.event(1, "e1", entity)
      self.replay({ persistenceId, from: SequenceNumber.make(2) }, 0)
      shown(self, event(2, "", entity), event(3, "", entity))
    }
    shown(self, event(4))
    for (const n of [5, 6, 7]) for (const entity of entities) shown(self, event(n, "", entity))
    assert.strictEqual(self.offset!.timestamp, 7)
  })

  it("moves the offset in its turn alone, with all that has come of one time", () => {
    const self = receiver()
    assert.isUndefined(offsetOf(self))
    shown(self, event(1), event(3, "PS"), event(3, "BT"))
    assert.deepStrictEqual(offsetOf(self), [1, { "Cart|a": 1 }])
    shown(self, event(1, "", "b"))
    assert.deepStrictEqual(offsetOf(self), [1, { "Cart|a": 1, "Cart|b": 1 }])
    shown(self, event(5), event(4, "", "c"))
    assert.deepStrictEqual(offsetOf(self), [5, { "Cart|a": 5 }])
  })

  it("is refused where it is of another slice, after what comes before", () => {
    const { slice } = FakeSource.event(1)
    const self = new PlainReceiver(SliceRange.make(slice, slice), { offsets: Offset.none })
    assert.deepStrictEqual(shown(self, event(1), event(1, "", "other")), ["1"])
    assert.match(String(self.fault), /event of 'Cart\|other', whose slice \d+ is not in/)
    assert.throws(() => self.receive([event(1, "", "other")]), /is not in/)
  })

  it("begins at the earliest offset of its slices", () => {
    const range = SliceRange.make(0, 1)
    assert.strictEqual(earliest(range, offsets([0, 7], [0, 5])), 5)
    assert.isUndefined(earliest(range, offsets([0, 7])))
    assert.isUndefined(earliest(range, offsets([0, 7], [1, 5])))
    assert.isUndefined(earliest(range, Offset.none))
    assert.strictEqual(earliest(range, Offset.since(Timestamp.make(9))), 9)
  })
})
