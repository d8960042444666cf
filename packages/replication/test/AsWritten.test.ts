import { create } from "@bufbuild/protobuf"
import { StringValueSchema } from "@bufbuild/protobuf/wkt"
import { assert, describe, it } from "@effect/vitest"
import * as EventCodec from "@sluice/core/EventCodec"
import * as AkkaCodecs from "@sluice/replication/AkkaCodecs"
import * as Schema from "effect/Schema"
import { asWritten } from "../src/internal/asWritten.ts"

const text = (text: string) => new TextEncoder().encode(text)

describe("an event of another replica", () => {
  const Added = Schema.TaggedStruct("Added", { text: Schema.String })

  it("is kept as it was written, with what is not read here", () => {
    const codec = asWritten(EventCodec.json(Added))
    const payload = { manifest: "json.sluice/Added", bytes: text(`{"colour":"red","text":"a","_tag":"Added"}`) }
    for (let i = 0; i < 2; i++) {
      const read = codec.decodeUnsafe(payload)
      assert.deepStrictEqual(read, { event: { _tag: "Added", text: "a" }, payload })
      assert.strictEqual(codec.encodeUnsafe(read), payload)
    }
  })

  it("has the manifest that is written here, where its bytes are the same under another one", () => {
    const own = AkkaCodecs.protobuf({ "com.google.protobuf.StringValue": StringValueSchema })
    const codec = asWritten(own)
    const event = create(StringValueSchema, { value: "a" })
    const encoded = own.encodeUnsafe(event)
    const fromAkka = { manifest: "type.googleapis.com/google.protobuf.StringValue", bytes: encoded.bytes }
    assert.deepStrictEqual(codec.decodeUnsafe(fromAkka).payload, encoded)
    // a field that is not known here
    const later = { ...fromAkka, bytes: Uint8Array.from([...encoded.bytes, 0x10, 0x01]) }
    const kept = codec.decodeUnsafe(later).payload
    assert.deepStrictEqual([...kept.bytes], [...later.bytes])
  })

  it("is kept as it was written by a codec that reads more than it writes", () => {
    const codec = asWritten(EventCodec.make<string>({
      name: "old",
      decode: ({ bytes }) => new TextDecoder().decode(bytes),
      encode: () => {
        throw new Error("not written any more")
      }
    }))
    const payload = { manifest: "old", bytes: text("a") }
    assert.deepStrictEqual(codec.decodeUnsafe(payload), { event: "a", payload })
  })
})
