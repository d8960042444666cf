/**
 * The clock that rows are stamped with.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { type RawBuilder, sql } from "kysely"
import type { Dialect } from "./Dialect.ts"

const servers = {
  postgres: sql<number>`(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`,
  mysql: sql<number>`TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))`
}

/**
 * The time in microseconds as a SQL expression: by the server's clock, or by this machine's if the database has no
 * server.
 *
 * @category getters
 * @since 0.1.0
 */
export const now = (dialect: Dialect): Effect.Effect<RawBuilder<number>> =>
  dialect === "sqlite"
    ? Effect.map(Clock.currentTimeNanos, (nanos) => sql<number>`${Number(nanos / 1000n)}`)
    : Effect.succeed(servers[dialect])
