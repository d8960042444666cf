import * as Mysql from "mysql2"
import { hex, whole } from "./pieces.ts"

/**
 * A string as a literal of SQL, safe under any settings of the session. The driver's own escaping relies on
 * backslashes, which `NO_BACKSLASH_ESCAPES` makes ordinary characters.
 */
const quote = (text: string): string =>
  /['\\\0]/.test(text) ? `_utf8mb4 x'${Buffer.from(text).toString("hex")}'` : `'${text}'`

/* oxlint-disable eslint/no-restricted-globals -- users give and get dates of JavaScript */
const literal = (value: any): any => {
  switch (typeof value) {
    case "string":
      return Mysql.raw(quote(value))
    case "object":
      // the driver would make NULL of it
      if (value instanceof Date && Number.isNaN(value.getTime())) throw new RangeError("a value is an invalid date")
      // the driver would turn an object into columns and operators of the query
      return value === null || value instanceof Date || value instanceof Uint8Array
        ? value
        : Mysql.raw(quote(JSON.stringify(value)))
    case "number":
      // it would stand in the query as a word, which SQL takes for the name of a column
      if (!Number.isFinite(value)) {
        throw new RangeError(`a value is ${value}, which MySQL and MariaDB have no number for`)
      }
      return value
    default:
      return value
  }
}

/** From how many bytes on a value is put in after the others. */
const long = 64 * 1024

/** Stands for a long value: nobody's text has it. */
const mark = `x'${crypto.randomUUID()}'`

/** @internal Puts values into the places of a query. */
export const format = (sql: string, values: ReadonlyArray<unknown>): string => {
  if (values.length === 0) return sql
  const later: Array<Uint8Array> = []
  const formatted = Mysql.format(
    sql,
    values.map((value) => {
      if (!(value instanceof Uint8Array) || value.length < long) return literal(value)
      later.push(value)
      return Mysql.raw(mark)
    }),
    true,
    "Z"
  )
  if (later.length === 0) return formatted
  const [first, ...rest] = formatted.split(mark)
  const pieces = [first!, ...rest.flatMap((piece, i) => ["x'", hex(later[i]!), `'${piece}`])]
  return whole(pieces)
}
