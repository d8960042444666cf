import type { AppendRequest } from "@sluice/core/Journal"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import * as Slice from "@sluice/core/Slice"
import { encodeTags } from "@sluice/sql/adapter/JournalRow"
import * as MetadataColumn from "@sluice/sql/adapter/MetadataColumn"
import * as Naming from "@sluice/sql/adapter/Naming"
import * as Arr from "effect/Array"
import type { Assigned } from "./assign.ts"
import { hex, lengthOf, type Pieces, whole } from "./pieces.ts"

/**
 * @internal
 * A value as a hexadecimal literal, which no setting of the server makes part of the statement. Every value in these
 * statements is such a literal or an integer. MariaDB reads one faster than a text between quotes, which has half as many bytes.
 */
export const literal = (value: string): string => `x'${hex(Buffer.from(value))}'`

const uuid = (id: string): string => {
  if (!isUuid.test(id)) throw new RangeError(`'${id.slice(0, 100)}' is no UUID`)
  return `x'${id.replaceAll("-", "")}'`
}
const isUuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

const text = (value: string | null): string => value === null ? "NULL" : `_utf8mb4 ${literal(value)}`

/** MariaDB makes a subquery of a list with so many values, and reads the whole index for it: `in_predicate_conversion_threshold`. */
const longList = 1000

/** @internal Packets of as many statements as each has room for. */
export const packets = (statements: ReadonlyArray<Pieces>, maxBytes: number): Array<string> => {
  const packets: Array<string> = []
  let packet: Array<string> = []
  let bytes = 0
  for (const statement of statements) {
    const added = lengthOf(statement)
    if (packet.length > 0 && bytes + 1 + added > maxBytes) {
      packets.push(whole(packet))
      packet = []
      bytes = 0
    }
    if (packet.length > 0) {
      packet.push(";")
      bytes++
    }
    // one by one, as arguments have no room for the pieces of many rows
    for (const piece of statement) packet.push(piece)
    bytes += added
  }
  packets.push(whole(packet))
  return packets
}

/** @internal */
export const indexName = (naming: Naming.Naming, index: "log" | "entity"): string =>
  `\`${naming.prefix}journal_${index}\``

/** @internal A log, and where in it something is. */
export interface LogRow {
  readonly slice: number
  readonly position: number
  readonly timestamp: number
}

/** @internal Up to where a log was pruned. */
export type FloorRow = Pick<LogRow, "slice" | "position">

/** @internal */
export const slicesOf = (requests: ReadonlyArray<AppendRequest>): ReadonlyArray<Slice.Slice> => [
  ...new Set(requests.map(({ persistenceId }) => Slice.ofPersistenceId(persistenceId)))
]

/** @internal The entities, in the order in which `entities` numbers them. */
export const entitiesOf = (requests: ReadonlyArray<AppendRequest>): ReadonlyArray<PersistenceId> => [
  ...new Set(requests.map(({ persistenceId }) => persistenceId))
]

const listOf = (slices: Iterable<number>): string => Array.from(slices).toSorted((a, b) => a - b).join(",")

const now = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"

