import { fromBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as Schema from "effect/Schema"
import { readStreamOut } from "../src/internal/eventReader.ts"
import { encodeStreamOut } from "../src/internal/eventWriter.ts"
import { StreamOutSchema } from "../src/internal/generated/akka/projection/grpc/event_producer_pb.ts"
import { fromStreamOut } from "../src/internal/messages.ts"
import { encode } from "../src/internal/methods.ts"
import { envelopes } from "./kit/Envelopes.ts"
import { toRepetition, toStreamOut } from "./kit/Generated.ts"
import * as Soup from "./kit/Soup.ts"

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

const outcome = (read: () => EncodedEnvelope): EncodedEnvelope | "refused" => {
  try {
    return read()
  } catch {
    return "refused"
  }
}

/** The same bytes in the middle of others, which nobody may read. */
const within = (bytes: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.alloc(3, 0xff), bytes, Buffer.alloc(20, 0x0a)]).subarray(3, 3 + bytes.length)

/** How many of the messages are read, and how many are refused. */
const compare = (make: (random: Soup.Random) => Uint8Array, runs: number) => {
  const counts = { read: 0, refused: 0 }
  for (let seed = 0; seed < runs; seed++) {
    const bytes = within(make(Soup.random(seed)))
    const expected = outcome(() => fromStreamOut(fromBinary(StreamOutSchema, bytes)))
    const actual = outcome(() => readStreamOut(bytes))
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
    assert.deepStrictEqual(readStreamOut(within(bytes)), fromStreamOut(fromBinary(StreamOutSchema, bytes)))
  }, { arbitrary: { runs: 500 } })

  it("events with fields in any order, missing, repeated, unknown, merged, and of extreme numbers", () => {
    const { read, refused } = compare(Soup.likely, 30_000)
    assert.isAbove(read, 3000)
    assert.isAbove(refused, 3000)
  })

  it("messages that were cut, joined and damaged", () => {
    const { read, refused } = compare((random) => Soup.damage(random, Soup.likely(random)), 30_000)
    assert.isAbove(read, 500)
    assert.isAbove(refused, 3000)
  })

  it("fields of every number and wire type where they do not belong", () => {
    const { refused } = compare((random) => Soup.fields(random, 4), 30_000)
    assert.isAbove(refused, 3000)
  })

  it.prop("every beginning of a message", [envelopes], ([envelope]) => {
    const bytes = encodeStreamOut(envelope)
    for (let length = 0; length < Math.min(bytes.length, 200); length++) {
      const cut = within(bytes.subarray(0, length))
      assert.deepStrictEqual(
        outcome(() => readStreamOut(cut)),
        outcome(() => fromStreamOut(fromBinary(StreamOutSchema, cut)))
      )
    }
  }, { arbitrary: { runs: 20 } })

  it("no bytes, and only zeros", () => {
    for (let length = 0; length < 30; length++) {
      assert.strictEqual(outcome(() => readStreamOut(new Uint8Array(length))), "refused")
    }
  })
})
