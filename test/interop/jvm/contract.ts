/** The events of the interop test: one stream, in which entities take turns in how their events are encoded. */
import { create } from "@bufbuild/protobuf"
import { type StringValue, StringValueSchema } from "@bufbuild/protobuf/wkt"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as ProtobufCodec from "@sluice/grpc/ProtobufCodec"
import * as Schema from "effect/Schema"

/** Travels as JSON, which a JVM handler is given as an `Any`. */
export class Noted extends Schema.TaggedClass<Noted>()("Noted", { text: Schema.String }) {}

/** A string as Akka's own serializer writes it, a protobuf message, or JSON. */
export type Event = string | StringValue | Noted

const json = EventCodec.json(Noted)
const protobuf = ProtobufCodec.make([StringValueSchema])

const codec = EventCodec.make<Event>({
  name: "mixed",
  encode: (event) =>
    typeof event === "string"
      ? EventCodec.string.encodeUnsafe(event)
      : event instanceof Noted
      ? json.encodeUnsafe(event)
      : protobuf.encodeUnsafe(event),
  decode: (payload) =>
    payload.manifest.startsWith("ser.akka.io/")
      ? EventCodec.string.decodeUnsafe(payload)
      : payload.manifest.startsWith("json.sluice/")
      ? json.decodeUnsafe(payload)
      : protobuf.decodeUnsafe(payload)
})

export const Thing = EntityType.make("thing", { codec })
export const Things = EventStream.make("things", { codec })

export const textOf = (n: number): string => `event ${n}: Grüße, 世界 😀`

/** Event `n` of entity `e`, encoded as is that entity's turn. */
export const eventOf = (e: number, n: number): Event => {
  const text = textOf(n)
  return e % 3 === 0 ? text : e % 3 === 1 ? create(StringValueSchema, { value: text }) : new Noted({ text })
}

export const tagsOf = (e: number): ReadonlyArray<string> =>
  e % 4 === 0 ? [] : e % 4 === 1 ? ["odd"] : ["t:a/b", "Größe"]

/** Every seventh event stays inside, so that only its placeholder is seen. */
export const isPublic = (n: number): boolean => n % 7 !== 0

/** What a JVM handler is given: the event's class, and the text that the peer stores of it. */
export const asReceived = (e: number, n: number): readonly [className: string, text: string] => {
  const text = textOf(n)
  switch (e % 3) {
    case 0:
      return ["java.lang.String", text]
    case 1:
      return ["com.google.protobuf.StringValue", text]
    default:
      return ["com.google.protobuf.Any", `json.sluice/Noted ${JSON.stringify({ _tag: "Noted", text })}`]
  }
}
