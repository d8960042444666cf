import { type AppendRequest, maxPageBytes } from "@sluice/core/Journal"
import type { Offset } from "@sluice/core/Offset"
import type * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import type { Answer } from "@sluice/sql/adapter/AppendLane"
import type { JournalDialect } from "@sluice/sql/adapter/JournalDialect"
import { columns, type JournalRow, type Page, sizeInSql, toEnvelope, toPage } from "@sluice/sql/adapter/JournalRow"
import * as Naming from "@sluice/sql/adapter/Naming"
import type { Database } from "@sluice/sql/Database"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type Pg from "pg"
import * as AppendCall from "./appendCall.ts"
import { makeEntityReads } from "./entityReads.ts"
import { KnownPositions } from "./KnownPositions.ts"
import { LostSessions } from "./lostSessions.ts"
import { withClient } from "./pool.ts"
import { statementName } from "./statementName.ts"

const size = sizeInSql("j")

/** How large all events before an event are, in that order. */
const sizeBefore = (order: string): string => `sum(${size}) OVER (ORDER BY ${order}) - (${size})`

/** @internal The pools of connections: for appends and for reads. */
export interface Connections {
  readonly writers: Pg.Pool
  readonly readers: Pg.Pool
  readonly database: Database["Service"]
}

/** @internal */
export const makeDialect = (
  { database, readers, writers }: Connections,
  naming: Naming.Naming,
  writerId: string
): JournalDialect => {
  const journal = Naming.quoted("postgres", naming, "sluice_journal")
  const known = new KnownPositions()
  const caller = { naming, writerId, known }
  const appendText = AppendCall.statementOf(naming)
  const appendName = statementName("append", appendText)
  const lost = new LostSessions()
  const selected = columns.map((column) => `j.${column}`).join(", ")

  const names = new Map<string, string>()
  const nameOf = (operation: string, text: string): string => {
    let name = names.get(text)
    if (name === undefined) names.set(text, name = statementName(operation, text))
    return name
  }

  const query = <Row>(operation: string, text: string, values: Array<unknown>) =>
    withClient(
      readers,
      operation,
      async (client): Promise<Array<Row>> => (await client.query({ name: nameOf(operation, text), text, values })).rows
    )

  const page = (name: string, text: string, values: Array<unknown>): Effect.Effect<Page, any> =>
    Effect.map(query<JournalRow>(name, text, values), toPage)
  const events = (name: string, text: string, values: Array<unknown>): Effect.Effect<Page["events"], any> =>
    Effect.map(page(name, text, values), ({ events }) => events)

  const entityText = `SELECT ${columns.join(", ")} FROM (
    SELECT ${selected}, ${sizeBefore("j.sequence_number")} AS bytes
    FROM (
      SELECT ${columns.join(", ")} FROM ${journal}
      WHERE persistence_id = $1 AND sequence_number BETWEEN $2 AND $3 ORDER BY sequence_number LIMIT $4
    ) j
  ) j WHERE bytes < ${maxPageBytes} ORDER BY sequence_number`
  const entityReads = makeEntityReads({
    journal,
    columns,
    size,
    query: (text, values) => query("entities", text, values),
    read: (...values) => events("entity", entityText, values)
  })

  const appendOnOwn = (requests: NonEmptyReadonlyArray<AppendRequest>, wait: boolean) =>
    Effect.map(
      withClient(
        writers,
        "append",
        async (client): Promise<string> => {
          if (requests.some(({ recheck }) => recheck)) await lost.end(client)
          const { rows: [row] } = await client.query({
            name: appendName,
            text: appendText,
            values: AppendCall.argumentsOf(caller, requests, wait),
            rowMode: "array"
          })
          return row[0]
        },
        ({ session }) => lost.add(session!)
      ),
      (answer) => {
        const answers = AppendCall.toAnswers(requests, answer)
        known.learn(requests[0].entityType, answers)
        return answers
      }
    )

  return {
    register: () => Effect.void,
    tryAppend: (requests) => appendOnOwn(requests, false),
    waitAppend: (requests) => appendOnOwn(requests, true) as Effect.Effect<ReadonlyArray<Answer>, any>,
    appendWithin: (request) =>
      Effect.map(
        database.sql.unsafe<{ readonly answer: string }>(
          appendText,
          AppendCall.argumentsOf(caller, [request], true)
        ),
        ([row]) => AppendCall.toAnswers([request], row!.answer)[0]!
      ),
    // the function looks for what was written before, and so not for what the same batch writes
    joins: (_, later) => !later.recheck,
    now: Effect.map(
      query<{ now: number }>("now", "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now", []),
      ([row]) => Timestamp.make(row!.now)
    ),
    heads: (entityType, range) =>
      Effect.map(
        query<{ slice: Slice.Slice } & Offset>(
          "heads",
          `SELECT s.slice, j.position, j.timestamp FROM generate_series($2::int, $3::int) s(slice)
          CROSS JOIN LATERAL (
            SELECT position, timestamp FROM ${journal}
            WHERE entity_type = $1 AND slice = s.slice::smallint ORDER BY position DESC LIMIT 1
          ) j`,
          [entityType, range.min, range.max]
        ),
        (rows) => new Map(rows.map(({ position, slice, timestamp }) => [slice, { position, timestamp }]))
      ),
    // one position as a range, in its order: of a type that it has not seen yet, the planner may otherwise go through all events, by their time, for each
    timestamps: (entityType, positions) =>
      Effect.map(
        query<{ slice: Slice.Slice; timestamp: Timestamp.Timestamp }>(
          "timestamps",
          `SELECT j.slice, j.timestamp FROM unnest($2::smallint[], $3::bigint[]) s(slice, position)
          CROSS JOIN LATERAL (
            SELECT slice, timestamp FROM ${journal}
            WHERE entity_type = $1 AND slice = s.slice AND position BETWEEN s.position AND s.position
            ORDER BY position LIMIT 1
          ) j`,
          [entityType, positions.map(([slice]) => slice), positions.map(([, position]) => position)]
        ),
        (rows) => new Map(rows.map(({ slice, timestamp }) => [slice, timestamp]))
      ),
    byTime: (entityType, range, after, limit) =>
      events(
        "byTime",
        `SELECT ${columns.join(", ")} FROM (
          SELECT ${selected}, ${sizeBefore("j.timestamp, j.slice")} AS bytes
          FROM (
            SELECT ${columns.join(", ")} FROM ${journal}
            WHERE entity_type = $1 AND slice BETWEEN $2 AND $3 AND (timestamp, slice) > ($4, $5)
            ORDER BY timestamp, slice LIMIT $6
          ) j
        ) j WHERE bytes < ${maxPageBytes} ORDER BY timestamp, slice`,
        [entityType, range.min, range.max, after.timestamp, after.slice, limit]
      ),
    bySlices: (entityType, after, limit) =>
      page(
        "bySlices",
        `SELECT ${columns.join(", ")} FROM (
          SELECT ${selected}, ${sizeBefore("j.timestamp, j.slice")} AS bytes
          FROM unnest($2::smallint[], $3::bigint[]) s(slice, after)
          CROSS JOIN LATERAL (
            SELECT ${columns.join(", ")} FROM ${journal}
            WHERE entity_type = $1 AND slice = s.slice AND position > s.after ORDER BY position LIMIT $4
          ) j
        ) j WHERE bytes < ${maxPageBytes} ORDER BY timestamp, slice`,
        [entityType, after.map(([slice]) => slice), after.map(([, position]) => position), limit]
      ),
    entity: (persistenceId, from, to, limit) =>
      Effect.flatMap(database.inTransaction, (inTransaction) =>
        inTransaction
          ? Effect.map(
            database.sql.unsafe<JournalRow>(entityText, [persistenceId, from, to, limit]),
            (rows) => rows.map(toEnvelope)
          )
          : entityReads(persistenceId, from, to, limit))
  }
}
