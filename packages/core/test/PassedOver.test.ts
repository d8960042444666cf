import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import { PassedOver } from "../src/internal/projection/PassedOver.ts"

const [seven, eight, nine] = [Slice.make(7), Slice.make(8), Slice.make(9)]

const event = (slice: Slice.Slice, n: number) =>
  Envelope.placeholder({
    persistenceId: PersistenceId.make("cart", "a"),
    sequenceNumber: SequenceNumber.make(n),
    slice,
    position: Position.make(n),
    timestamp: Timestamp.make(n * 10)
  })

const skipped = (slice: Slice.Slice, from: number, to: number, timestamp: number | undefined = to * 10) =>
  Envelope.skipped(slice, Position.make(from), Position.make(to), timestamp as Timestamp.Timestamp | undefined, true)

const passed = (from: number, upTo: number) => ({ from: Offset.make(from, from * 10), upTo: Position.make(upTo) })

const perEntity = {
  completeUpTo: new Map([[seven, Offset.make(2, 20)], [eight, Offset.beginning]]),
  offsets: new Map([seven, eight, nine].map((slice) => [slice, Offset.make(9, 90)]))
}

const make = () => new PassedOver(new Map([[seven, passed(2, 5)], [eight, passed(0, 3)]]), perEntity)

const positions = (elements: ReadonlyArray<Envelope.Element<unknown>>) =>
  elements.map(({ position, slice }) => [slice as number, position as number])

describe("what was passed over", () => {
  it("is read from where it begins, and the other slices from where they are", () => {
    const stored = new Map([[seven, Offset.make(9, 90)], [eight, Offset.make(4, 40)], [nine, Offset.make(6, 60)]])
    assert.deepStrictEqual([...make().start(stored)], [[seven, Offset.make(2, 20)], [nine, Offset.make(6, 60)]])
  })

  it("ends where it was stored that it ends: what is behind it, and in other slices, comes in its turn", () => {
    const past = make()
    const shown = [event(seven, 3), event(nine, 7), event(seven, 4), event(seven, 5), event(seven, 6), event(eight, 1)]
    assert.deepStrictEqual(positions(past.take(shown)), [[7, 3], [7, 4], [7, 5], [8, 1]])
    assert.strictEqual(past.remaining, 2)
    assert.deepStrictEqual([...past.progress()], [[seven, undefined], [eight, Offset.make(1, 10)]])
    assert.deepStrictEqual(positions(past.take([event(eight, 2), event(eight, 3)])), [[8, 2], [8, 3]])
    assert.strictEqual(past.remaining, 0)
    assert.deepStrictEqual([...past.progress()], [[eight, undefined]])
  })

  it("is looked through where the source has left it out once more, also beyond its end", () => {
    const past = make()
    assert.deepStrictEqual(past.take([skipped(seven, 3, 4), skipped(eight, 1, 70)]), [])
    assert.strictEqual(past.remaining, 1)
    assert.deepStrictEqual([...past.progress()], [[seven, Offset.make(4, 40)], [eight, undefined]])
  })

  it("goes on after the last event whose timestamp is known", () => {
    const past = make()
    past.take([event(seven, 3), Envelope.skipped(seven, Position.make(4), Position.make(4), undefined, true)])
    assert.strictEqual(past.remaining, 1 + 3)
    assert.deepStrictEqual(past.progress().get(seven), Offset.make(3, 30))
    past.take([skipped(seven, 5, 5)])
    assert.strictEqual(past.remaining, 3)
    assert.isUndefined(past.progress().get(seven))
  })

  it("comes once, though the source shows it again", () => {
    const past = make()
    past.take([event(seven, 3), event(seven, 4)])
    assert.deepStrictEqual(positions(past.take([event(seven, 4), event(seven, 5)])), [[7, 5]])
  })

  it("ends at the offset where that was not known when it was stored", () => {
    const offsets = new Map([[seven, Offset.make(4, 40)]])
    const past = new PassedOver(
      new Map([[seven, passed(2, Number.MAX_SAFE_INTEGER)], [eight, passed(0, Number.MAX_SAFE_INTEGER)]]),
      { ...perEntity, offsets }
    )
    assert.strictEqual(past.remaining, 2)
  })

  it("may be nothing, and is nothing of a slice that has begun anew", () => {
    const past = new PassedOver(new Map([[seven, passed(5, 5)], [nine, passed(2, 5)]]), perEntity)
    assert.strictEqual(past.remaining, 0)
    assert.strictEqual(past.progress().size, 0)
  })
})
