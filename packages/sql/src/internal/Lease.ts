import * as Nesting from "@sluice/core/Nesting"
import type { Statement as SqlStatement } from "@sluice/core/Transaction"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import type { Connection } from "effect/sql/SqlConnection"
import { LockTimeoutError, type SqlError, UnknownError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type { QueryResult } from "kysely"
import { CompiledQuery, SelectQueryNode } from "kysely"
import type { Dialect } from "../adapter/Dialect.ts"
import type { Session, TransactionStatus } from "../adapter/Session.ts"
import { mayHideEnd, wouldControl } from "../adapter/StatementEffects.ts"
import { classify, DatabaseError, withConnection, withStorage } from "./DatabaseError.ts"
import { broken, idle, next, open, over, refusal, type TransactionState } from "./transactionState.ts"
import { Trouble } from "./Trouble.ts"

const chunkSize = 500

/**
 * The savepoint that guards a statement which may end the transaction and begin another. In another transaction the
 * savepoint is missing.
 */
const guard = "sluice_guard"

/** @internal How statements run. */
export interface Options {
  readonly dialect: Dialect
  /** Tries a statement again that finds a lock taken, for drivers that do not wait themselves. */
  readonly retry: <A>(self: Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>
  /** The level that the fiber is at in the transaction on this connection. */
  readonly level: (lease: Lease) => Effect.Effect<number>
}

/** @internal Transactions that follow each other on one connection. */
export interface Following {
  /** What the next one begins with, asked when one commits; undefined if that is not known. */
  readonly next: () => SqlStatement | undefined
  /** One is committed, and the next one has begun on that lease. */
  readonly begun: (lease: Lease) => void
  /** One is committed, and none has begun. */
  readonly committed: () => void
}

/** A statement, and what its answers mean. */
interface Statement<A> {
  readonly operation: string
  readonly sql: string
  /** What an error means in such a statement, if that differs from the usual. */
  readonly means?: (error: DatabaseError) => DatabaseError
  /** Whether it rolls back to a savepoint. A failed transaction takes such a statement, and no other. */
  readonly goesBack?: boolean
  /** Whether the answer says how the transaction is; it does by default. */
  readonly settles?: (value: A) => boolean
  /** The stream that it reads on. */
  readonly stream?: object
}

/**
 * @internal
 * A connection that is lent for one statement or for a transaction. Only what the server says of the transaction
 * counts. Statements of a transaction that is broken or over are refused, as they would run outside of it.
 */
export class Lease implements Connection {
  private readonly options: Options
  private readonly session: Session
  /** The fibers of a transaction share its connection, and a driver runs one query after the other. */
  private readonly turn = Semaphore.makeUnsafe(1)
  private state: TransactionState = idle
  private isLost = false
  /** The transactions that this one is one of. */
  private succession: Following | undefined
  /** How it begins, or has begun. */
  private beginsWith = ""
  /** The statement that it has begun with, together with the commit of the one before, and the answer; undefined once somebody has asked for that. */
  private first: { readonly statement: SqlStatement; readonly answer: QueryResult<any> } | undefined
  /** The next transaction has begun on the connection, and gives it back. */
  private isPassedOn = false
  private readonly met = new Trouble()
  /** How the transaction begins, together with its first statement; undefined once it has begun. */
  private toBegin: string | undefined
  /** In nanoseconds of the monotonic clock; undefined while a statement runs. */
  private idleSince: bigint | undefined
  private readonly nesting = Nesting.make(blocked)
  /**
   * A stream that has not been read to its end. The driver sends no other query before that, and the reader may wait
   * for that query.
   */
  private stream: object | undefined

  constructor(options: Options, session: Session) {
    this.options = options
    this.session = session
  }

  /**
   * The first failure of the storage itself in the transaction, even if somebody has handled it. Later failures may be
   * its consequences.
   */
  get trouble(): SqlError | undefined {
    return this.met.first
  }

  /** Whether its transaction was committed or rolled back, and takes nothing any more. */
  get isOver(): boolean {
    return this.state._tag === "Over"
  }

  /** For how many milliseconds it has run no statement. */
  get idle(): Effect.Effect<number> {
    return Effect.map(
      Clock.monotonicTimeNanos,
      (now) => this.idleSince === undefined ? 0 : Number(now - this.idleSince) / 1e6
    )
  }

  /** Fails with the error that has broken the transaction, if it is broken, even if somebody has handled that error. */
  get check(): Effect.Effect<void, SqlError> {
    return Effect.suspend(() => {
      if (this.state._tag !== "Failed" && this.state._tag !== "Broken") return Effect.void
      const { error } = this.state
      return Effect.fail(whyNot(error))
    })
  }

  /** Whether it has begun with the statement, which nobody has asked for the answer of, and is not known to have ended since. */
  beganWith(statement: SqlStatement | undefined): boolean {
    return this.session.isLost?.() !== true &&
      this.first !== undefined && statement !== undefined && isSame(this.first.statement, statement)
  }

  /** It is one of several transactions, the next of which may begin with its commit. */
  joins(succession: Following): void {
    this.succession = succession
  }

  /** Where the driver can, it begins with its first statement. */
  begin(sql: string): Effect.Effect<void, SqlError> {
    if (this.state._tag === "Open") {
      // with the commit of the one before
      return sql === this.beginsWith
        ? Effect.void
        : Effect.fail(this.failure("begin", `the transaction has begun with ${this.beginsWith}, not with ${sql}`))
    }
    this.beginsWith = sql
    if (this.session.begin !== undefined) {
      return Effect.sync(() => {
        this.toBegin = sql
        this.state = open
      })
    }
    return Effect.tapError(this.inTurn(this.beginAlone(sql)), (error) => this.meet(error))
  }

  /** Begins it by itself. */
  private beginAlone(sql: string): Effect.Effect<void, SqlError> {
    return Effect.andThen(
      this.answered({ operation: "begin", sql, means: ofStorage }, () => {
        this.toBegin = undefined
        return this.session.connection.executeQuery(CompiledQuery.raw(sql))
      }),
      Effect.suspend(() => {
        if (this.session.status() !== "open") return Effect.fail(this.failure("begin", `no transaction after ${sql}`))
        this.state = open
        return Effect.void
      })
    )
  }

  /** Begins it before the effect, if it has not begun. */
  private begun<A>(effect: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> {
    return Effect.suspend(() =>
      this.toBegin === undefined ? effect : Effect.andThen(this.beginAlone(this.toBegin), effect)
    )
  }

  savepoint(id: number): Effect.Effect<void, SqlError> {
    return this.inTurn(
      Effect.andThen(
        this.check,
        Effect.tap(this.send(nesting(`SAVEPOINT ${nameOf(id)}`)), () => Effect.sync(() => this.met.savepoint(id)))
      )
    )
  }

  /** A failure breaks the transaction, as its state is unknown afterwards. */
  releaseSavepoint(id: number): Effect.Effect<void> {
    return this.orBreak(this.send(nesting(`RELEASE SAVEPOINT ${nameOf(id)}`)))
  }

  /** A failure breaks the transaction. The effect has already failed. */
  rollbackSavepoint(id: number): Effect.Effect<void> {
    return this.orBreak(Effect.tap(
      this.send({ ...nesting(`ROLLBACK TO SAVEPOINT ${nameOf(id)}`), goesBack: true }),
      () => Effect.sync(() => this.met.undo(id))
    ))
  }

  /** Runs a transaction within that level. */
  within<A, E, R>(level: number, transaction: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> {
    return this.nesting.within(level, transaction)
  }

  commit(): Effect.Effect<void, SqlError> {
    return this.inTurn(Effect.suspend(() => this.toBegin === undefined ? this.commitBegun() : this.endUnbegun()))
  }

  /** Nothing was sent, and so there is nothing to end. */
  private endUnbegun(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.toBegin = undefined
      this.state = over
    })
  }

  private commitBegun(): Effect.Effect<void, SqlError> {
    return Effect.flatMap(
      // statements that a fiber has sent since the effect ended count as well
      Effect.andThen(this.check, Effect.suspend(() => this.sendCommit())),
      ({ command, first }) => {
        // PostgreSQL answers so where a transaction has failed
        if (command === "ROLLBACK") {
          return Effect.fail(this.failure("commit", "the server has rolled the transaction back"))
        }
        if (first !== undefined) return this.passOn(first)
        return Effect.flatMap(Effect.promise(() => this.status()), (status) => {
          if (status === undefined) return Effect.fail(this.lost("commit", "COMMIT"))
          if (status !== "none") return Effect.fail(this.failure("commit", "the transaction is open after COMMIT"))
          this.state = over
          this.succession?.committed()
          return Effect.void
        })
      }
    ).pipe(Effect.tapError((error) => this.meet(error)))
  }

  /** Commits. Where it is known what the next transaction begins with, that is sent as well. */
  private sendCommit(): Effect.Effect<Committed, SqlError> {
    const { session, succession } = this
    const statement = { operation: "commit", sql: "COMMIT", means: ofCommit, settles: () => false }
    const next = session.commitAndBegin === undefined || session.isDue?.() === true ? undefined : succession?.next()
    if (succession === undefined || next === undefined) {
      return Effect.map(this.send(statement), ([row]) => ({ command: (row as Committed | undefined)?.command }))
    }
    const query = CompiledQuery.raw(next.sql, next.parameters as Array<unknown>)
    return Effect.map(
      this.answered(statement, () => session.commitAndBegin!(this.beginsWith, query)),
      ({ begun, command }) => ({ command, first: { statement: next, answer: begun } })
    )
  }

  /** It is committed, and the next transaction has begun with a statement. If that has failed, it is rolled back, and whoever begins it anew meets the error. */
  private passOn({ answer, statement }: NonNullable<Committed["first"]>): Effect.Effect<void> {
    return Effect.clockWith((clock) => {
      const next = new Lease(this.options, this.session)
      next.state = open
      next.beginsWith = this.beginsWith
      next.idleSince = clock.monotonicTimeNanosUnsafe()
      this.state = over
      if (answer === undefined) {
        // a driver may go on saying of a lost connection what the server has said last
        return Effect.andThen(next.rollback(), Effect.sync(() => void (this.isLost = next.isLost)))
      }
      next.first = { answer, statement }
      this.isPassedOn = true
      this.succession!.begun(next)
      return Effect.void
    })
  }

  /** Ends the transaction. Where that fails, the connection is closed, which ends it as well. */
  rollback(): Effect.Effect<void> {
    return this.inTurn(Effect.suspend(() => {
      if (this.toBegin !== undefined) return this.endUnbegun()
      if (this.state._tag === "Over" || this.isLost) return Effect.sync(() => void (this.state = over))
      this.state = idle
      // SQLite may have rolled back already, and would fail
      const isOpen = this.options.dialect !== "sqlite" || this.session.status() !== "none"
      return Effect.ensuring(
        isOpen ? Effect.ignore(this.send({ operation: "rollback", sql: "ROLLBACK" })) : Effect.void,
        Effect.sync(() => void (this.state = over))
      )
    }))
  }

  /**
   * Gives the connection back, if it is proven to be clean, or closes it. Returns whether no transaction was left open.
   * On a lost connection there is none.
   */
  release(): Effect.Effect<boolean> {
    return this.inTurn(Effect.promise(async () => {
      this.state = over
      if (this.isPassedOn) return true
      const status = await this.status()
      this.session.release(status === "none")
      return status === "none" || status === undefined
    }))
  }

  /** Runs an effect that talks to the driver itself, as a statement. */
  direct<A>(operation: string, f: () => A): Effect.Effect<A, SqlError> {
    return this.inTurnOfLevel(this.begun(this.answered({ operation, sql: "" }, async () => f())))
  }

  private inTurn<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return this.turn.withPermit(effect)
  }

  /** Waits for its turn, and until no transaction nested in the fiber's own is open. */
  private inTurnOfLevel<A>(effect: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> {
    return Effect.flatMap(
      this.options.level(this),
      (level) => this.nesting.at(level, effect, (effect) => this.inTurn(effect))
    )
  }

  private orBreak(effect: Effect.Effect<unknown, SqlError>): Effect.Effect<void> {
    return this.inTurn(
      Effect.suspend(() =>
        this.state._tag === "Broken" || this.state._tag === "Over"
          ? Effect.void
          : Effect.ignore(this.orBreakWith(effect))
      )
    )
  }

  private orBreakWith<A>(effect: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> {
    return Effect.tapError(effect, (error) => Effect.sync(() => void (this.state = broken(this.state, error))))
  }

  private meet(error: SqlError): Effect.Effect<void> {
    return Effect.sync(() => {
      if (error instanceof DatabaseError) this.met.meet(error)
    })
  }

  private failure(operation: string, message: string): DatabaseError {
    return withStorage(classify(this.options.dialect, operation, new Error(message)), "Broken")
  }

  /** The state of the transaction is unknown after a statement. */
  private lost(operation: string, sql: string): DatabaseError {
    this.isLost = true
    const cause = Object.assign(new Error(`the connection was lost after '${startOf(sql)}'`), { code: "ECONNRESET" })
    return classify(this.options.dialect, operation, cause)
  }

  /** Takes over what the server says of the transaction after a statement, and returns the statement's error. */
  private settle(
    sql: string,
    status: TransactionStatus | undefined,
    error: DatabaseError | undefined
  ): SqlError | undefined {
    const before = this.state
    this.isLost ||= status === undefined
    this.state = next(
      before,
      { status: status ?? "none", error, isLost: this.isLost },
      () =>
        this.isLost
          ? this.lost("execute", sql)
          : this.failure("execute", `the transaction was ended by '${startOf(sql)}'`)
    )
    // a statement that has ended the transaction counts as failed
    return error ?? (before._tag === "Open" && this.state._tag === "Broken" ? this.state.error : undefined)
  }

  private ask(): Promise<TransactionStatus | undefined> {
    return this.session.ask().catch(() => undefined)
  }

  /** The server's last word on the transaction, or its answer to a question now; undefined if the connection is lost. */
  private async status(): Promise<TransactionStatus | undefined> {
    return this.isLost ? undefined : this.session.status() ?? await this.ask()
  }

  /**
   * One statement. Interruption cancels it in the database and waits for it to end, so that the connection is never
   * given back while it is busy. It must be its turn, as other fibers could end the transaction meanwhile.
   */
  private answered<A>(statement: Statement<A>, f: () => Promise<A>): Effect.Effect<A, SqlError> {
    const { goesBack = false, means = identity, operation, settles, sql } = statement
    const once = Effect.suspend((): Effect.Effect<A, SqlError> => {
      const refused = refusal(this.state, goesBack)
      if (refused !== undefined) {
        return refused === "over"
          ? Effect.die(queryAfterTransaction())
          : Effect.fail(whyNot(refused))
      }
      if (this.stream !== undefined && this.stream !== statement.stream && operation !== "rollback") {
        return Effect.fail(classify(this.options.dialect, operation, new Error(`${startOf(sql)}: ${streamIsOpen}`)))
      }
      return Effect.callback<A, SqlError>((resume) => {
        let isGivenUp = false
        const succeed = (value: A, status: TransactionStatus | undefined) => {
          const failure = this.settle(sql, status, undefined)
          resume(failure === undefined ? Effect.succeed(value) : Effect.fail(failure))
        }
        const answer = f().then(
          (value): unknown => {
            if (settles?.(value) === false) return resume(Effect.succeed(value))
            const status = this.session.status()
            return status === undefined ? this.ask().then((status) => succeed(value, status)) : succeed(value, status)
          },
          async (cause) => {
            const error = means(classify(this.options.dialect, operation, cause))
            // what the last answer said was before
            const status = error.reason._tag === "ConnectionError" ? undefined : await this.ask()
            const failure = status === undefined ? withConnection(error) : isGivenUp ? givenUp(error) : error
            this.settle(sql, status, failure)
            resume(Effect.fail(failure))
          }
        )
        return Effect.promise(async () => {
          isGivenUp = true
          await this.cancel()
          await answer
        })
      })
    })
    const timed = Effect.clockWith((clock) => {
      this.idleSince = undefined
      return Effect.ensuring(
        this.options.retry(once),
        Effect.sync(() => void (this.idleSince = clock.monotonicTimeNanosUnsafe()))
      )
    })
    return Effect.tapError(
      timed,
      (error) => this.state._tag === "Idle" ? Effect.void : this.meet(error)
    )
  }

  private send(
    statement: Statement<{ readonly rows: ReadonlyArray<any> }>
  ): Effect.Effect<ReadonlyArray<any>, SqlError> {
    return Effect.map(this.raw(statement, []), (_) => _.rows)
  }

  private raw(statement: Statement<QueryResult<any>>, parameters: ReadonlyArray<unknown>) {
    const query = CompiledQuery.raw(statement.sql, parameters as Array<unknown>)
    const run = this.answered(statement, () => {
      const begin = this.toBegin
      this.toBegin = undefined
      return begin === undefined
        ? this.session.connection.executeQuery<any>(query)
        : this.session.begin!(begin, query)
    })
    return parameters.length > 0 ? run : this.begun(run)
  }

  private query(sql: string, parameters: ReadonlyArray<unknown>): Effect.Effect<QueryResult<any>, SqlError> {
    const { dialect } = this.options
    if (this.first !== undefined) return this.answerFirst({ sql, parameters })
    const statement = this.raw({ operation: "execute", sql }, parameters)
    return this.inTurnOfLevel(Effect.suspend(() => {
      if (this.state._tag !== "Open") return statement
      const control = wouldControl(dialect, sql)
      if (control !== undefined) {
        return Effect.fail(classify(dialect, "execute", new Error(`'${startOf(sql)}' ${refusals[control]}`)))
      }
      return mayHideEnd(dialect, sql, parameters.length === 0) ? this.guarded(sql, statement) : statement
    }))
  }

  /** The answer to the statement that the transaction has begun with. */
  private answerFirst(asked: SqlStatement): Effect.Effect<QueryResult<any>, SqlError> {
    return Effect.suspend(() => {
      const { answer, statement } = this.first!
      this.first = undefined
      return isSame(statement, asked)
        ? Effect.succeed(answer)
        : Effect.fail(
          this.failure("execute", `the transaction has begun with another statement than '${startOf(asked.sql)}'`)
        )
    })
  }

  /** A statement that may end the transaction and begin another. */
  private guarded<A>(sql: string, statement: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> {
    const ended = this.failure("execute", `the transaction was ended by '${startOf(sql)}'`)
    const release = Effect.suspend(() =>
      this.state._tag === "Open"
        ? this.orBreakWith(this.send({ operation: "execute", sql: `RELEASE SAVEPOINT ${guard}`, means: () => ended }))
        : Effect.void
    )
    return Effect.andThen(
      this.send({ operation: "execute", sql: `SAVEPOINT ${guard}` }),
      Effect.onExit(statement, () => release)
    )
  }

  execute(sql: string, params: ReadonlyArray<unknown>, transformRows: any) {
    const rows = Effect.map(this.query(sql, params), (_) => _.rows)
    return transformRows === undefined ? rows : Effect.map(rows, (_): Array<any> => transformRows(_))
  }
  executeRaw(sql: string, params: ReadonlyArray<unknown>) {
    return this.query(sql, params)
  }
  executeValues(sql: string, params: ReadonlyArray<unknown>) {
    return Effect.map(this.query(sql, params), (_) => _.rows.map((row) => Object.values(row)))
  }
  executeValuesUnprepared(sql: string, params: ReadonlyArray<unknown>) {
    return this.executeValues(sql, params)
  }
  executeUnprepared(sql: string, params: ReadonlyArray<unknown>, transformRows: any) {
    return this.execute(sql, params, transformRows)
  }
  executeStream(sql: string, params: ReadonlyArray<unknown>, transformRows: any) {
    const rows = Stream.unwrap(Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          const query = CompiledQuery.raw(sql, params as Array<unknown>)
          return this.session.connection.streamQuery<any>(
            // SQLite's driver only streams what it is told is a SELECT
            this.options.dialect === "sqlite" ? { ...query, query: SelectQueryNode.create() } : query,
            chunkSize
          )
        }),
        (iterator) =>
          this.inTurn(Effect.promise(async () => {
            await this.close(iterator).catch(() => {})
            if (this.stream === iterator) this.stream = undefined
          }))
      ),
      (iterator) =>
        Stream.paginate(iterator, (iterator) =>
          Effect.map(
            // a stream that is not read to its end has no answer yet
            this.inTurnOfLevel(this.begun(this.answered(
              { operation: "stream", sql, settles: (rows) => rows.length < chunkSize, stream: iterator },
              async () => {
                this.stream = undefined
                const rows = await gather(iterator)
                if (rows.length === chunkSize) this.stream = iterator
                return rows
              }
            ))),
            (rows) => [rows, rows.length < chunkSize ? Option.none() : Option.some(iterator)] as const
          ))
    ))
    return transformRows === undefined ? rows : Stream.mapArray(rows, transformRows)
  }

  /** Cancels the query that is under way in the database, over a connection of the adapter's own. */
  private async cancel(): Promise<void> {
    await this.session.connection.cancelQuery?.(noControl).catch(() => {})
  }

  /** Ends a stream that may have more rows, so that the connection is free for the next query. */
  private async close(iterator: AsyncIterableIterator<unknown>): Promise<void> {
    // to end a stream that was not begun would begin it, and to end one twice would cancel another query
    if (this.options.dialect === "mysql" && this.stream === iterator) {
      // the driver leaves the rest of the rows to be read, and there are fewer of them once the query is cancelled. If
      // others have the connection by now, their query would be cancelled
      if (this.state._tag !== "Over") {
        await this.cancel()
      }
      while (!(await iterator.next()).done);
    }
    await iterator.return?.()
  }
}

