import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "@sluice/core/Envelope"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Cause from "effect/Cause"

const persistenceId = PersistenceId.make("cart", "c-1")
const where = {
  persistenceId,
  sequenceNumber: SequenceNumber.make(3),
  slice: Slice.ofPersistenceId(persistenceId),
  position: Position.make(7),
  timestamp: Timestamp.make(9)
}
const about: Envelope.About = {
  tags: ["large"],
  metadata: { trace: "1" },
  replication: {
    origin: "eu",
    originSequenceNumber: SequenceNumber.make(2),
    version: new Map([["eu", SequenceNumber.make(2)]]),
    concurrent: true
  },
  foreignMetadata: { manifest: "ser.akka.io/31:x", bytes: new Uint8Array([1]) }
}
const place: Envelope.Place = { ...where, ...about }
const payload = { manifest: "text", bytes: new Uint8Array([2]) }
const cause = Cause.fail("no")

describe("an envelope", () => {
  it("takes over the whole place, from an event as it is stored to one that is decoded, and back", () => {
    const stored = Envelope.encoded(place, payload)
    assert.deepStrictEqual(stored, { ...place, payload })
    const decoded = Envelope.make(stored, "event", 5)
    assert.deepStrictEqual(decoded, { _tag: "Envelope", ...place, event: "event", bytes: 5 })
    assert.deepStrictEqual(Envelope.encoded(decoded, payload), stored)
    assert.deepStrictEqual(Envelope.poison(stored, cause, true), { _tag: "Poison", ...place, cause, permanent: true })
  })

  it("says nothing of an event that nobody is given", () => {
    const placeholder: Envelope.Placeholder = { _tag: "Placeholder", ...where, ...Envelope.nothing }
    assert.deepStrictEqual(Envelope.placeholder(place), placeholder)
  })

  it("has all its fields, in one order, whatever is said of the event", () => {
    for (
      const make of [
        (place: Envelope.PlaceInput) => Envelope.encoded(place, payload),
        (place: Envelope.PlaceInput) => Envelope.make(place, "event", 5),
        (place: Envelope.PlaceInput) => Envelope.poison(place, cause, false),
        Envelope.placeholder
      ]
    ) {
      const keys = Object.keys(make(place))
      for (const key of Object.keys(place)) assert.include(keys, key)
      assert.deepStrictEqual(Object.keys(make(where)), keys)
    }
  })

  it("counts what is said of it to its size", () => {
    const size = Envelope.sizeOf({ ...place, payload })
    assert.isAbove(size, Envelope.sizeOf({ ...place, payload, replication: undefined }))
    assert.strictEqual(
      size - Envelope.sizeOf({ ...place, payload, foreignMetadata: undefined }),
      "ser.akka.io/31:x".length + 1
    )
  })
})
