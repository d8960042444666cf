import { type AppendRequest, maxPageBytes, SequenceConflict, type Written } from "@sluice/core/Journal"
import type { Offset } from "@sluice/core/Offset"
import type { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Timestamp from "@sluice/core/Timestamp"
import type { Answer } from "@sluice/sql/adapter/AppendLane"
import type { JournalDialect } from "@sluice/sql/adapter/JournalDialect"
import {
  columns,
  encodeTags,
  type JournalRow,
  type Page,
  sizeInSql,
  toEnvelope,
  toPage
} from "@sluice/sql/adapter/JournalRow"
import * as MetadataColumn from "@sluice/sql/adapter/MetadataColumn"
import * as Naming from "@sluice/sql/adapter/Naming"
import type { Database } from "@sluice/sql/Database"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type Pg from "pg"
import * as Binary from "./binaryArray.ts"
import { LostSessions } from "./lostSessions.ts"
import { withClient } from "./pool.ts"
import { statementName } from "./statementName.ts"

const statuses = { busy: 0, written: 1, conflict: 2, found: 3 }
const expectations = { any: -1, exists: -2, none: 0 }

const size = sizeInSql("j")

/** How large all events before an event are, in that order. */
const sizeBefore = (order: string): string => `sum(${size}) OVER (ORDER BY ${order}) - (${size})`

/** A row of what the function answers. */
type AppendRow = readonly [status: number, sequenceNumber: number, position: number, timestamp: number]

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
  const append = Naming.quoted("postgres", naming, "sluice_append")
  const placeholders = Array.from({ length: 14 }, (_, i) => `$${i + 1}`).join(", ")
  const appendText = `SELECT * FROM ${append}(${placeholders})`
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

  const appendOnOwn = (requests: ReadonlyArray<AppendRequest>, wait: boolean) =>
    Effect.map(
      withClient(
        writers,
        "append",
        async (client): Promise<ReadonlyArray<AppendRow>> => {
          if (requests.some(({ recheck }) => recheck)) await lost.end(client)
          const answer = client.query({
            name: appendName,
            text: appendText,
            values: appendValues(requests, lockOf(naming, requests[0]!.entityType), writerId, wait),
            rowMode: "array"
          })
          return (await answer).rows
        },
        ({ session }) => lost.add(session!)
      ),
      (rows) => requests.map((request, i) => toAnswer(request, rows[i]!))
    )

  return {
    register: () => Effect.void,
    tryAppend: (requests) => appendOnOwn(requests, false),
    waitAppend: (requests) => appendOnOwn(requests, true) as Effect.Effect<ReadonlyArray<Answer>, any>,
    appendWithin: (request) =>
      Effect.map(
        database.sql.unsafe<Record<string, number>>(
          appendText,
          appendValues([request], lockOf(naming, request.entityType), writerId, true)
        ).values as Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, any>,
        ([row]) => toAnswer(request, row as unknown as AppendRow)!
      ),
    // the function counts on from the entity's head, which only the first of several may ask for
    joins: (_, later) => later.expected === "any" && !later.recheck,
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
    timestamps: (entityType, positions) =>
      Effect.map(
        query<{ slice: Slice.Slice; timestamp: Timestamp.Timestamp }>(
          "timestamps",
          `SELECT j.slice, j.timestamp FROM unnest($2::smallint[], $3::bigint[]) s(slice, position)
          CROSS JOIN LATERAL (
            SELECT slice, timestamp FROM ${journal}
            WHERE entity_type = $1 AND slice = s.slice AND position = s.position LIMIT 1
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
      Effect.flatMap(database.inTransaction, (inTransaction) => {
        const text = `SELECT ${columns.join(", ")} FROM (
          SELECT ${selected}, ${sizeBefore("j.sequence_number")} AS bytes
          FROM (
            SELECT ${columns.join(", ")} FROM ${journal}
            WHERE persistence_id = $1 AND sequence_number BETWEEN $2 AND $3 ORDER BY sequence_number LIMIT $4
          ) j
        ) j WHERE bytes < ${maxPageBytes} ORDER BY sequence_number`
        const values = [persistenceId, from, to, limit]
        return inTransaction
          ? Effect.map(database.sql.unsafe<JournalRow>(text, values), (rows) => rows.map(toEnvelope))
          : events("entity", text, values)
      })
  }
}

const appendValues = (
  requests: ReadonlyArray<AppendRequest>,
  lock: number,
  writerId: string,
  wait: boolean
): Array<unknown> => {
  const slices: Array<number> = []
  const ids: Array<string> = []
  const expected: Array<number> = []
  const recheck: Array<boolean> = []
  const appends: Array<number> = []
  const eventIds: Array<string> = []
  const manifests: Array<string> = []
  const payloads: Array<Uint8Array> = []
  const tags: Array<string | null> = []
  const metadata: Array<string | null> = []
  requests.forEach((request, i) => {
    slices.push(Slice.ofPersistenceId(request.persistenceId))
    ids.push(request.persistenceId)
    expected.push(typeof request.expected === "string" ? expectations[request.expected] : request.expected)
    recheck.push(request.recheck)
    for (const event of request.events) {
      const { bytes, manifest } = event.payload
      appends.push(i + 1)
      eventIds.push(event.id)
      manifests.push(manifest)
      payloads.push(bytes)
      tags.push(encodeTags(event.tags))
      metadata.push(MetadataColumn.encode(event))
    }
  })
  const { entityType } = requests[0]!
  return [
    entityType,
    writerId,
    lock,
    wait,
    Binary.smallints(slices),
    Binary.texts(ids),
    Binary.bigints(expected),
    Binary.booleans(recheck),
    Binary.ints(appends),
    Binary.uuids(eventIds),
    Binary.texts(manifests),
    Binary.byteas(payloads),
    Binary.texts(tags),
    Binary.texts(metadata)
  ]
}

const toAnswer = (request: AppendRequest, row: AppendRow): Answer | undefined => {
  const [status, sequenceNumber, position, timestamp] = row
  const { events, expected, persistenceId } = request
  if (status === statuses.busy) return undefined
  if (status === statuses.conflict) {
    return Exit.fail(
      new SequenceConflict({
        persistenceId,
        expected: expected as Exclude<AppendRequest["expected"], "any">,
        actual: sequenceNumber as SequenceNumber
      })
    )
  }
  return Exit.succeed<Written>({
    persistenceId,
    slice: Slice.ofPersistenceId(persistenceId),
    sequenceNumber: sequenceNumber as SequenceNumber,
    position: position as Position,
    timestamp: timestamp as Timestamp.Timestamp,
    count: events.length
  })
}

/** The first half of the key of the advisory locks of an entity type's logs; the second is the slice. */
const lockOf = ({ prefix, schema }: Naming.Naming, entityType: string): number => {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(`sluice ${schema ?? ""} ${prefix} ${entityType}`)) {
    hash = Math.imul(hash ^ byte, 0x01000193)
  }
  return hash | 0
}
