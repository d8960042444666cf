import type * as EventCodec from "@sluice/core/EventCodec"
import * as Schema from "effect/Schema"
import { difference, isSame, short } from "./render.ts"

/** @internal What is wrong with an entity: it is thrown where it is found. */
export class Wrong extends Error {}

/** @internal The value as it comes back from JSON by its schema. Throws where it does not, or not as it was. */
export const throughSchema = (what: string, schema: Schema.Top, value: unknown): unknown =>
  checked(what, value, () => {
    const codec = Schema.toCodecJson(schema) as unknown as Schema.Codec<unknown, unknown>
    const json = JSON.stringify(Schema.encodeUnknownSync(codec)(value))
    return Schema.decodeUnknownSync(codec)(json === undefined ? undefined : JSON.parse(json))
  })

/** @internal The same of a codec for events or states. */
export const throughCodec = <A>(what: string, codec: EventCodec.EventCodec<A>, value: A): A =>
  checked(what, value, () => codec.decodeUnsafe(codec.encodeUnsafe(value)))

const checked = <A>(what: string, value: A, back: () => A): A => {
  let returned: A
  try {
    returned = back()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Wrong(`${what} does not fit its schema: ${why}. It is ${short(value)}`)
  }
  if (isSame(value, returned)) return returned
  throw new Wrong(
    `${what} does not come back from its codec as it was (-, but +):\n${difference(value, returned)}`
  )
}
