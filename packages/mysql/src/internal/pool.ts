import * as AnswerTimeout from "@sluice/sql/adapter/AnswerTimeout"
import * as RealTime from "@sluice/sql/adapter/RealTime"
import { toConnectError, toSqlError } from "@sluice/sql/adapter/SqlStorageError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Pools from "effect/Pool"
import * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import type { Options } from "../MysqlOptions.ts"
import {
  abandon,
  abandonAfter,
  budget,
  connectTimeoutOf,
  open,
  reset,
  send,
  type Session,
  statementTimeoutOf,
  timedOut,
  type Use
} from "./connection.ts"

/** @internal Connections of one use, which are made when they are needed. */
export interface Pool {
  readonly options: Options
  readonly use: Use
  /** Lends a connection until the scope ends. */
  readonly lend: Effect.Effect<Session, SqlError, Scope.Scope>
  /** Whether there is a connection for whoever comes next, such as for what a transaction runs after its commit. */
  readonly hasSpare: () => boolean
  /** Those that there are. */
  readonly sessions: ReadonlySet<Session>
  /** Closes a connection that works, and will be replaced by another to the same server. */
  readonly discard: (session: Session, message: string) => void
}

/** What a pool knows of its connections. */
interface State {
  readonly options: Options
  readonly use: Use
  readonly max: number
  readonly sessions: Set<Session>
  /**
   * Called for each connection after the first, before anybody uses it: it may lead to another server than earlier
   * ones.
   */
  readonly onAnother: () => void
  /** The scope has ended, or is about to. */
  isClosed: boolean
  /** Whether a connection was made. */
  hasConnected: boolean
  /** How many connections were closed though nothing was wrong with them, and have not been replaced yet. */
  discarded: number
}

/** A connection was made. */
const add = (state: State, session: Session): void => {
  state.sessions.add(session)
  if (state.discarded > 0) state.discarded--
  else if (state.hasConnected) state.onAnother()
  state.hasConnected = true
}

const discard = (state: State, session: Session, message: string): void => {
  if (!session.isLost) state.discarded++
  abandon(session, message)
}

type Connections = Pools.Pool<Session, SqlError>

/** Whether there is a connection that nobody has and nobody waits for. */
const hasFree = ({ state: { availableHead, waiters } }: Connections): boolean =>
  availableHead?.exit._tag === "Success" && waiters.size === 0

/** @internal Closes its connections with the scope, whether or not the server answers. */
export const makePool = (
  options: Options,
  max: number,
  use: Use,
  onAnother: () => void = () => {}
): Effect.Effect<Pool, never, Scope.Scope> =>
  Effect.gen(function*() {
    const state: State = {
      options,
      use,
      max,
      sessions: new Set(),
      onAnother,
      isClosed: false,
      hasConnected: false,
      discarded: 0
    }
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope) =>
      Effect.suspend(() => {
        state.isClosed = true
        return end(scope, state.sessions)
      }))
    const connections = yield* Scope.provide(
      Pools.makeWithTTL({
        acquire: connect(state),
        min: 0,
        max,
        // before the server does
        timeToLive: use.idleTimeout * 300,
        timeToLiveStrategy: "usage"
      }),
      scope
    )
    return {
      options,
      use,
      lend: lend(state, connections),
      hasSpare: () => {
        const { items, waiters } = connections.state
        return !state.isClosed && (hasFree(connections) || waiters.size === 0 && items.size < max)
      },
      sessions: state.sessions,
      discard: (session, message) => discard(state, session, message)
    }
  })

const connect = (state: State): Effect.Effect<Session, SqlError, Scope.Scope> =>
  Effect.tap(open(state.options, state.use), (session) =>
    Effect.acquireRelease(
      Effect.sync(() => add(state, session)),
      () => Effect.sync(() => state.sessions.delete(session))
    ))

/** Lends a free connection at once, or another one within the time to connect. */
const lend = (state: State, connections: Connections): Effect.Effect<Session, SqlError, Scope.Scope> => {
  const { options } = state
  const inTime = Effect.timeoutOrElse(Effect.suspend(() => lendAny(state, connections)), {
    duration: connectTimeoutOf(options),
    orElse: () =>
      Effect.fail(
        state.sessions.size < state.max
          ? timedOut(options, "no connection can be made")
          : timedOut(options, "no connection is free", "POOL_EXHAUSTED")
      )
  }).pipe(RealTime.provide)
  return Effect.suspend(() => {
    if (state.isClosed) return Effect.fail(toConnectError("mysql")("connect")(closedError()))
    return hasFree(connections) ? lendAny(state, connections) : inTime
  })
}

const lendAny = (state: State, connections: Connections): Effect.Effect<Session, SqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const own = yield* Scope.fork(yield* Effect.scope)
    const session = yield* Scope.provide(Pools.get(connections), own)
    if (!session.isLost) {
      yield* Scope.addFinalizer(own, giveBack(state, connections, session))
      return session
    }
    yield* Pools.invalidate(connections, session)
    // the lost connection is given back first: otherwise it would take a place in the pool for as long as the other one
    // is lent
    yield* Scope.close(own, Exit.void)
    return yield* lend(state, connections)
  })

