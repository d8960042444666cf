/** Prints what becomes of many events that are written, and of JSON that is nearly theirs where it is read. */
import * as EventCodec from "@sluice/core/EventCodec"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { inspect } from "node:util"

class Line extends Schema.Class<Line>("Line")({ sku: Schema.NonEmptyString, quantity: Schema.Int }) {}
class Ordered extends Schema.TaggedClass<Ordered>()("Ordered", {
  at: Schema.DateTimeUtc,
  lines: Schema.Array(Line),
  note: Schema.optional(Schema.String),
  by: Schema.Option(Schema.String)
}) {}
const Paid = Schema.TaggedStruct("Paid", {
  amount: Schema.Finite.check(Schema.isGreaterThan(0)),
  way: Schema.Union([Schema.Literals(["card", "cash"]), Schema.Struct({ voucher: Schema.String })]),
  total: Schema.BigInt,
  marks: Schema.Record(Schema.String, Schema.NullOr(Schema.Int)),
  name: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("nobody")))
})
const Any = Schema.Union([Ordered, Paid])
const codec = EventCodec.json(Any)

const outcome = (run: () => unknown): string => {
  try {
    return inspect(run(), { depth: null, breakLength: Infinity })
  } catch (error) {
    return String(error)
  }
}

/** What is at each place, replaced by something else, or left out. */
function* nearly(json: any, set: (value: unknown) => unknown): Generator {
  for (const other of [null, 0, "", [], {}, undefined]) yield set(other)
  if (json === null || typeof json !== "object") return
  for (const [key, value] of Object.entries(json)) {
    yield* nearly(
      value,
      (other) => set(Array.isArray(json) ? json.with(Number(key), other) : { ...json, [key]: other })
    )
  }
}

const at = DateTime.makeUnsafe("2026-01-02T03:04:05.678Z")
const lines = [new Line({ sku: "tea", quantity: 2 }), new Line({ sku: "__proto__", quantity: -1 })]
const events: ReadonlyArray<typeof Any.Type> = [
  new Ordered({ at, lines, by: Option.some("ann") }),
  new Ordered({ at, lines: [], note: "", by: Option.none() }),
  Paid.make({ amount: 1.5, way: "card", total: 2n ** 70n, marks: { a: 1, b: null }, name: "x" }),
  Paid.make({ amount: 5e-324, way: { voucher: "\u2028" }, total: 0n, marks: {}, name: "" })
]
for (const event of events) {
  const { bytes, manifest } = codec.encodeUnsafe(event)
  const text = new TextDecoder().decode(bytes)
  console.log(manifest, text)
  for (const json of nearly(JSON.parse(text), (value) => value)) {
    const bytes = new TextEncoder().encode(JSON.stringify(json) ?? "")
    console.log(outcome(() => codec.decodeUnsafe({ manifest, bytes })))
  }
  console.log(outcome(() => codec.encodeUnsafe({ _tag: event._tag, at, lines: 1, amount: -1 } as never)))
}
