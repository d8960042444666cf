import { assert, describe, it } from "@effect/vitest"
import { encoded, type EncodedEnvelope } from "@sluice/core/Envelope"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import { Replays } from "../src/internal/reading/Replays.ts"

const of = (id: string, from: number) => ({
  persistenceId: PersistenceId.make("cart", id),
  from: SequenceNumber.make(from)
})

const event = (id: string, n: number): EncodedEnvelope => {
  const persistenceId = PersistenceId.make("cart", id)
  return encoded({
    persistenceId,
    sequenceNumber: SequenceNumber.make(n),
    slice: Slice.ofPersistenceId(persistenceId),
    position: Position.make(n),
    timestamp: Timestamp.make(n)
  }, undefined)
}

const asking = (...asked: ReadonlyArray<ReturnType<typeof of>>) => {
  const replays = new Replays()
  for (const replay of asked) assert.isTrue(replays.ask(replay))
  return replays
}

describe("replays", () => {
  it("are read to their end, one entity after the other", () => {
    const replays = asking(of("a", 2), of("b", 1))
    assert.deepStrictEqual(replays.next, of("a", 2))
    replays.read(of("a", 2), [event("a", 2), event("a", 3)])
    assert.deepStrictEqual(replays.next, of("a", 4))
    replays.read(of("a", 4), [])
    assert.deepStrictEqual(replays.next, of("b", 1))
    replays.read(of("b", 1), [])
    assert.isTrue(replays.isIdle)
    assert.isUndefined(replays.next)
  })

  it("are not repeated for who asks again while they wait or run", () => {
    const replays = asking(of("a", 2), of("b", 3), of("a", 2), of("b", 5))
    replays.read(of("a", 2), [event("a", 2)])
    assert.isTrue(replays.ask(of("a", 2)))
    assert.deepStrictEqual(replays.next, of("a", 3))
    replays.read(of("a", 3), [])
    assert.deepStrictEqual(replays.next, of("b", 3))
  })

  it("begin again from a lower number, also while a page is read", () => {
    const replays = asking(of("a", 5))
    const { next } = replays
    assert.isTrue(replays.ask(of("a", 2)))
    replays.read(next!, [event("a", 5)])
    assert.deepStrictEqual(replays.next, of("a", 2))
  })

  it("are refused beyond a thousand entities", () => {
    const replays = asking(...Array.from({ length: 1_000 }, (_, i) => of(`${i}`, 1)))
    assert.isFalse(replays.ask(of("one more", 1)))
    assert.isTrue(replays.ask(of("7", 1)), "one that waits already")
    replays.read(of("0", 1), [])
    assert.isTrue(replays.ask(of("one more", 1)))
  })
})
