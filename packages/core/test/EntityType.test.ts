import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Schema from "effect/Schema"

class Added extends Schema.TaggedClass<Added>()("Added", { sku: Schema.String }) {}

const make = (name: string) => EntityType.make(name, { codec: EventCodec.string })

describe("EntityType", () => {
  it("has JSON events when it is given their schema, or any with a codec", () => {
    assert.strictEqual(EntityType.make("cart", { event: Added }).codec.name, "json")
    const note = EntityType.make("note", { codec: EventCodec.string })
    assert.strictEqual(note.codec, EventCodec.string)
    assert.strictEqual<string>(EntityType.persistenceId(note, "n-1"), "note|n-1")
    assert.throws(() => EntityType.persistenceId(note, ""), RangeError)
    assert.throws(() => EntityType.persistenceId(note, "x".repeat(251)), RangeError)
  })

  it("has a name of 1 to 128 bytes, without '|'", () => {
    assert.strictEqual(make("x".repeat(128)).name.length, 128)
    assert.strictEqual(make("é".repeat(64)).name.length, 64)
    for (const wrong of ["", "a|b", "x".repeat(129), "é".repeat(65), "\ud83d"]) {
      assert.throws(() => make(wrong), RangeError)
    }
  })
})

describe("EventStream", () => {
  it("has an id of 1 to 255 characters", () => {
    assert.strictEqual(EventStream.make("carts", { event: Added }).codec.name, "json")
    assert.strictEqual(EventStream.make("x".repeat(255), { codec: EventCodec.string }).id.length, 255)
    for (const wrong of ["", "x".repeat(256)]) {
      assert.throws(() => EventStream.make(wrong, { codec: EventCodec.string }), RangeError)
    }
  })
})
