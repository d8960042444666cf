import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import { type JournalRow, sizeOf, toEnvelope } from "@sluice/sql/adapter/JournalRow"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Request from "effect/Request"
import * as RequestResolver from "effect/RequestResolver"
import type { SqlError } from "effect/sql/SqlError"

/** At most so many entities are read in one statement. */
const maxEntities = 64

/** And about so many bytes. An event counts as some, however small it is. */
const maxBytes = 1024 * 1024
const bytesEach = 100

/** Up to `limit` events of an entity. */
class EntityRead extends Request.Class<
  {
    readonly persistenceId: PersistenceId
    readonly from: SequenceNumber
    readonly to: SequenceNumber
    readonly limit: number
  },
  ReadonlyArray<EncodedEnvelope>,
  SqlError
> {}

/** A row, and of which read it is, from 1. */
type Row = JournalRow & { readonly n: number }

/**
 * @internal
 * Reads entities, those in one statement that are asked for in the same moment: when many are recovered at once, the statements are most of the work.
 */
export const makeEntityReads = (
  { columns, journal, query, read, size }: {
    readonly journal: string
    readonly columns: ReadonlyArray<string>
    /** How large an event of `j` is, in SQL. */
    readonly size: string
    readonly query: (text: string, values: Array<unknown>) => Effect.Effect<ReadonlyArray<Row>, SqlError>
    /** Reads one entity. */
    readonly read: (
      persistenceId: PersistenceId,
      from: SequenceNumber,
      to: SequenceNumber,
      limit: number
    ) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, SqlError>
  }
): typeof read => {
  const weight = `${size} + ${bytesEach}`
  const text = `SELECT n, ${columns.join(", ")} FROM (
    SELECT s.n, ${columns.map((column) => `j.${column}`).join(", ")},
      sum(${weight}) OVER (ORDER BY s.n, j.sequence_number) - (${weight}) AS bytes
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY s(id, first, last, most, n)
    CROSS JOIN LATERAL (
      SELECT ${columns.join(", ")} FROM ${journal}
      WHERE persistence_id = s.id AND sequence_number BETWEEN s.first AND s.last ORDER BY sequence_number LIMIT s.most
    ) j
  ) j WHERE bytes < ${maxBytes} ORDER BY n, sequence_number`

  const one = (entry: Request.Entry<EntityRead>): Effect.Effect<void> => {
    const { from, limit, persistenceId, to } = entry.request
    return Effect.map(Effect.exit(read(persistenceId, from, to, limit)), (exit) => entry.completeUnsafe(exit))
  }
  const each = (entries: ReadonlyArray<Request.Entry<EntityRead>>) =>
    Effect.forEach(entries, one, { concurrency: "unbounded", discard: true })

  const resolver = RequestResolver.make<EntityRead>((entries) => {
    if (entries.length === 1) return one(entries[0])
    const reads = entries.map(({ request }) => request)
    const values = [
      reads.map(({ persistenceId }) => persistenceId),
      reads.map(({ from }) => from),
      reads.map(({ to }) => to),
      reads.map(({ limit }) => limit)
    ]
    return Effect.matchEffect(query(text, values), {
      // what one is at fault for is no failure of the others
      onFailure: (error) =>
        error.reason._tag === "ConnectionError"
          ? Effect.sync(() => entries.forEach((entry) => entry.completeUnsafe(Exit.fail(error))))
          : each(entries),
      onSuccess: (rows) => {
        const pages = entries.map((): Array<Row> => [])
        let bytes = 0
        for (const row of rows) {
          pages[row.n - 1]!.push(row)
          bytes += sizeOf(row) + bytesEach
        }
        // where it ends for its size, nothing is known of those behind
        const known = bytes < maxBytes ? entries.length : rows.at(-1)!.n
        for (let i = 0; i < known; i++) entries[i]!.completeUnsafe(envelopesOf(pages[i]!))
        return known === entries.length ? Effect.void : each(entries.slice(known))
      }
    })
  }).pipe(RequestResolver.batchN(maxEntities))

  return (persistenceId, from, to, limit) =>
    Effect.request(new EntityRead({ persistenceId, from, to, limit }), resolver)
}

const envelopesOf = (rows: ReadonlyArray<JournalRow>): Exit.Exit<ReadonlyArray<EncodedEnvelope>> => {
  try {
    return Exit.succeed(rows.map(toEnvelope))
  } catch (defect) {
    return Exit.die(defect)
  }
}
