import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import { AnySchema, StringValueSchema } from "@bufbuild/protobuf/wkt"
import { assert, describe, it } from "@effect/vitest"
import { type EncodedEnvelope, nothing } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import * as ProtobufCodec from "@sluice/grpc/ProtobufCodec"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { ReplicatedEventMetadataSchema } from "../src/internal/generated/akka/persistence/typed/replication_pb.ts"
import {
  EventSchema,
  StreamInSchema,
  StreamOutSchema
} from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { readEvent } from "../src/internal/wire/eventReader.ts"
import { integer } from "../src/internal/wire/integer.ts"
import {
  fromSlicePositions,
  fromTimestampMessage,
  toSlicePositions,
  toTimestampMessage
} from "../src/internal/wire/messages.ts"
import { decode, encode } from "../src/internal/wire/methods.ts"
import { decodeReplication, encodeReplication } from "../src/internal/wire/replication.ts"
import { envelopes, text, upTo } from "./kit/Envelopes.ts"
import { envelopeOf, toStreamOut } from "./kit/Generated.ts"
import { placeOf } from "./kit/RawClient.ts"
import * as Recording from "./kit/Recording.ts"
import { encodeStreamOut } from "./kit/Wire.ts"

const recordings = ["string", "protobuf"] as const

describe("what the JVM peers sent", () => {
  it.for(recordings)("decodes and encodes to the same bytes (%s)", (name) => {
    let messages = 0
    for (const { answers, requests } of Recording.read(name)) {
      for (const bytes of requests) {
        messages++
        assert.deepStrictEqual(encode(StreamInSchema, decode(StreamInSchema, bytes)), Buffer.from(bytes))
      }
      for (const { bytes } of answers) {
        messages++
        assert.deepStrictEqual(encode(StreamOutSchema, decode(StreamOutSchema, bytes)), Buffer.from(bytes))
      }
    }
    assert.isAbove(messages, 70, "the recording is not empty")
  })

  it.for(recordings)("becomes envelopes with the place of the event (%s)", (name) => {
    for (const { answers } of Recording.read(name)) {
      for (const { event, message } of answers) {
        const envelope = envelopeOf(message)
        assert.strictEqual(envelope.persistenceId, event.persistenceId)
        assert.strictEqual(envelope.sequenceNumber, Number(event.seqNr))
        assert.strictEqual(envelope.slice, event.slice, "our hash is theirs")
        assert.strictEqual(envelope.slice, Slice.ofPersistenceId(event.persistenceId))
        assert.strictEqual(envelope.timestamp, Recording.timestampOf(event))
        assert.isTrue(Number.isSafeInteger(envelope.timestamp))
        assert.isUndefined(envelope.position)
        assert.deepStrictEqual(envelope.metadata, {})
      }
    }
  })

  it.for(recordings)("keeps tags, and payloads but those of backtracking (%s)", (name) => {
    for (const { answers } of Recording.read(name)) {
      for (const { event, message } of answers) {
        const envelope = envelopeOf(message)
        assert.strictEqual(envelope.payload === undefined, event.source === "BT")
        const n = Number(event.persistenceId.slice("Cart|entity-".length))
        assert.deepStrictEqual(envelope.tags, [n % 2 === 0 ? "even" : "odd"])
      }
    }
  })

  it("decodes to strings, as Akka's own serializer wrote them", () => {
    const events = Recording.events(Recording.read("string"))
    assert.strictEqual(events.length, 40)
    for (const event of events) {
      const { payload } = envelopeOf({ message: { case: "event", value: event } })
      const text = EventCodec.string.decodeUnsafe(payload!)
      assert.strictEqual(JSON.parse(text).n, Number(event.seqNr))
      assert.deepStrictEqual(EventCodec.string.encodeUnsafe(text), payload)
    }
  })

  it("decodes to the protobuf messages that were written", () => {
    const codec = ProtobufCodec.make([StringValueSchema])
    const events = Recording.events(Recording.read("protobuf"))
    assert.strictEqual(events.length, 40)
    for (const event of events) {
      const { payload } = envelopeOf({ message: { case: "event", value: event } })
      const message = codec.decodeUnsafe(payload!)
      assert.strictEqual(JSON.parse(message.value).n, Number(event.seqNr))
      assert.deepStrictEqual(codec.encodeUnsafe(message), payload)
    }
  })

  it.for(recordings)("names in the offset that a consumer resumes from an event that it was sent (%s)", (name) => {
    const exchanges = Recording.read(name)
    const written = new Map(
      Recording.events(exchanges).map((event) => [`${event.persistenceId} ${event.seqNr}`, event])
    )
    const resumed = exchanges.filter(({ init }) => init.offset.length > 0)
    assert.isNotEmpty(resumed)
    for (const { init } of resumed) {
      const [{ seen: [seen], timestamp }] = init.offset as [typeof init.offset[number]]
      const event = written.get(`${seen!.persistenceId} ${seen!.seqNr}`)!
      assert.strictEqual(fromTimestampMessage(timestamp!), Recording.timestampOf(event))
    }
  })
})

