import * as Predicate from "effect/Predicate"
import * as TextDiff from "effect/TextDiff"

/**
 * @internal
 * A value as text, a line for each of its parts. Two values are the same where their texts are: properties in whatever order, those that are undefined left
 * out, as JSON does, and whatever class a record is of.
 */
export const render = (value: unknown): string => rendered(value, "", [])

const rendered = (value: unknown, indent: string, above: ReadonlyArray<unknown>): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (typeof value === "bigint") return `${value}n`
  if (typeof value === "function") return `[function ${value.name}]`
  if (typeof value !== "object" || value === null) return Object.is(value, -0) ? "0" : String(value)
  if (above.includes(value)) return "[circular]"
  const within = [...above, value]
  const part = (part: unknown) => rendered(part, `${indent}  `, within)
  const block = (name: string, open: string, lines: ReadonlyArray<string>, close: string) => {
    const inner = lines.map((line) => `${indent}  ${line}\n`).join("")
    return `${name}${open}${lines.length === 0 ? "" : `\n${inner}${indent}`}${close}`
  }
  if (Array.isArray(value)) return block("", "[", value.map(part), "]")
  if (Predicate.isDate(value)) return `Date ${Number.isNaN(value.getTime()) ? "none" : value.toISOString()}`
  if (value instanceof Map) {
    return block("Map ", "{", Array.from(value, ([key, of]) => `${part(key)} => ${part(of)}`).toSorted(), "}")
  }
  if (value instanceof Set) return block("Set ", "{", Array.from(value, part).toSorted(), "}")
  if (ArrayBuffer.isView(value)) {
    return `${value.constructor.name} ${hex(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))}`
  }
  if (value instanceof URL || value instanceof RegExp) return `${value.constructor.name} ${value.toString()}`
  if (!Predicate.isError(value) && Predicate.hasProperty(value, "toJSON") && typeof value.toJSON === "function") {
    const json: unknown = value.toJSON()
    return typeof json === "object"
      ? rendered(json, indent, within)
      : `${value.constructor.name} ${JSON.stringify(json)}`
  }
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  const tag = "_tag" in value && !fields.some(([key]) => key === "_tag") ? [["_tag", value._tag] as const] : []
  const own = [...tag, ...fields]
  // an error that declares no fields has nothing else to say
  if (Predicate.isError(value) && own.length === 0) own.push(["message", value.message])
  return block("", "{", own.map(([key, field]) => `${key}: ${part(field)}`).toSorted(), "}")
}

/** @internal On how many lines two values differ, and which: those with `-` are missing, those with `+` are too many. */
export const difference = (expected: unknown, actual: unknown): string =>
  // where in the text a line stands is of no use to whoever reads it
  TextDiff.unified(TextDiff.lines(`${render(expected)}\n`, `${render(actual)}\n`), { context: Infinity })
    .replace(/^@@.*\n/, "")

/** @internal */
export const isSame = (a: unknown, b: unknown): boolean => render(a) === render(b)

/** @internal On one line, and not too long. */
export const short = (value: unknown): string => {
  const text = render(value).replaceAll(/(?<=[[{])\n\s*|\n\s*(?=[\]}])/g, "").replaceAll(/\n\s*/g, ", ")
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
