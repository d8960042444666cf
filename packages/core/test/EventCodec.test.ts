import { assert, describe, it } from "@effect/vitest"
import * as EventCodec from "@sluice/core/EventCodec"
import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"

class ItemAdded extends Schema.TaggedClass<ItemAdded>()("ItemAdded", { sku: Schema.String, quantity: Schema.Int }) {}
class CheckedOut extends Schema.TaggedClass<CheckedOut>()("CheckedOut", { at: Schema.DateTimeUtc }) {}
class Renamed extends Schema.Class<Renamed>("Renamed")({ name: Schema.String }) {}
const Moved = Schema.Struct({ from: Schema.String, to: Schema.Option(Schema.String) }).annotate({ identifier: "Moved" })
const Emptied = Schema.TaggedStruct("Emptied", { reason: Schema.optional(Schema.String), count: Schema.BigInt })

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

describe("EventCodec.json", () => {
  const codec = EventCodec.json(Schema.Union([ItemAdded, Schema.Union([CheckedOut, Renamed]), Moved, Emptied]))

  it("writes the JSON of an event, under the name of its member", () => {
    const payload = codec.encodeUnsafe(new ItemAdded({ sku: "tea", quantity: 2 }))
    assert.strictEqual(payload.manifest, "json.sluice/ItemAdded")
    assert.deepStrictEqual(JSON.parse(textOf(payload.bytes)), { _tag: "ItemAdded", sku: "tea", quantity: 2 })
    const at = DateTime.makeUnsafe("2026-01-02T03:04:05.678Z")
    const dated = codec.encodeUnsafe(new CheckedOut({ at }))
    assert.deepStrictEqual(JSON.parse(textOf(dated.bytes)), { _tag: "CheckedOut", at: "2026-01-02T03:04:05.678Z" })
    assert.strictEqual(codec.encodeUnsafe(new Renamed({ name: "x" })).manifest, "json.sluice/Renamed")
    assert.strictEqual(codec.encodeUnsafe(Emptied.make({ count: 5n })).manifest, "json.sluice/Emptied")
  })

  it("reads classes as instances, and structs as they are", () => {
    const added = codec.decodeUnsafe(codec.encodeUnsafe(new ItemAdded({ sku: "tea", quantity: 2 })))
    assert.instanceOf(added, ItemAdded)
    const renamed = codec.decodeUnsafe(codec.encodeUnsafe(new Renamed({ name: "x" })))
    assert.instanceOf(renamed, Renamed)
    const emptied = codec.decodeUnsafe(codec.encodeUnsafe(Emptied.make({ count: 2n ** 70n })))
    assert.deepStrictEqual(emptied, { _tag: "Emptied", count: 2n ** 70n })
  })

  const Any = Schema.Union([ItemAdded, CheckedOut, Renamed, Moved, Emptied])
  // but for the sign of zero, which JSON does not have
  const same = Schema.toEquivalence(Any)

  it.prop("reads what it has written", [Any], ([event]) => {
    const read = codec.decodeUnsafe(codec.encodeUnsafe(event))
    assert.isTrue(same(read, event))
    for (const Class of [ItemAdded, CheckedOut, Renamed]) {
      assert.strictEqual(read instanceof Class, event instanceof Class)
    }
  })

  it("reads a member of a union as an event of its own", () => {
    const alone = EventCodec.json(ItemAdded)
    const event = new ItemAdded({ sku: "tea", quantity: 2 })
    assert.deepStrictEqual(alone.decodeUnsafe(codec.encodeUnsafe(event)), event)
  })

  it("reads JSON with more fields than it knows", () => {
    const bytes = bytesOf(`{"_tag":"ItemAdded","sku":"tea","quantity":2,"since":"version 3"}`)
    assert.deepStrictEqual(
      codec.decodeUnsafe({ manifest: "json.sluice/ItemAdded", bytes }),
      new ItemAdded({ sku: "tea", quantity: 2 })
    )
  })

  it("throws at a manifest that it does not know, and says which it does", () => {
    const { bytes } = codec.encodeUnsafe(new ItemAdded({ sku: "tea", quantity: 2 }))
    for (const manifest of ["json.sluice/Other", "json.sluice/ItemAdded#2", "ItemAdded", "", "ser.akka.io/20"]) {
      assert.throws(() => codec.decodeUnsafe({ manifest, bytes }), TypeError, "json.sluice/ItemAdded")
    }
  })

  it("throws at bytes that are not what the manifest promises", () => {
    const wrong = [
      bytesOf(""),
      bytesOf("{"),
      bytesOf("null"),
      bytesOf(`{"_tag":"ItemAdded","sku":"tea"}`),
      bytesOf(`{"_tag":"ItemAdded","sku":"tea","quantity":"2"}`),
      bytesOf(`{"_tag":"CheckedOut","sku":"tea","quantity":2}`),
      // not UTF-8
      Uint8Array.from([...bytesOf(`{"_tag":"ItemAdded","sku":"`), 0xff, ...bytesOf(`","quantity":2}`)])
    ]
    for (const bytes of wrong) assert.throws(() => codec.decodeUnsafe({ manifest: "json.sluice/ItemAdded", bytes }))
  })

  it("throws at an event that is none of its members", () => {
    const other: any = { _tag: "Other" }
    for (const event of [other, null, undefined, "text", {}, { _tag: "ItemAdded", sku: 1 }]) {
      assert.throws(() => codec.encodeUnsafe(event))
    }
  })

  it("reads and writes the same, and refuses the same, where the process may not generate code", () => {
    const file = fileURLToPath(new URL("./decodeMany.ts", import.meta.url))
    const printed = (...flags: ReadonlyArray<string>) =>
      execFileSync(process.execPath, [...flags, "--conditions=@sluice/source", file], { encoding: "utf8" })
    const compiled = printed()
    assert.strictEqual(printed("--disallow-code-generation-from-strings"), compiled)
    for (const text of ["Ordered { ", "_tag: 'Paid'", "Missing key", "Expected array"]) assert.include(compiled, text)
  })

  it("is refused where a member has no name, or one that another has", () => {
    assert.throws(() => EventCodec.json(Schema.Struct({ a: Schema.String })), TypeError)
    assert.throws(() => EventCodec.json(Schema.Struct({ a: Schema.String }).annotate({ identifier: "" })), TypeError)
    assert.throws(() => EventCodec.json(Schema.TaggedStruct("a#2", {})), TypeError)
    const twice = Schema.TaggedStruct("ItemAdded", { other: Schema.String })
    assert.throws(() => EventCodec.json(Schema.Union([ItemAdded, twice])), TypeError, "ItemAdded")
    const named = Schema.Struct({ a: Schema.String }).annotate({ identifier: "ItemAdded" })
    assert.throws(() => EventCodec.json(Schema.Union([ItemAdded, named])), TypeError, "ItemAdded")
  })

  describe("of events that changed", () => {
    const V1 = Schema.TaggedStruct("ItemAdded", { sku: Schema.String }).pipe(
      Schema.decodeTo(
        Schema.toType(ItemAdded),
        SchemaTransformation.transform({
          decode: ({ sku }) => new ItemAdded({ sku, quantity: 1 }),
          encode: ({ sku }) => ({ _tag: "ItemAdded" as const, sku })
        })
      )
    )
    const V2 = Schema.TaggedStruct("ItemAdded", { product: Schema.String, quantity: Schema.Int }).pipe(
      Schema.decodeTo(
        Schema.toType(ItemAdded),
        SchemaTransformation.transform({
          decode: ({ product, quantity }) => new ItemAdded({ sku: product, quantity }),
          encode: ({ quantity, sku }) => ({ _tag: "ItemAdded" as const, product: sku, quantity })
        })
      )
    )
    const changed = EventCodec.json(Schema.Union([ItemAdded, CheckedOut]), { versions: { ItemAdded: [V1, V2] } })
    const read = (manifest: string, json: unknown) =>
      changed.decodeUnsafe({ manifest: `json.sluice/${manifest}`, bytes: bytesOf(JSON.stringify(json)) })

    it("writes the newest version", () => {
      const payload = changed.encodeUnsafe(new ItemAdded({ sku: "tea", quantity: 2 }))
      assert.strictEqual(payload.manifest, "json.sluice/ItemAdded#3")
      assert.deepStrictEqual(JSON.parse(textOf(payload.bytes)), { _tag: "ItemAdded", sku: "tea", quantity: 2 })
      const at = DateTime.makeUnsafe(0)
      assert.strictEqual(changed.encodeUnsafe(new CheckedOut({ at })).manifest, "json.sluice/CheckedOut")
    })

    it("reads every version as today's event", () => {
      const first = read("ItemAdded", { _tag: "ItemAdded", sku: "tea" })
      assert.instanceOf(first, ItemAdded)
      assert.deepStrictEqual(first, new ItemAdded({ sku: "tea", quantity: 1 }))
      assert.deepStrictEqual(
        read("ItemAdded#2", { _tag: "ItemAdded", product: "tea", quantity: 3 }),
        new ItemAdded({ sku: "tea", quantity: 3 })
      )
      assert.deepStrictEqual(
        read("ItemAdded#3", { _tag: "ItemAdded", sku: "tea", quantity: 4 }),
        new ItemAdded({ sku: "tea", quantity: 4 })
      )
      assert.throws(() => read("ItemAdded#4", { _tag: "ItemAdded", sku: "tea", quantity: 4 }), TypeError)
      assert.throws(() => read("ItemAdded#1", { _tag: "ItemAdded", sku: "tea" }), TypeError)
      // a version that was written by the other's schema
      assert.throws(() => read("ItemAdded", { _tag: "ItemAdded", product: "tea", quantity: 3 }))
    })

    it("refuses versions of an event that it does not have", () => {
      assert.throws(() => EventCodec.json(CheckedOut, { versions: { ItemAdded: [] } }), TypeError, "ItemAdded")
    })
  })

  it("writes an event that fits two structs with all of its fields", () => {
    const Small = Schema.Struct({ a: Schema.String }).annotate({ identifier: "Small" })
    const Large = Schema.Struct({ a: Schema.String, b: Schema.String }).annotate({ identifier: "Large" })
    const codec = EventCodec.json(Schema.Union([Small, Large]))
    const event = { a: "x", b: "y" }
    assert.deepStrictEqual(codec.decodeUnsafe(codec.encodeUnsafe(event)), event)
  })
})

