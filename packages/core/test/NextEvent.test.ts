import { assert, it } from "@effect/vitest"
import { type Element, placeholder, skipped } from "@sluice/core/Envelope"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import { ReadingState } from "@sluice/core/ReadingState"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Cause from "effect/Cause"
import { NextEvent } from "../src/internal/projection/NextEvent.ts"
import { OffsetTracker } from "../src/internal/projection/OffsetTracker.ts"

const place = (position: number) => ({
  persistenceId: PersistenceId.make("cart", "1"),
  sequenceNumber: SequenceNumber.make(position),
  slice: Slice.make(1),
  position: Position.make(position),
  timestamp: Timestamp.make(position)
})
const event = (position: number) => ({ ...placeholder(place(position)), _tag: "Envelope" }) as unknown as Element<any>
const gap = (position: number) =>
  skipped(Slice.make(1), Position.make(position), Position.make(position), Timestamp.make(position))
const poison = (position: number): Element<any> =>
  ({ ...placeholder(place(position)), _tag: "Poison", permanent: true, cause: Cause.empty }) as unknown as Element<any>

const nextOf = (...chunk: ReadonlyArray<Element<any>>) => {
  const reading = new ReadingState(SliceRange.full, { offsets: Offset.none, completeUpTo: new Map() })
  const next = new NextEvent(new OffsetTracker(Offset.none, reading))
  next.isAt(chunk, 1)
  return next
}
const positions = (next: NextEvent) => next.next()?.map(({ to }) => to.position)

it("the offset moves to the next event, past what has none", () => {
  assert.deepStrictEqual(positions(nextOf(event(1), event(2), event(3))), [2])
  assert.deepStrictEqual(positions(nextOf(event(1), gap(2), event(3))), [3])
})

it("nobody knows where it moves before poison, or where no event is at hand", () => {
  assert.isUndefined(nextOf(event(1), gap(2), poison(3), event(4)).next())
  assert.isUndefined(nextOf(event(1), gap(2)).next())
  assert.isUndefined(nextOf(event(1)).next())
  const next = nextOf(event(1), event(2))
  next.forget()
  assert.isUndefined(next.next())
})