const giveBack = ({ options, use }: State, connections: Connections, session: Session): Effect.Effect<void> =>
  Effect.suspend(() => {
    // the caller has stopped waiting for its query, which may end at any time
    if (session.pending > 0) abandon(session, "the connection is given back in the middle of a query")
    const settled = !session.isLost && (session.isChanged || session.isInTransaction)
      ? reset(session, options, use)
      : Effect.void
    return Effect.andThen(
      settled,
      Effect.suspend(() => session.isLost ? Pools.invalidate(connections, session) : Effect.void)
    )
  })

/** Connections that are still in use are closed soon. */
const end = (scope: Scope.Closeable, sessions: ReadonlySet<Session>): Effect.Effect<void> =>
  Effect.gen(function*() {
    const closing = yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true })
    const closed = Effect.timeoutOption(Fiber.await(closing), budget)
    if ((yield* closed)._tag === "Some") return
    for (const session of sessions) abandon(session, "the storage is closed")
    yield* closed
  }).pipe(RealTime.provide)

/** @internal Runs a query on any of the pool's connections. */
export const query = <A>(pool: Pool, operation: string, sql: string): Effect.Effect<A, SqlError> =>
  Effect.scoped(Effect.flatMap(pool.lend, (session) => send<A>(session, operation, sql)))

/**
 * @internal
 * The first rows of what a query finds, up to one after which it is enough. Then the connection is closed, as it would
 * have to receive the other rows, too.
 */
export const firstRows = <Row>(
  pool: Pool,
  operation: string,
  sql: string,
  isEnough: (row: Row) => boolean
): Effect.Effect<Array<Row>, SqlError> =>
  Effect.scoped(Effect.flatMap(pool.lend, (session) =>
    Effect.callback<Array<Row>, SqlError>((resume) => {
      const { connection } = session
      const rows: Array<Row> = []
      const readInTime = abandonAfter(session, statementTimeoutOf(pool.options) + AnswerTimeout.grace)
      let isOver = false
      const end = (exit: Exit.Exit<Array<Row>, SqlError>, givenUp?: string): void => {
        if (isOver) return
        isOver = true
        readInTime()
        // before others get it
        if (givenUp !== undefined) pool.discard(session, givenUp)
        resume(exit)
      }
      const lost = (error: unknown) => end(Exit.fail(toSqlError("mysql")(operation)(error)))
      connection.query(sql)
        .on("error", lost)
        .on("result", (row) => {
          if (isOver) return
          rows.push(row as Row)
          if (isEnough(row as Row)) end(Exit.succeed(rows), "enough is read")
        })
        .on("end", () => end(Exit.succeed(rows)))
      return Effect.sync(() => end(Exit.succeed(rows), "nobody reads on"))
    })))

/**
 * @internal
 * Runs statements on one connection. After a failure or an interruption the state of the connection is unknown, so it
 * is rolled back before others get it, or closed.
 */
export const withConnection = <A>(
  pool: Pool,
  operation: string,
  f: (run: <B>(sql: string) => Effect.Effect<B, SqlError>) => Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError> =>
  Effect.scoped(
    Effect.flatMap(pool.lend, (session) =>
      Effect.onExit(
        f((sql) => send(session, operation, sql)),
        (exit) =>
          Exit.isSuccess(exit) || session.isLost ? Effect.void : send(session, operation, "ROLLBACK").pipe(
            Effect.interruptible,
            Effect.timeoutOrElse({
              duration: budget,
              orElse: () => Effect.fail("takes too long")
            }),
            Effect.catch(() => Effect.sync(() => abandon(session, "it could not be rolled back"))),
            RealTime.provide
          )
      ))
  )

const close = (scope: Scope.Closeable): void => void Effect.runFork(Scope.close(scope, Exit.void))

/** @internal The driver's own error, which has the codes, or else the defect. Only an interruption says that the storage was closed. */
export const errorOf = (cause: Cause.Cause<SqlError>): unknown => {
  const failed = cause.reasons.find(Cause.isFailReason)
  if (failed !== undefined) return failed.error.reason.cause
  const died = cause.reasons.find(Cause.isDieReason)
  return died === undefined ? closedError() : died.defect
}

const closedError = (): Error => Object.assign(new Error("the storage was closed"), { code: "POOL_CLOSED" })

/**
 * @internal
 * A connection that cancels a session's query. If it cannot, the session is closed, as an interruption must not wait
 * for long.
 */
export const canceller = (pool: Pool, target: Session) => {
  const scope = Scope.makeUnsafe()
  let control: Session | undefined
  const giveUp = (): void => {
    abandon(target, "the query could not be cancelled")
    if (control !== undefined) abandon(control, "the query could not be cancelled")
  }
  const cancelledInTime = RealTime.after(2 * budget, giveUp)
  return {
    connect: (done: (error: unknown) => void) =>
      void Effect.runCallback(
        Scope.provide(open({ ...pool.options, connectTimeout: 2 * budget }, pool.use), scope),
        {
          onExit: (exit) => {
            if (Exit.isSuccess(exit)) control = exit.value
            else giveUp()
            done(Exit.isSuccess(exit) ? null : errorOf(exit.cause))
          }
        }
      ),
    query: (sql: string, values: ReadonlyArray<unknown>, done: (error: unknown) => void) =>
      void control!.connection.query(sql, values as Array<any>, (error) => {
        if (error !== null) giveUp()
        done(error)
      }),
    destroy: () => {
      cancelledInTime()
      close(scope)
    }
  }
}
