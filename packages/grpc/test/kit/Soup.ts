/** Bytes that are almost StreamOut messages: every field in every wrong place, and messages cut, joined and damaged. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire"

/** Numbers that a seed decides (mulberry32). */
export const random = (seed: number) => {
  let state = seed | 0
  const next = (): number => {
    state = state + 0x6d2b79f5 | 0
    let t = Math.imul(state ^ state >>> 15, 1 | state)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return ((t ^ t >>> 14) >>> 0) / 4294967296
  }
  return {
    below: (n: number): number => Math.floor(next() * n),
    of: <A>(values: ReadonlyArray<A>): A => values[Math.floor(next() * values.length)]!
  }
}

export type Random = ReturnType<typeof random>

const numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 25, 1001, 1002, 1003, 5000, 536870911]
const integers = [0n, 1n, 127n, 128n, 300n, 2n ** 31n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, -1n]
const texts = ["", "Cart|a", "Cart|entity-17", "nothing", "|", "a|", "a|b|c", "é|ü", "😀|x", `Cart|${"x".repeat(90)}`]
const ids = [...texts, `Cart|${"x".repeat(300)}`, `Cart|${"é".repeat(140)}`, `Cart|${"é".repeat(100)}`]
const scalars = [WireType.Varint, WireType.Bit64, WireType.Bit32]

/** Any fields, nested as deep as messages of the protocol are. */
export const fields = (random: Random, depth: number): Uint8Array => {
  const writer = new BinaryWriter()
  for (let n = random.below(depth === 0 ? 5 : 9); n > 0; n--) {
    const number = random.below(4) > 0 ? 1 + random.below(8) : random.of(numbers)
    if (random.below(3) === 0) {
      const type = random.of(scalars)
      writer.tag(number, type)
      if (type === WireType.Bit64) writer.fixed64(7n)
      else if (type === WireType.Bit32) writer.fixed32(7)
      else writer.int64(random.of(integers))
    } else if (random.below(12) === 0) {
      writer.tag(number, WireType.StartGroup).raw(fields(random, 0)).tag(number, WireType.EndGroup)
    } else {
      writer.tag(number, WireType.LengthDelimited)
      if (depth === 0 || random.below(2) === 0) writer.string(random.of(texts))
      else writer.bytes(fields(random, depth - 1))
    }
  }
  return writer.finish()
}

const textField = (writer: BinaryWriter, random: Random, number: number): BinaryWriter => {
  writer.tag(number, WireType.LengthDelimited)
  return random.below(30) === 0
    ? writer.bytes(new Uint8Array([0x61, 0x7c, 0xc3]))
    : writer.string(random.of(number === 1 ? ids : texts))
}

