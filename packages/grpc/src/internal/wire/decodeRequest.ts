import type { DescField, DescMessage, MessageShape } from "@bufbuild/protobuf"
import { fromBinary } from "@bufbuild/protobuf"
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire"

/** @internal What a server receives at most: offsets of all slices, and the events that the consumer has seen, are smaller. */
export const maxRequestBytes = 1536 * 1024

/** Fields of fields included. An honest request has half as many at most. */
const maxFields = 32 * 1024

/** @internal A message is small, and yet so much that it would keep others waiting, and take a hundred times its size. */
export class TooManyFields extends RangeError {
  constructor() {
    super(`a message with more than ${maxFields} fields`)
  }
}

const messages = new WeakMap<DescMessage, ReadonlyMap<number, DescMessage>>()

const messageOf = (field: DescField): DescMessage | undefined =>
  field.fieldKind === "message" || field.fieldKind === "list" && field.listKind === "message"
    ? field.message
    : undefined

/** The fields that are messages. */
const messagesOf = (desc: DescMessage): ReadonlyMap<number, DescMessage> => {
  let found = messages.get(desc)
  if (found === undefined) {
    const fields = desc.fields.flatMap((field) => {
      const message = messageOf(field)
      return message === undefined ? [] : [[field.number, message] as const]
    })
    messages.set(desc, found = new Map(fields))
  }
  return found
}

/** How many more fields there may be after those up to the end. */
const count = (desc: DescMessage, reader: BinaryReader, end: number, left: number): number => {
  const fields = messagesOf(desc)
  while (reader.pos < end) {
    if (--left < 0) throw new TooManyFields()
    const [number, type] = reader.tag()
    const message = type === WireType.LengthDelimited ? fields.get(number) : undefined
    if (message === undefined) reader.skip(type, number)
    else left = count(message, reader, reader.uint32() + reader.pos, left)
  }
  return left
}

/** @internal Throws at what is no such message. What is unknown, as it comes from a later version, is not kept. */
export const decodeRequest = <Desc extends DescMessage>(desc: Desc, bytes: Uint8Array): MessageShape<Desc> => {
  count(desc, new BinaryReader(bytes), bytes.length, maxFields)
  return fromBinary(desc, bytes, { readUnknownFields: false })
}
