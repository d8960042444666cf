import { fromBinary } from "@bufbuild/protobuf"
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire"
import { assert, describe, it } from "@effect/vitest"
import type { EncodedElement, EncodedEnvelope, Skipped } from "@sluice/core/Envelope"
import { isSkipped, skipped } from "@sluice/core/Envelope"
import * as Position from "@sluice/core/Position"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import { unframe } from "@sluice/grpc/Call"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { isFull } from "../../testing/src/internal/isFull.ts"
import { StreamOutSchema } from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { bufferOf } from "../src/internal/wire/bufferOf.ts"
import { readEvent, readEvents, readStreamOut } from "../src/internal/wire/eventReader.ts"
import { batchPieces } from "../src/internal/wire/frames.ts"
import { fromStreamOut } from "../src/internal/wire/messages.ts"
import { encode } from "../src/internal/wire/methods.ts"
import { envelopes, upTo } from "./kit/Envelopes.ts"
import * as FakeSource from "./kit/FakeSource.ts"
import { envelopeOf, toBatch, toRepetition, toSkipped, toStreamOut, withoutSeen } from "./kit/Generated.ts"
import * as Soup from "./kit/Soup.ts"
import { encodeStreamOut } from "./kit/Wire.ts"

describe("an event is written as the generated code writes it", () => {
  it.prop("byte by byte", [envelopes], ([envelope]) => {
    assert.deepStrictEqual(encodeStreamOut(envelope), encode(StreamOutSchema, toStreamOut(envelope)))
  }, { arbitrary: { runs: 1000 } })

  it.prop("and so is a repetition", [envelopes], ([envelope]) => {
    assert.deepStrictEqual(encodeStreamOut(envelope, true), encode(StreamOutSchema, toRepetition(envelope)))
  }, { arbitrary: { runs: 500 } })

  it.prop("at every length of its texts", [envelopes, Schema.Int], ([envelope, n]) => {
    const long = (text: string) => text + "x".repeat(Math.abs(n) % 20_000)
    const longer: EncodedEnvelope = {
      ...envelope,
      tags: envelope.tags.map(long),
      payload: envelope.payload && { manifest: long(envelope.payload.manifest), bytes: Buffer.from(long("")) }
    }
    assert.deepStrictEqual(encodeStreamOut(longer), encode(StreamOutSchema, toStreamOut(longer)))
  })
})

const ranges: Arbitrary.Arbitrary<Skipped> = Arbitrary.all({
  slice: upTo(1023),
  from: upTo(1_000_000),
  length: upTo(Number.MAX_SAFE_INTEGER - 1_000_001),
  timestamp: upTo(Number.MAX_SAFE_INTEGER),
  deferred: upTo(1)
}).pipe(Arbitrary.map(({ deferred, from, length, slice, timestamp }): Skipped =>
  skipped(
    Slice.make(slice),
    Position.make(from + 1),
    Position.make(from + 1 + length),
    timestamp % 3 === 0 ? undefined : Timestamp.make(timestamp),
    deferred === 1
  )
))

/** Envelopes, and before some of them what was left out. */
const feeds: Arbitrary.Arbitrary<ReadonlyArray<EncodedElement>> = Arbitrary.array(
  Arbitrary.all({ envelope: envelopes, range: ranges, which: upTo(2) })
).pipe(
  Arbitrary.map((parts) =>
    parts.flatMap(({ envelope, range, which }) => [[envelope], [range, envelope], [range]][which]!)
  )
)

const piecesOf = (elements: ReadonlyArray<EncodedElement>): ReadonlyArray<Buffer> => {
  const pieces = batchPieces(elements)
  const messages: Array<Buffer> = []
  for (let next = pieces.next(); next !== undefined; next = pieces.next()) messages.push(...unframe(next).map(bufferOf))
  return messages
}