/** @internal The statements of an append. None of them has more bytes than `maxBytes()`, unless a single event alone has more. */
export const makeStatements = (naming: Naming.Naming, writerId: string, maxBytes: () => number) => {
  const journal = Naming.quoted("mysql", naming, "sluice_journal")
  const head = Naming.quoted("mysql", naming, "sluice_head")
  const floor = Naming.quoted("mysql", naming, "sluice_floor")
  const writer = uuid(writerId)
  const last = (id: string) =>
    `(SELECT sequence_number FROM ${journal} WHERE persistence_id = ${id} ORDER BY sequence_number DESC LIMIT 1)`

  return {
    journal,
    head,

    /**
     * Locks the logs in their order, by the primary key: left to itself the optimizer reads the whole entity type from about half of
     * its logs on, and then waits for, or locks, logs that nobody asked for.
     */
    lock: (entityType: string, requests: ReadonlyArray<AppendRequest>, how: "" | "SKIP LOCKED"): string =>
      `SELECT slice, position, timestamp FROM ${head} FORCE INDEX (PRIMARY)
        WHERE entity_type = ${literal(entityType)} AND slice IN (${listOf(slicesOf(requests))})
        ORDER BY slice FOR UPDATE ${how}`,

    /** Up to where the logs were pruned. In a subquery of the statement that locks them, MariaDB would keep a cache of what it finds for each. */
    floors: (entityType: string, requests: ReadonlyArray<AppendRequest>): string =>
      `SELECT slice, position FROM ${floor}
        WHERE entity_type = ${literal(entityType)} AND slice IN (${listOf(slicesOf(requests))})`,

    /** The head of a log, and up to where it was pruned, without a lock. */
    seen: (entityType: string, { persistenceId }: AppendRequest): string =>
      `SELECT slice, position, (
          SELECT f.position FROM ${floor} f WHERE f.entity_type = h.entity_type AND f.slice = h.slice
        ) AS floor FROM ${head} h
        WHERE entity_type = ${literal(entityType)} AND slice = ${Slice.ofPersistenceId(persistenceId)}`,

    /**
     * The last sequence number of each entity, looked up from its end, and the time, independent of the session's time
     * zone. `MAX … GROUP BY` would read every event of a long entity, and a `UNION` of the ids takes longer to parse. A single one needs no table.
     */
    entities: (requests: ReadonlyArray<AppendRequest>): string => {
      const [first, ...others] = entitiesOf(requests)
      return others.length === 0
        ? `SELECT 1 AS number, ${last(literal(first!))} AS n, ${now} AS now`
        : `SELECT e.number, ${last("e.id")} AS n, IF(e.number = 1, ${now}, NULL) AS now
          FROM JSON_TABLE(${text(JSON.stringify([first, ...others]))}, '$[*]'
            COLUMNS (number FOR ORDINALITY, id VARBINARY(255) PATH '$')) e`
    },

    /** The newest event of each log, or of all logs if there are many, and the floors, whatever the heads say. */
    lasts: (entityType: string, slices: ReadonlyArray<number>): string => {
      const log = `entity_type = ${literal(entityType)}${
        slices.length < longList ? ` AND slice IN (${slices.join(",")})` : ""
      }`
      return `SELECT slice, position, timestamp FROM ${floor} WHERE ${log} UNION ALL
        SELECT j.slice, j.position, j.timestamp FROM ${journal} j JOIN (
          SELECT entity_type, slice, MAX(position) AS position FROM ${journal} FORCE INDEX (${
        indexName(naming, "log")
      }) WHERE ${log} GROUP BY entity_type, slice
        ) l ON j.entity_type = l.entity_type AND j.slice = l.slice AND j.position = l.position`
    },

    /** When the events at the places were appended, where there are any. */
    timestamps: (entityType: string, places: ReadonlyArray<readonly [slice: number, position: number]>): string =>
      Arr.chunksOf(places, longList / 2 - 1).map((some) =>
        `SELECT slice, timestamp FROM ${journal} FORCE INDEX (${indexName(naming, "log")})
        WHERE entity_type = ${literal(entityType)} AND (slice, position) IN (${
          some.map(([slice, position]) => `(${slice},${position})`).join(",")
        })`
      ).join(" UNION ALL "),

    /** Makes the heads of logs, or moves those on that lag behind. None is moved back. */
    raise: (entityType: string, heads: ReadonlyArray<LogRow>): string => {
      const type = literal(entityType)
      const values = heads.map(({ position, slice, timestamp }) => `(${type},${slice},${position},${timestamp})`)
      return `INSERT INTO ${head} (entity_type, slice, position, timestamp) VALUES ${values.join(",")}
        ON DUPLICATE KEY UPDATE position = GREATEST(position, VALUES(position)),
          timestamp = GREATEST(timestamp, VALUES(timestamp))`
    },

    /** Where events that may have been written before are, by their ids. */
    found: (requests: ReadonlyArray<AppendRequest>): string | undefined => {
      const asked = requests.filter((request) => request.recheck)
      return asked.length === 0 ?
        undefined :
        `SELECT HEX(event_id) AS id, sequence_number, position, timestamp FROM ${journal}
        WHERE ${
          asked.map(({ events, persistenceId }) =>
            `(persistence_id = ${literal(persistenceId)} AND event_id = ${uuid(events.at(-1)!.id)})`
          ).join(" OR ")
        }`
    },

    /** Several, if they are too large for one. What no event has is not mentioned. */
    inserts: (entityType: string, { rows }: Assigned): Array<Pieces> => {
      const type = literal(entityType)
      const encoded = rows.map(({ event }) => ({
        tags: encodeTags(event.tags),
        metadata: MetadataColumn.encode(event)
      }))
      const optional = (["tags", "metadata"] as const).filter((column) => encoded.some((row) => row[column] !== null))
      const columns = ["manifest", "payload", ...optional].join(", ")
      const into = `INSERT INTO ${journal} (entity_type, slice, position, timestamp, persistence_id, sequence_number,
        event_id, writer_id, ${columns}) VALUES `
      const max = maxBytes()
      const inserts: Array<Pieces> = []
      let insert = [into]
      let bytes = into.length
      rows.forEach(({ event, persistenceId, position, sequenceNumber, slice, timestamp }, i) => {
        const payload = hex(event.payload.bytes)
        const before = `(${type},${slice},${position},${timestamp},${literal(persistenceId)},${sequenceNumber},${
          uuid(event.id)
        },${writer},${text(event.payload.manifest)},x'`
        const after = `'${optional.map((column) => `,${text(encoded[i]![column])}`).join("")})`
        const added = before.length + payload.length + after.length
        if (insert.length > 1 && bytes + added > max) {
          inserts.push(insert)
          insert = [into]
          bytes = into.length
        }
        insert.push(insert.length > 1 ? `,${before}` : before, payload, after)
        bytes += added + 1
      })
      inserts.push(insert)
      return inserts
    },

    move: (entityType: string, { moved }: Assigned): string => {
      const column = (name: "position" | "timestamp") => {
        const values = new Set(Array.from(moved.values(), (head) => head[name]))
        return `${name} = ${
          values.size === 1
            ? [...values][0]
            : `CASE slice ${Array.from(moved, ([slice, head]) => `WHEN ${slice} THEN ${head[name]}`).join(" ")} END`
        }`
      }
      return `UPDATE ${head} FORCE INDEX (PRIMARY) SET ${column("position")}, ${column("timestamp")}
        WHERE entity_type = ${literal(entityType)} AND slice IN (${[...moved.keys()].join(",")})`
    }
  }
}

/** @internal */
export type Statements = ReturnType<typeof makeStatements>

/** @internal The entity of a number, from 1. The first row has the time. */
export type EntityRow = { readonly number: number; readonly n: number | null; readonly now: number | null }
