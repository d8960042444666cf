import Pg from "pg"

/** The part of the driver's query and connection that is used here and is in none of its types. */
interface Internals {
  name: string | undefined
  callback: (error: unknown, result: Pg.QueryResult) => void
  query_timeout: number
  prepare(connection: Connection): void
  handleCommandComplete(message: { readonly text: string }, connection: Connection): void
  handleError(error: unknown, connection: Connection): void
}

interface Connection {
  parse(statement: { readonly text: string }): void
  bind(portal: object): void
  execute(portal: object): void
}

const Query = Pg.Query as unknown as new(config: object, values: ReadonlyArray<unknown>) => Internals

/**
 * @internal
 * A statement that begins a transaction and one that runs in it, in one message to the server: if the first fails, the server skips the
 * second, and what has failed then is no statement of a user's.
 */
export class Begun extends Query {
  readonly #begin: string
  #hasBegun = false
  #isSent = false
  #name: string | undefined

  constructor(begin: string, config: object, values: ReadonlyArray<unknown>) {
    super({ queryMode: "extended", ...config }, values)
    this.#begin = begin
    this.#name = this.name
  }

  override prepare(connection: Connection): void {
    connection.parse({ text: this.#begin })
    connection.bind({})
    connection.execute({})
    super.prepare(connection)
    this.#isSent = true
    // the server says of the first statement that it was parsed, and the driver would take that for the second
    this.name = undefined
  }

  override handleCommandComplete(message: { readonly text: string }, connection: Connection): void {
    if (this.#hasBegun) return super.handleCommandComplete(message, connection)
    this.#hasBegun = true
    this.name = this.#name
  }

  override handleError(error: Error, connection: Connection): void {
    const isOfBegin = this.#isSent && !this.#hasBegun && (error as { readonly severity?: unknown }).severity === "ERROR"
    super.handleError(isOfBegin ? notBegun(this.#begin, error) : error, connection)
  }
}

/** The connection is of no use any more: the driver may believe to have prepared what was skipped. */
const notBegun = (begin: string, cause: Error): Error =>
  Object.assign(new Error(`no transaction after ${begin}: ${cause.message}`, { cause }), { code: "ECONNABORTED" })