describe("a batch", () => {
  it.prop("is written as the generated code writes it, byte by byte", [feeds], ([elements]) => {
    const messages = elements.map((element) =>
      isSkipped(element) ? toSkipped(element) : withoutSeen(toStreamOut(element))
    )
    const [message, ...more] = piecesOf(elements)
    assert.isEmpty(more)
    assert.deepStrictEqual(message, messages.length === 0 ? undefined : encode(StreamOutSchema, toBatch(messages)))
  }, { arbitrary: { runs: 300 } })

  it.prop("is read as it was written", [feeds], ([elements]) => {
    const read: Array<EncodedElement> = []
    for (const message of piecesOf(elements)) readStreamOut(within(message), read)
    assert.deepStrictEqual(read, [...elements])
  }, { arbitrary: { runs: 300 } })

  it("says what is left out for now, and what for good, as the generated code reads it", () => {
    const range = skipped(Slice.make(0), Position.make(3), Position.make(4), undefined)
    const elements = [{ ...range, isDeferred: true }, range]
    for (const message of piecesOf(elements)) {
      const read: Array<EncodedElement> = []
      fromStreamOut(fromBinary(StreamOutSchema, message), read)
      assert.deepStrictEqual(read, elements)
    }
  })

  it("is of no more than some events, and some bytes", () => {
    for (const [count, size] of [[2000, 1], [2000, 1000], [10, 100_000], [3, 4_000_000]] as const) {
      const elements = Array.from({ length: count }, (_, i) => FakeSource.event(i + 1, "x".repeat(size)))
      const read: Array<EncodedElement> = []
      for (const message of piecesOf(elements)) {
        const before = read.length
        readStreamOut(message, read)
        assert.isAtMost(read.length - before, 500)
        assert.isTrue(message.length < 1024 * 1024 || read.length - before === 1)
      }
      assert.lengthOf(read, count)
    }
  })

  it.prop("is what its elements are, whatever other streams have written of them", [
    Arbitrary.array(Arbitrary.all({ from: upTo(40), length: upTo(30) }))
  ], ([parts]) => {
    // every fourth fills a piece almost by itself
    const all = Array.from({ length: 70 }, (_, i) => FakeSource.event(i + 1, "x".repeat(i % 4 === 0 ? 30_000 : i)))
    for (const { from, length } of parts) {
      const elements = all.slice(from, from + length)
      const read: Array<EncodedElement> = []
      for (const message of piecesOf(elements)) readStreamOut(within(message), read)
      assert.deepStrictEqual(read, [...elements])
    }
  }, { arbitrary: { runs: 100 } })

  it("is encoded once for all streams that are given the same", () => {
    const [one, two, three] = [1, 2, 3].map((n) => FakeSource.event(n, "x"))
    const first = batchPieces([one!, two!]).next()
    assert.strictEqual(batchPieces([one!, two!]).next(), first)
    for (const others of [[one!], [one!, two!, three!], [one!, three!], [two!], [FakeSource.event(1, "x"), two!]]) {
      assert.notStrictEqual(batchPieces(others).next(), first)
    }
    // what a fence shows is of a caller
    assert.notStrictEqual(batchPieces([one!, two!], (element) => element).next(), first)
  })

  it("is refused in a batch", () => {
    const bytes = encode(StreamOutSchema, toBatch([toBatch([])]))
    assert.throws(() => readStreamOut(bytes, []), /a batch in a batch/)
  })

  it("is refused where one event is asked for", () => {
    assert.throws(() => readEvent(encode(StreamOutSchema, toBatch([]))), /not of one event/)
    const [two] = piecesOf([FakeSource.event(1, "1"), FakeSource.event(2, "2")])
    assert.throws(() => readEvent(two!), /not of one event/)
    assert.deepStrictEqual(readEvents([two!, two!]).map(({ sequenceNumber }) => sequenceNumber as number), [1, 2, 1, 2])
    const leftOut = piecesOf([skipped(Slice.make(0), Position.make(3), Position.make(4), undefined)])[0]!
    assert.throws(() => readEvents([two!, leftOut]), /not of events alone/)
  })
})

const outcome = (read: (elements: Array<EncodedElement>) => void): ReadonlyArray<EncodedElement> | "refused" => {
  const elements: Array<EncodedElement> = []
  try {
    read(elements)
    return elements
  } catch {
    return "refused"
  }
}

/** The same bytes in the middle of others, which nobody may read. */
const within = (bytes: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.alloc(3, 0xff), bytes, Buffer.alloc(20, 0x0a)]).subarray(3, 3 + bytes.length)