describe("timestamps", () => {
  it.prop("survive the way through seconds and nanoseconds", [Schema.Int], ([n]) => {
    const timestamp = Timestamp.make(Math.abs(n))
    assert.strictEqual(fromTimestampMessage(toTimestampMessage(timestamp)), timestamp)
  })

  it.for([0, 1, 999_999, 1_000_000, 1_795_414_260_246_181, Number.MAX_SAFE_INTEGER])("of %d µs survive", (n) => {
    const message = toTimestampMessage(Timestamp.make(n))
    assert.isAtMost(message.nanos, 999_999_999)
    assert.strictEqual(fromTimestampMessage(message), n)
  })

  it("finer than a microsecond are cut", () => {
    assert.strictEqual(fromTimestampMessage({ ...toTimestampMessage(Timestamp.make(5)), nanos: 5999 }), 5)
  })

  it.for([-1n, 9_007_199_255n, 2n ** 62n])("of %d seconds are refused", (seconds) => {
    assert.throws(() => fromTimestampMessage({ ...toTimestampMessage(Timestamp.make(0)), seconds }), RangeError)
  })
})

describe("integers", () => {
  it("that a double keeps exactly pass, and larger ones are refused", () => {
    assert.strictEqual(integer(BigInt(Number.MAX_SAFE_INTEGER)), Number.MAX_SAFE_INTEGER)
    assert.strictEqual(integer(-5n), -5)
    assert.throws(() => integer(2n ** 53n), /9007199254740992/)
    assert.throws(() => integer(2n ** 63n - 1n), RangeError)
  })
})

describe("slice positions", () => {
  it.prop("survive the way over the wire", [
    Schema.Array(Schema.Tuple([
      Slice.Slice,
      Schema.Struct({ position: Position.Position, timestamp: Timestamp.Timestamp })
    ]))
  ], ([entries]) => {
    const offsets = new Map(entries)
    assert.deepStrictEqual([...fromSlicePositions(toSlicePositions(offsets))], [...offsets])
  })

  it("outside of the slices, or below 0, are refused", () => {
    const [position] = toSlicePositions(new Map([[Slice.make(7), Offset.make(3, 5)]]))
    assert.throws(() => fromSlicePositions([{ ...position!, slice: 1024 }]), RangeError)
    assert.throws(() => fromSlicePositions([{ ...position!, position: -1n }]), RangeError)
    assert.throws(() => fromSlicePositions([{ ...position!, timestamp: 2n ** 60n }]), RangeError)
  })
})

const overTheWire = (envelope: EncodedEnvelope): EncodedEnvelope => readEvent(encodeStreamOut(envelope))

const example: EncodedEnvelope = {
  persistenceId: PersistenceId.make("Cart", "c-1"),
  sequenceNumber: SequenceNumber.make(1),
  slice: Slice.ofPersistenceId("Cart|c-1"),
  position: Position.make(1),
  timestamp: Timestamp.make(1),
  ...nothing,
  payload: { manifest: "test/x", bytes: new Uint8Array([1]) }
}

describe("an envelope", () => {
  it.prop("comes out of StreamOut as it went in", [envelopes], ([envelope]) => {
    assert.deepStrictEqual(overTheWire(envelope), envelope)
  }, { arbitrary: { runs: 500 } })

  it.for<[string, Partial<EncodedEnvelope>]>([
    ["without bytes", { payload: { manifest: "test/x", bytes: new Uint8Array() } }],
    ["without a manifest", { payload: { manifest: "", bytes: new Uint8Array() } }],
    ["with metadata named like a prototype", { metadata: JSON.parse(`{"__proto__":"a","constructor":"b","":"c"}`) }],
    ["with an empty tag", { tags: ["", "a", "a"] }],
    ["that is filtered", { payload: undefined }],
    ["without a position", { position: undefined }],
    ["at the largest numbers", {
      sequenceNumber: SequenceNumber.make(Number.MAX_SAFE_INTEGER),
      position: Position.make(Number.MAX_SAFE_INTEGER),
      timestamp: Timestamp.make(Number.MAX_SAFE_INTEGER)
    }]
  ])("%s comes out as it went in", ([, change]) => {
    const envelope = { ...example, ...change }
    assert.deepStrictEqual(overTheWire(envelope), envelope)
    assert.deepStrictEqual(Object.keys(overTheWire(envelope).metadata), Object.keys(envelope.metadata))
  })

  it("has one offset, which names the event itself, as JVM consumers need it", () => {
    for (const envelope of [example, { ...example, payload: undefined }]) {
      const { offset } = placeOf(toStreamOut(envelope))
      assert.lengthOf(offset, 1)
      assert.deepStrictEqual(
        offset[0]!.seen.map(({ persistenceId, seqNr }) => [persistenceId, seqNr]),
        [["Cart|c-1", 1n]]
      )
      assert.isUndefined(offset[0]!.slice)
    }
  })

  it("is a filtered_event without a payload, as a JVM consumer would ask for the event again", () => {
    assert.strictEqual(toStreamOut({ ...example, payload: undefined }).message.case, "filteredEvent")
  })
})