/** An event whose fields are mostly of the right types, in any order, some of them more than once. */
export const likely = (random: Random): Uint8Array => {
  const timestamp = () => {
    const writer = new BinaryWriter()
    for (let n = random.below(3); n > 0; n--) {
      if (random.below(2) === 0) writer.tag(1, WireType.Varint).int64(random.of(integers))
      else writer.tag(2, WireType.Varint).int32(random.of([0, 1000, 999_999_999, 1_000_000_000, -1]))
    }
    return writer.finish()
  }
  const offset = () => {
    const writer = new BinaryWriter()
    if (random.below(8) > 0) writer.tag(1, WireType.LengthDelimited).bytes(timestamp())
    if (random.below(20) === 0) writer.tag(1, WireType.LengthDelimited).bytes(timestamp())
    for (let n = random.below(3); n > 0; n--) {
      writer.tag(2, WireType.LengthDelimited).bytes(
        textField(new BinaryWriter(), random, 1).tag(2, WireType.Varint).int64(random.of(integers)).finish()
      )
    }
    if (random.below(20) === 0) writer.tag(3, WireType.Varint).int32(5)
    return writer.finish()
  }
  const any = () => {
    const writer = new BinaryWriter()
    if (random.below(4) > 0) {
      writer.tag(1, WireType.LengthDelimited).string(random.of(["json.sluice/metadata", "ser.akka.io/20", "é"]))
    }
    if (random.below(4) > 0) writer.tag(2, WireType.LengthDelimited).string(random.of([`{"a":"b"}`, "{", "", "text"]))
    return writer.finish()
  }
  const event = () => {
    const writer = new BinaryWriter()
    if (random.below(10) > 0) textField(writer, random, 1)
    if (random.below(4) > 0) writer.tag(4, WireType.LengthDelimited).bytes(offset())
    for (let n = random.below(6); n > 0; n--) {
      const number = random.of([1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 25, 1001, 1003])
      if ([2, 3, 1001].includes(number)) writer.tag(number, WireType.Varint).int64(random.of(integers))
      else if (number === 4) writer.tag(number, WireType.LengthDelimited).bytes(offset())
      else if (number === 5 || number === 7) writer.tag(number, WireType.LengthDelimited).bytes(any())
      else if (number === 9) writer.tag(number, WireType.Bit64).fixed64(7n)
      else textField(writer, random, number)
    }
    return writer.finish()
  }
  const writer = new BinaryWriter()
  for (let n = random.below(5) === 0 ? random.below(3) : 1; n > 0; n--) {
    writer.tag(random.below(3) > 0 ? 1 : 2, WireType.LengthDelimited).bytes(event())
  }
  return writer.finish()
}

/** What was left out, mostly in order. */
const skipped = (random: Random): Uint8Array => {
  const writer = new BinaryWriter()
  const range = new BinaryWriter()
  if (random.below(4) > 0) range.tag(1, WireType.Varint).int32(random.of([0, 5, 1023, 1024, -1]))
  if (random.below(8) > 0) range.tag(2, WireType.Varint).int64(random.of([1n, 3n, 3n, ...integers]))
  if (random.below(8) > 0) range.tag(3, WireType.Varint).int64(random.of([1n, 7n, 300n, ...integers]))
  if (random.below(2) === 0) range.tag(4, WireType.Varint).int64(random.of(integers))
  if (random.below(20) === 0) range.tag(5, WireType.Varint).int64(1n)
  return writer.tag(1002, WireType.LengthDelimited).bytes(range.finish()).finish()
}

/** A batch of likely messages, now and then with something else in it. */
export const batch = (random: Random): Uint8Array => {
  const content = new BinaryWriter()
  for (let n = random.below(4); n > 0; n--) {
    content.tag(random.below(20) === 0 ? 2 : 1, WireType.LengthDelimited)
    switch (random.below(8)) {
      case 0:
        content.bytes(random.below(4) === 0 ? batch(random) : damage(random, likely(random)))
        break
      case 1:
      case 2:
        content.bytes(skipped(random))
        break
      default:
        content.bytes(likely(random))
    }
  }
  const writer = new BinaryWriter().tag(1001, WireType.LengthDelimited).bytes(content.finish())
  if (random.below(20) === 0) writer.raw(random.below(2) === 0 ? likely(random) : batch(random))
  return writer.finish()
}

/** Damages a message: cuts it, doubles a part of it, or changes some of its bytes. */
export const damage = (random: Random, bytes: Uint8Array): Uint8Array => {
  if (bytes.length === 0) return new Uint8Array([random.below(256)])
  const at = random.below(bytes.length)
  switch (random.below(4)) {
    case 0:
      return bytes.slice(0, at)
    case 1:
      return Buffer.concat([bytes, bytes.subarray(at)])
    default: {
      const copy = Uint8Array.from(bytes)
      for (let n = 1 + random.below(3); n > 0; n--) {
        copy[random.below(copy.length)] = random.of([0, 1, 0x7f, 0x80, 0xff, random.below(256)])
      }
      return copy
    }
  }
}
