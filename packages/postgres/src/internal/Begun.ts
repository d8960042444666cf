import Pg from "pg"

/** @internal The part of the driver's query and connection that is used here and is in none of its types. */
export interface Query {
  name: string | undefined
  queryMode: "extended"
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
  readonly submittedNamedStatements: Record<string, string>
}

const DriverQuery = Pg.Query as unknown as new(text: string, values?: ReadonlyArray<unknown>) => Query

/**
 * @internal
 * What has no parameters, and may be several statements. The driver would copy an object that has the text property by property, which takes longer than all
 * the rest of it.
 */
export const plain = (text: string): Query => new DriverQuery(text)

/** @internal The text of a statement, and the name that it is to be prepared by; undefined if it is not to be. */
export interface Text {
  readonly text: string
  readonly name?: string | undefined
}

/** @internal A statement with parameters. */
export class Statement extends DriverQuery {
  constructor({ name, text }: Text, values: ReadonlyArray<unknown>) {
    super(text, values)
    this.queryMode = "extended"
    this.name = name
  }
}

/**
 * @internal
 * A statement that begins a transaction and one that runs in it, in one message to the server: if the first fails, the server skips the
 * second, and what has failed then is no statement of a user's.
 */
export class Begun extends Statement {
  readonly #begin: string
  #hasBegun = false
  #isSent = false
  #name: string | undefined

  constructor(begin: string, statement: Text, values: ReadonlyArray<unknown>) {
    super(statement, values)
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

  /** The driver believes to have prepared what the server has skipped. */
  protected forget({ submittedNamedStatements }: Connection): void {
    if (this.#name !== undefined) delete submittedNamedStatements[this.#name]
  }

  protected failed(error: Error, connection: Connection): void {
    super.handleError(error, connection)
  }

  override handleError(error: Error, connection: Connection): void {
    const isOfBegin = this.#isSent && !this.#hasBegun && (error as { readonly severity?: unknown }).severity === "ERROR"
    if (isOfBegin) this.forget(connection)
    super.handleError(isOfBegin ? notBegun(this.#begin, error) : error, connection)
  }
}

/** The connection is of no use any more: the driver may believe to have prepared what was skipped. */
const notBegun = (begin: string, cause: Error): Error =>
  Object.assign(new Error(`no transaction after ${begin}: ${cause.message}`, { cause }), { code: "ECONNABORTED" })

/**
 * @internal
 * A commit, and the beginning of the next transaction as in {@link Begun}, in one message to the server: if the commit fails, the server skips the rest.
 */
export class CommittedAndBegun extends Begun {
  /** How the server has ended the transaction; undefined while it has not said so, or where it failed to. */
  ended: string | undefined

  override prepare(connection: Connection): void {
    connection.parse({ text: "COMMIT" })
    connection.bind({})
    connection.execute({})
    super.prepare(connection)
  }

  override handleCommandComplete(message: { readonly text: string }, connection: Connection): void {
    if (this.ended !== undefined) return super.handleCommandComplete(message, connection)
    this.ended = message.text
  }

  override handleError(error: Error, connection: Connection): void {
    if (this.ended !== undefined) return super.handleError(error, connection)
    this.forget(connection)
    super.failed(error, connection)
  }
}