const event = (change: object) => {
  const { message } = toStreamOut(example)
  const value = create(EventSchema, { ...message.value as any, ...change })
  return fromBinary(
    StreamOutSchema,
    toBinary(StreamOutSchema, create(StreamOutSchema, { message: { case: "event", value } }))
  )
}

describe("a message that is not what the protocol promises is refused:", () => {
  it.for<[string, object]>([
    ["no offset", { offset: [] }],
    ["an offset without a timestamp", { offset: [{ seen: [] }] }],
    ["no persistence id", { persistenceId: "" }],
    ["a persistence id without a type", { persistenceId: "c-1" }],
    ["a sequence number above 2^53", { seqNr: 2n ** 53n }],
    ["a negative sequence number", { seqNr: -1n }],
    ["a negative position", { sluicePosition: -1n }],
    ["metadata that is no JSON", {
      metadata: create(AnySchema, { typeUrl: "json.sluice/metadata", value: Buffer.from("{") })
    }],
    ["metadata that is no record of texts", {
      metadata: create(AnySchema, { typeUrl: "json.sluice/metadata", value: Buffer.from(`{"a":1}`) })
    }]
  ])("%s", ([, change]) => {
    assert.throws(() => envelopeOf(event(change)))
  })

  it("neither an event nor a filtered event", () => {
    assert.throws(() => envelopeOf(decode(StreamOutSchema, new Uint8Array())), /neither/)
    // a field of a later version
    assert.throws(() => envelopeOf(decode(StreamOutSchema, new Uint8Array([0x1a, 0x00]))), /neither/)
  })

  it("but metadata of another kind is kept as it is, and so is what is not what its type URL promises", () => {
    for (const typeUrl of ["ser.akka.io/31:cart.Meta", "ser.akka.io/34:M", "ser.akka.io/40:RE", ""]) {
      const message = event({ metadata: create(AnySchema, { typeUrl, value: new Uint8Array([1]) }) })
      const { foreignMetadata, metadata, replication } = envelopeOf(message)
      assert.deepStrictEqual([metadata, replication], [{}, undefined])
      assert.deepStrictEqual(foreignMetadata, { manifest: typeUrl, bytes: new Uint8Array([1]) })
    }
  })

  it("and the slice is computed, whatever the peer says", () => {
    assert.strictEqual(envelopeOf(event({ slice: 5 })).slice, Slice.ofPersistenceId("Cart|c-1"))
  })
})

