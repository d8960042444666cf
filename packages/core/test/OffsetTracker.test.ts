import { assert, describe, it } from "@effect/vitest"
import { nothing, type Place } from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import { ReadingState } from "@sluice/core/ReadingState"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import { OffsetTracker } from "../src/internal/projection/OffsetTracker.ts"

const place = (slice: number, position: number | undefined, timestamp = position ?? 0): Place => ({
  persistenceId: PersistenceId.make("cart", `${slice}`),
  sequenceNumber: SequenceNumber.make(1),
  slice: Slice.make(slice),
  position: position === undefined ? undefined : Position.make(position),
  timestamp: Timestamp.make(timestamp),
  ...nothing
})

const trackerOf = (offsets: Offset.Offsets) =>
  new OffsetTracker(offsets, new ReadingState(SliceRange.full, { offsets, completeUpTo: new Map() }))

const stored = (places: Readonly<Record<number, number>>): Offset.Offsets =>
  new Map(
    Object.entries(places).map(([slice, position]) => [Slice.make(Number(slice)), Offset.make(position, position)])
  )

const move = (slice: number, from: number | undefined, to: number) => ({
  slice: Slice.make(slice),
  from: from === undefined ? undefined : Offset.make(from, from),
  to: Offset.make(to, to)
})

describe("OffsetTracker", () => {
  it("moves from what is stored to the last element of each slice, in the order of the slices", () => {
    const tracker = trackerOf(stored({ 5: 10 }))
    assert.isFalse(tracker.isAhead)
    assert.deepStrictEqual(tracker.moves, [])
    tracker.advance([place(700, 1), place(5, 11), place(5, 12), place(40, 1)])
    tracker.advance([place(700, 2)])
    assert.isTrue(tracker.isAhead)
    assert.deepStrictEqual(tracker.moves, [move(5, 10, 12), move(40, undefined, 1), move(700, undefined, 2)])
    assert.deepStrictEqual(tracker.offsets, stored({ 5: 10 }))
  })

  it("goes on from the moves that were stored", () => {
    const tracker = trackerOf(Offset.none)
    tracker.advance([place(5, 1), place(6, 1)])
    tracker.stored()
    assert.isFalse(tracker.isAhead)
    assert.deepStrictEqual(tracker.moves, [])
    assert.deepStrictEqual(tracker.offsets, stored({ 5: 1, 6: 1 }))
    tracker.advance([place(5, 2)])
    assert.deepStrictEqual(tracker.moves, [move(5, 1, 2)])
  })

  it("knows where it moves next, after what it is ahead of", () => {
    const tracker = trackerOf(stored({ 5: 10, 6: 3 }))
    tracker.advance([place(5, 11)])
    const next = tracker.movesAfter([place(7, undefined), place(6, 4), place(5, 12), place(6, 5)])
    assert.deepStrictEqual(next, [move(5, 11, 12), move(6, 3, 5)])
    assert.deepStrictEqual(tracker.moves, [move(5, 10, 11)])
    tracker.stored()
    tracker.advance([place(7, undefined), place(6, 4), place(5, 12), place(6, 5)])
    assert.deepStrictEqual(tracker.moves, next)
  })

  it("does not know it where numbers of entities are stored as well", () => {
    const offsets = stored({ 5: 10 })
    const reading = new ReadingState(SliceRange.full, { offsets, completeUpTo: offsets })
    assert.isUndefined(new OffsetTracker(offsets, reading).movesAfter([place(5, 11)]))
  })

  it("forgets moves that were not stored", () => {
    const tracker = trackerOf(stored({ 5: 1 }))
    tracker.advance([place(5, 2), place(6, 1)])
    tracker.revert()
    assert.isFalse(tracker.isAhead)
    tracker.advance([place(6, 1)])
    assert.deepStrictEqual(tracker.moves, [move(6, undefined, 1)])
  })

  it("does not move for elements of a source without positions", () => {
    const tracker = trackerOf(Offset.none)
    tracker.advance([place(5, undefined)])
    assert.isFalse(tracker.isAhead)
  })

  it("does not change the offsets that it was made of", () => {
    const offsets = stored({ 5: 1 })
    const tracker = trackerOf(offsets)
    tracker.advance([place(5, 2)])
    tracker.stored()
    assert.deepStrictEqual(offsets, stored({ 5: 1 }))
  })

  it("says when it has stored what the source had once, and not again", () => {
    const tracker = trackerOf(stored({ 5: 1, 7: 9 }))
    assert.isFalse(tracker.follow(stored({ 5: 3, 6: 1, 7: 9 })))
    tracker.advance([place(5, 2)])
    assert.isFalse(tracker.stored())
    tracker.advance([place(6, 1)])
    tracker.revert()
    // beyond a head, and in a slice that was empty
    tracker.advance([place(5, 4), place(8, 1)])
    assert.isFalse(tracker.stored())
    tracker.advance([place(6, 1)])
    assert.isTrue(tracker.stored())
    tracker.advance([place(5, 5)])
    assert.isFalse(tracker.stored())
  })

  it("says at once that there is nothing to come to", () => {
    const tracker = trackerOf(stored({ 5: 3 }))
    assert.isTrue(tracker.follow(stored({ 5: 3 })))
    assert.isTrue(tracker.follow(Offset.none))
    tracker.advance([place(5, 4)])
    assert.isFalse(tracker.stored())
  })
})
