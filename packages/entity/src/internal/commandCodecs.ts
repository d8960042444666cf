import type * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"

/** @internal How a command with an id is told from others, how its reply is kept, and what it may answer. */
export interface CommandCodec {
  /** Tells payloads apart. Throws where the payload does not fit its schema. */
  readonly fingerprint: (payload: unknown) => string
  /** The reply as JSON. Throws where it does not fit its schema. */
  readonly encodeReply: (reply: unknown) => string
  readonly decodeReply: (text: string) => unknown
  /** Throws where it is no error that the command declares. */
  readonly checkRejection: (error: unknown) => void
}

/** @internal The codecs of commands, by their names. They are compiled when they are used first. */
export const commandCodecs = (commands: ReadonlyArray<Rpc.Any>): ReadonlyMap<string, CommandCodec> =>
  new Map(commands.map((command) => {
    const { _tag, errorSchema, payloadSchema, successSchema } = command as Rpc.AnyWithProps
    return [_tag, new Lazy(payloadSchema, successSchema, errorSchema)]
  }))

class Lazy implements CommandCodec {
  readonly #payload: Schema.Top
  readonly #success: Schema.Top
  readonly #error: Schema.Top
  #encodePayload: ((payload: unknown) => unknown) | undefined
  #encodeReply: ((reply: unknown) => unknown) | undefined
  #decodeReply: ((json: unknown) => unknown) | undefined
  #encodeError: ((error: unknown) => unknown) | undefined

  constructor(payload: Schema.Top, success: Schema.Top, error: Schema.Top) {
    this.#payload = payload
    this.#success = success
    this.#error = error
  }

  readonly fingerprint = (payload: unknown): string => {
    this.#encodePayload ??= Schema.encodeUnknownSync(json(this.#payload))
    return hash(JSON.stringify(this.#encodePayload(payload), sortKeys) ?? "")
  }

  readonly encodeReply = (reply: unknown): string => {
    this.#encodeReply ??= Schema.encodeUnknownSync(json(this.#success))
    return JSON.stringify(this.#encodeReply(reply) ?? null)
  }

  readonly decodeReply = (text: string): unknown => {
    this.#decodeReply ??= Schema.decodeUnknownSync(json(this.#success))
    return this.#decodeReply(JSON.parse(text))
  }

  readonly checkRejection = (error: unknown): void => {
    this.#encodeError ??= Schema.encodeUnknownSync(json(this.#error))
    JSON.stringify(this.#encodeError(error))
  }
}

const json = (schema: Schema.Top) => Schema.toCodecJson(schema as unknown as Schema.Codec<unknown>)

/** Two payloads that are equal are the same text, in whatever order their properties were set. */
const sortKeys = (_key: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => a < b ? -1 : 1))
    : value

/** 53 bits of a text. It is no defence against whoever wants two to be alike: they may send what they like anyway. */
const hash = (text: string): string => {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit, 2_654_435_761)
    b = Math.imul(b ^ unit, 1_597_334_677)
  }
  a = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909)
  b = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(a ^ (a >>> 13), 3_266_489_909)
  return (4_294_967_296 * (2_097_151 & b) + (a >>> 0)).toString(36)
}
