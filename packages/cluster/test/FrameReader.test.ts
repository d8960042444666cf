import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { encode, FrameReader } from "../src/internal/sockets/FrameReader.ts"

const limit = 200_000

const Frames = Schema.Array(Schema.Struct({
  kind: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 255 })),
  id: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 32 - 1 })),
  size: Schema.Literals([0, 1, 3, 1_000, 5_000, limit])
}))
const Cuts = Schema.Array(Schema.Literals([1, 2, 3, 4, 5, 8, 9, 10, 1_000, 70_000])).check(Schema.isMinLength(1))

describe("frames", () => {
  it.prop("come out as they went in, however their bytes are cut", [Frames, Cuts], ([frames, cuts]) => {
    const sent = frames.map(({ id, kind, size }) => ({ kind, id, body: Buffer.alloc(size, kind) }))
    const bytes = Buffer.concat(sent.map(({ body, id, kind }) => encode(kind, id, body)))
    const reader = new FrameReader(limit)
    const received: Array<unknown> = []
    for (let at = 0, i = 0; at < bytes.byteLength; i++) {
      const end = at + cuts[i % cuts.length]!
      // what a socket reads into may be read into again
      const piece = Buffer.from(bytes.subarray(at, end))
      for (const { body, ...frame } of reader.push(piece)) received.push({ ...frame, body: Buffer.from(body) })
      piece.fill(0)
      at = end
    }
    assert.strictEqual(reader.announced, 0)
    assert.deepStrictEqual(received, sent)
  })

  it("are refused by what they announce, before it has come", () => {
    for (const bytes of [[0x40, 0, 0, 0], [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 4], [0, 0, 0, 0]]) {
      for (const size of [1, 2, 4]) {
        const reader = new FrameReader(limit)
        assert.throws(() => {
          for (let at = 0; at < bytes.length; at += size) reader.push(Buffer.from(bytes.slice(at, at + size)))
        }, RangeError)
      }
    }
    assert.throws(() => new FrameReader(limit).push(Buffer.from("GET / HTTP/1.1\r\n\r\n")), /more than the limit/)
    assert.throws(() => new FrameReader(9).push(encode(4, 1, "ten bytes.")), /a frame with 10 bytes/)
  })

  it("take no more memory than has come of them", () => {
    const before = process.memoryUsage().arrayBuffers
    const readers = Array.from({ length: 100 }, () => {
      const reader = new FrameReader(4 * 1024 * 1024)
      const start = Buffer.alloc(1_000)
      start.writeUInt32BE(4 * 1024 * 1024)
      // byte by byte, none of which is kept as it came
      for (const byte of start) reader.push(Buffer.of(byte))
      return reader
    })
    assert.strictEqual(readers[0]!.announced, 4 + 4 * 1024 * 1024)
    assert.isBelow(process.memoryUsage().arrayBuffers - before, 100 * 16 * 1024)
  })
})