describe("where the event of a replicated entity comes from", () => {
  // as Akka writes it: origin DCA, number 300, version {DCA: 300, DCB: 2}, not concurrent
  const bytes = Buffer.from("0a0344434110ac021a130a080a0344434110ac020a070a0344434210022000", "hex")
  const replication = {
    origin: "DCA",
    originSequenceNumber: SequenceNumber.make(300),
    version: new Map([["DCA", SequenceNumber.make(300)], ["DCB", SequenceNumber.make(2)]]),
    concurrent: false
  }

  it("is what Akka says", () => {
    const metadata = create(AnySchema, { typeUrl: "ser.akka.io/40:RE", value: bytes })
    const found = envelopeOf(event({ metadata }))
    assert.deepStrictEqual(found.replication, replication)
    assert.isUndefined(found.foreignMetadata)
    const { message } = decode(StreamOutSchema, encodeStreamOut(found))
    assert.deepStrictEqual((message.value as any).metadata, metadata)
  })

  it("comes with the time of its decision from another Sluice service", () => {
    // field 1001 behind what Akka has: 300
    const value = Buffer.concat([bytes, Buffer.from("c83eac02", "hex")])
    const found = envelopeOf(event({ metadata: create(AnySchema, { typeUrl: "ser.akka.io/40:RE", value }) }))
    assert.deepStrictEqual(found.replication, { ...replication, time: Timestamp.make(300) })
    const { message } = decode(StreamOutSchema, encodeStreamOut(found))
    assert.deepStrictEqual(Buffer.from((message.value as any).metadata.value), value)
  })

  it.for<[string, string]>([
    ["a number above 2^53", "0a0344434110ffffffffffffff7f1a002000"],
    ["a field of a later version", `${bytes.toString("hex")}2801`],
    ["a replica twice", "0a0344434110031a120a070a0344434110030a070a0344434110022000"],
    ["a number in more bytes than it needs", "0a034443411083001a002000"],
    ["text that is no UTF-8", "0a01ff10031a002000"],
    ["fields in another order", "10030a034443411a002000"],
    ["something behind the last field", "0a0344434110031a0020000000"],
    ["a vector that goes beyond the end", "0a0344434110031a052000"],
    ["neither true nor false", "0a0344434110031a002002"],
    ["nothing that is required", ""]
  ])("is foreign metadata with %s", ([, hex]) => {
    const value = new Uint8Array(Buffer.from(hex, "hex"))
    const found = envelopeOf(event({ metadata: create(AnySchema, { typeUrl: "ser.akka.io/40:RE", value }) }))
    assert.isUndefined(found.replication)
    assert.deepStrictEqual(found.foreignMetadata, { manifest: "ser.akka.io/40:RE", bytes: value })
  })

  const replications = Arbitrary.all({
    origin: text,
    number: upTo(Number.MAX_SAFE_INTEGER),
    version: Arbitrary.array(Arbitrary.all([text, upTo(Number.MAX_SAFE_INTEGER)])),
    small: upTo(300),
    time: upTo(2)
  }).pipe(Arbitrary.map(({ number, origin, small, time, version }): ReplicationMetadata => ({
    origin,
    originSequenceNumber: SequenceNumber.make(small % 2 === 0 ? small : number),
    version: new Map(version.map(([replica, number]) => [replica, SequenceNumber.make(number)])),
    concurrent: small % 3 === 0,
    ...(time > 0 && { time: Timestamp.make(time === 1 ? small : number) })
  })))

  it.prop("has the bytes that generated code writes, and is read from them", [replications], ([replication]) => {
    const { concurrent, origin, originSequenceNumber, time, version } = replication
    const generated = toBinary(
      ReplicatedEventMetadataSchema,
      create(ReplicatedEventMetadataSchema, {
        originReplica: origin,
        originSequenceNr: BigInt(originSequenceNumber),
        versionVector: { entries: Array.from(version, ([key, version]) => ({ key, version: BigInt(version) })) },
        concurrent,
        ...(time !== undefined && { sluiceTime: BigInt(time) })
      })
    )
    assert.deepStrictEqual(new Uint8Array(encodeReplication(replication)), generated)
    assert.deepStrictEqual(decodeReplication(generated), replication)
  })

  it.prop(
    "is read from no other bytes than it is written as",
    [replications, upTo(1_000), upTo(255), upTo(2)],
    ([replication, at, byte, way]) => {
      const bytes = Buffer.from(encodeReplication(replication))
      const place = at % bytes.length
      const changed = way === 0
        ? bytes.subarray(0, place)
        : way === 1
        ? Buffer.concat([bytes.subarray(0, place), Buffer.from([byte]), bytes.subarray(place)])
        : bytes
      if (way === 2) changed[place] = byte
      const decoded = decodeReplication(changed)
      if (decoded !== undefined) {
        assert.deepStrictEqual(new Uint8Array(encodeReplication(decoded)), new Uint8Array(changed))
      }
    }
  )
})

describe("a protobuf codec", () => {
  const codec = ProtobufCodec.make([StringValueSchema])

  it.prop("reads what it writes", [text], ([value]) => {
    assert.strictEqual(codec.decodeUnsafe(codec.encodeUnsafe(create(StringValueSchema, { value }))).value, value)
  })

  it("refuses a manifest that it does not know, and names those that it does", () => {
    assert.throws(
      () => codec.decodeUnsafe({ manifest: "type.googleapis.com/google.protobuf.Int32Value", bytes: new Uint8Array() }),
      /Int32Value' is unknown here; this codec knows type.googleapis.com\/google.protobuf.StringValue/
    )
  })

  it("refuses a message of a type that it was not made for", () => {
    assert.throws(() => codec.encodeUnsafe(create(AnySchema) as any), /google.protobuf.Any' is unknown here/)
  })

  it("refuses bytes that are no message of the type", () => {
    const { manifest } = codec.encodeUnsafe(create(StringValueSchema))
    assert.throws(() => codec.decodeUnsafe({ manifest, bytes: new Uint8Array([0x0a, 0xff]) }))
  })
})