describe("EventCodec.string", () => {
  it("writes UTF-8 under the manifest of Akka's serializer", () => {
    const payload = EventCodec.string.encodeUnsafe("tea ☕")
    assert.strictEqual(payload.manifest, "ser.akka.io/20")
    assert.deepStrictEqual([...payload.bytes], [0x74, 0x65, 0x61, 0x20, 0xe2, 0x98, 0x95])
  })

  const WellFormed = Schema.String.check(
    Schema.makeFilter((text) => text.isWellFormed())
  )

  it.prop("reads what it has written", [WellFormed], ([text]) => {
    assert.strictEqual(EventCodec.string.decodeUnsafe(EventCodec.string.encodeUnsafe(text)), text)
  })

  it("throws at what is not UTF-8, and at another manifest", () => {
    assert.throws(() => EventCodec.string.decodeUnsafe({ manifest: "ser.akka.io/20", bytes: Uint8Array.of(0xff) }))
    assert.throws(() => EventCodec.string.decodeUnsafe({ manifest: "json.sluice/X", bytes: bytesOf("x") }), TypeError)
  })

  it("reads a leading byte order mark as what it is: a character", () => {
    const text = "\ufeffa"
    assert.strictEqual(EventCodec.string.decodeUnsafe(EventCodec.string.encodeUnsafe(text)), text)
  })

  it("throws at a string that UTF-8 cannot hold", () => {
    assert.throws(() => EventCodec.string.encodeUnsafe("half an emoji: \ud83d"))
  })
})

describe("EventCodec.make", () => {
  it("is a codec of one's own", () => {
    const codec = EventCodec.make<number>({
      name: "byte",
      encode: (n) => ({ manifest: "test/byte", bytes: Uint8Array.of(n) }),
      decode: ({ bytes }) => bytes[0]!
    })
    assert.strictEqual(codec.name, "byte")
    assert.strictEqual(codec.decodeUnsafe(codec.encodeUnsafe(7)), 7)
  })
})