/** The messages of a batch that has nothing else in it. */
const itemsOf = (bytes: Uint8Array): ReadonlyArray<Uint8Array> | undefined => {
  const items: Array<Uint8Array> = []
  try {
    const outer = new BinaryReader(bytes)
    const [field, type] = outer.tag()
    if (field !== 1001 || type !== WireType.LengthDelimited) return undefined
    const inner = new BinaryReader(outer.bytes())
    if (outer.pos < outer.len) return undefined
    while (inner.pos < inner.len) {
      const [field, type] = inner.tag()
      if (field !== 1 || type !== WireType.LengthDelimited) return undefined
      items.push(inner.bytes())
    }
    return items
  } catch {
    return undefined
  }
}

/** The generated code lets a field reach beyond its message, into what is next to it, so that the messages of a batch are read alone. */
const generated = (bytes: Uint8Array) => (elements: Array<EncodedElement>): void => {
  const items = itemsOf(bytes)
  if (items === undefined) fromStreamOut(fromBinary(StreamOutSchema, bytes), elements)
  else for (const item of items) fromStreamOut(fromBinary(StreamOutSchema, item), elements, true)
}

const seeds = isFull ? 30_000 : 6_000

/** How many of the messages are read, and how many are refused. */
const compare = (make: (random: Soup.Random) => Uint8Array) => {
  const counts = { read: 0, refused: 0 }
  for (let seed = 0; seed < seeds; seed++) {
    const bytes = within(make(Soup.random(seed)))
    const expected = outcome(generated(bytes))
    const actual = outcome((into) => readStreamOut(bytes, into))
    try {
      assert.deepStrictEqual(actual, expected)
    } catch (error) {
      throw new Error(`seed ${seed}: ${Buffer.from(bytes).toString("hex")}`, { cause: error })
    }
    if (expected === "refused") counts.refused++
    else counts.read++
  }
  return counts
}

describe("bytes are read as the generated code reads them, or refused as by it:", () => {
  it.prop("those of any envelope", [envelopes], ([envelope]) => {
    const bytes = encode(StreamOutSchema, toStreamOut(envelope))
    assert.deepStrictEqual(readEvent(within(bytes)), envelopeOf(fromBinary(StreamOutSchema, bytes)))
  }, { arbitrary: { runs: 500 } })

  it("events with fields in any order, missing, repeated, unknown, merged, and of extreme numbers", () => {
    const { read, refused } = compare(Soup.likely)
    assert.isAbove(read, seeds / 10)
    assert.isAbove(refused, seeds / 10)
  })

  it("batches, with anything in them", () => {
    const { read, refused } = compare(Soup.batch)
    assert.isAbove(read, seeds / 10)
    assert.isAbove(refused, seeds / 10)
  })

  it("batches that were cut, joined and damaged", () => {
    const { read, refused } = compare((random) => Soup.damage(random, Soup.batch(random)))
    assert.isAbove(read, seeds / 60)
    assert.isAbove(refused, seeds / 10)
  })

  it("messages that were cut, joined and damaged", () => {
    const { read, refused } = compare((random) => Soup.damage(random, Soup.likely(random)))
    assert.isAbove(read, seeds / 60)
    assert.isAbove(refused, seeds / 10)
  })

  it("fields of every number and wire type where they do not belong", () => {
    const { refused } = compare((random) => Soup.fields(random, 4))
    assert.isAbove(refused, seeds / 10)
  })

  it.prop("every beginning of a message", [envelopes], ([envelope]) => {
    const bytes = encodeStreamOut(envelope)
    for (let length = 0; length < Math.min(bytes.length, 200); length++) {
      const cut = within(bytes.subarray(0, length))
      assert.deepStrictEqual(
        outcome((into) => readStreamOut(cut, into)),
        outcome((into) => fromStreamOut(fromBinary(StreamOutSchema, cut), into))
      )
    }
  }, { arbitrary: { runs: 20 } })

  it("no bytes, and only zeros", () => {
    for (let length = 0; length < 30; length++) {
      assert.strictEqual(outcome((into) => readStreamOut(new Uint8Array(length), into)), "refused")
    }
  })
})