/** How a transaction has ended, and what the next one has begun with, if it has; without an answer if that has failed. */
interface Committed {
  readonly command: unknown
  readonly first?: { readonly statement: SqlStatement; readonly answer: QueryResult<any> | undefined }
}

const isSame = (a: SqlStatement, b: SqlStatement): boolean =>
  a.sql === b.sql && a.parameters.length === b.parameters.length &&
  a.parameters.every((parameter, i) => {
    const other = b.parameters[i]
    return parameter === other || Buffer.isBuffer(parameter) && Buffer.isBuffer(other) && parameter.equals(other)
  })

/** Only for drivers without a control client. Those of the servers have one. */
const noControl = () => Promise.reject(new Error("the driver has no control client"))

const nameOf = (id: number): string => `sluice_${id}`

const refusals = {
  ends: "would end the transaction: run it outside of one",
  nests: "would nest a transaction by hand, and what it undoes would be announced all the same: use withTransaction"
}

const nesting = (sql: string) => ({ operation: "savepoint", sql, means: ofStorage })

const streamIsOpen = "a stream of the transaction is open: read it to its end first, or outside of the transaction"

const startOf = (sql: string): string => sql.trim().slice(0, 100)

const queryAfterTransaction = () =>
  new Error(
    "A fiber runs a query in a transaction that is over: it has outlived the effect that the transaction was for"
  )

