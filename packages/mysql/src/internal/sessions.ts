import * as AnswerTimeout from "@sluice/sql/adapter/AnswerTimeout"
import type { Session, Sessions } from "@sluice/sql/adapter/Session"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { CompiledQuery, type DatabaseConnection, MysqlDriver } from "kysely"
import * as Connection from "./connection.ts"
import { canceller, errorOf, type Pool } from "./pool.ts"

const commitAndChain = CompiledQuery.raw("COMMIT AND CHAIN")

/** @internal The connections of a pool, as `Database` uses them. */
export const makeSessions = (pool: Pool): Sessions => {
  const known = new WeakMap<Connection.Session, Promise<DatabaseConnection>>()

  /** Kysely's connection over one connection of this pool. */
  const connectionOf = (session: Connection.Session): Promise<DatabaseConnection> => {
    const found = known.get(session)
    if (found !== undefined) return found
    const only = { getConnection: (done: any) => done(null, session.connection), end: (done: any) => done() }
    const driver = new MysqlDriver({ pool: only, controlConnection: (() => canceller(pool, session)) as any })
    const made = driver.init().then(() => driver.acquireConnection())
    known.set(session, made)
    return made
  }

  return {
    isSingle: false,
    acquire: async (signal): Promise<Session> => {
      const scope = Scope.makeUnsafe()
      const lent = await Effect.runPromiseExit(
        Scope.provide(
          Effect.flatMap(
            pool.lend,
            (session) =>
              Effect.map(Effect.promise(() => connectionOf(session)), (connection) => ({ session, connection }))
          ),
          scope
        ),
        { signal }
      )
      if (Exit.isFailure(lent)) {
        await Effect.runPromise(Scope.close(scope, lent))
        throw errorOf(lent.cause)
      }
      const { connection, session } = lent.value
      const status = () => session.status
      return {
        connection,
        status,
        commitAndBegin: async (_, first) => {
          // nobody can be interrupted before a commit and what begins with it are answered
          const answeredInTime = Connection.abandonAfter(session, AnswerTimeout.ofEnd(commitAndChain.sql)!)
          try {
            // with the isolation level and the access mode of this one
            await connection.executeQuery(commitAndChain)
            // outside of a transaction, the query would be committed at once
            const begun = status() === "open"
              ? await connection.executeQuery<any>(first).catch(() => undefined)
              : undefined
            return { command: "COMMIT", begun }
          } finally {
            answeredInTime()
          }
        },
        isDue: () => session.isChanged || !pool.hasSpare(),
        isLost: () => session.isLost,
        // an error says nothing of the transaction
        ask: () =>
          new Promise((resolve, reject) => {
            // the return of a connection must not wait for a server that does not answer
            const answeredInTime = Connection.abandonAfter(session, Connection.budget)
            session.connection.query("DO 0", (error) => {
              answeredInTime()
              if (error === null) resolve(status() ?? "failed")
              else reject(error)
            })
          }),
        release: (isClean) => {
          if (!isClean) Connection.abandon(session, "nobody knows what is open on the connection")
          Effect.runFork(Scope.close(scope, Exit.void))
        }
      }
    }
  }
}