/** If a statement that only begins, nests or ends a transaction fails, the storage is at fault. */
const ofStorage = (error: DatabaseError): DatabaseError =>
  error.storage === "Failed" ? withStorage(error, "Broken") : error

/**
 * A commit is also where deferred constraints are checked, and where triggers that are deferred raise errors, of whatever code they like. PostgreSQL has such
 * triggers, and tells the severity of each error. Its own errors at that time are of a few classes.
 */
const ofCommit = (error: DatabaseError): DatabaseError => {
  const { cause, _tag } = error.reason
  const { code, severity } = Object(cause) as { readonly code?: unknown; readonly severity?: unknown }
  const isRaised = severity !== undefined && !/^(0A|25|2D|3B|40|5[3-8]|F0|HV|XX)/.test(String(code))
  const isRefused = _tag === "ConstraintError" || _tag === "UniqueViolation" || isRaised
  return isRefused ? error : ofStorage(error)
}

const blocked = (cause: Error): DatabaseError =>
  DatabaseError.of(new LockTimeoutError({ cause, operation: "execute", message: cause.message }), "Busy")

/** The program itself has ended the transaction, for reasons of its own. */
const givenUp = (error: SqlError): DatabaseError =>
  DatabaseError.of(
    // not as a time-out of the server, which would count as an error that passes
    new UnknownError({
      cause: error.reason.cause,
      operation: error.reason.operation,
      message: "the query was given up"
    }),
    "Failed"
  )

const aborted = (error: SqlError): DatabaseError =>
  withStorage(
    error,
    "Aborted",
    `${error.message} (a statement failed in the transaction, so the database has rolled back all of it, although the failure ` +
      "was handled: put what may fail into a transaction of its own within it)"
  )

/** The error of whoever goes on in a broken transaction. */
const whyNot = (error: SqlError): SqlError =>
  error instanceof DatabaseError && error.isOfStorage ? error : aborted(error)

/** PostgreSQL reads a chunk at a time; the others yield single rows. */
const gather = async <A>(iterator: AsyncIterator<{ readonly rows: Array<A> }>): Promise<Array<A>> => {
  const rows: Array<A> = []
  while (rows.length < chunkSize) {
    const result = await iterator.next()
    if (result.done) break
    for (const row of result.value.rows) rows.push(row)
  }
  return rows
}
