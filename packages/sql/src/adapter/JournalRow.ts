/**
 * Rows of the journal's table as envelopes.
 *
 * @since 0.1.0
 */
import { encoded, type EncodedEnvelope, nothing } from "@sluice/core/Envelope"
import { maxPageBytes } from "@sluice/core/Journal"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { Slice } from "@sluice/core/Slice"
import type { Timestamp } from "@sluice/core/Timestamp"
import type { JournalTable } from "../SluiceTables.ts"
import * as MetadataColumn from "./MetadataColumn.ts"

/**
 * The columns that an envelope is made of.
 *
 * @category models
 * @since 0.1.0
 */
export type JournalRow = Pick<
  JournalTable,
  | "slice"
  | "position"
  | "timestamp"
  | "persistence_id"
  | "sequence_number"
  | "manifest"
  | "payload"
  | "tags"
  | "metadata"
>

/**
 * The names of the columns that an envelope is made of, to be selected.
 *
 * @category constants
 * @since 0.1.0
 */
export const columns = [
  "slice",
  "position",
  "timestamp",
  "persistence_id",
  "sequence_number",
  "manifest",
  "payload",
  "tags",
  "metadata"
] as const satisfies ReadonlyArray<keyof JournalRow>

/**
 * Tags as their column has them: JSON, or null for none.
 *
 * @category converting
 * @since 0.1.0
 */
export const encodeTags = (tags: ReadonlyArray<string>): string | null =>
  tags.length === 0 ? null : JSON.stringify(tags)

/**
 * The tags that a column has.
 *
 * @category converting
 * @since 0.1.0
 */
export const decodeTags = (text: string | null): ReadonlyArray<string> =>
  text === null ? nothing.tags : JSON.parse(text) as ReadonlyArray<string>

/**
 * The envelope that a row holds.
 *
 * @category converting
 * @since 0.1.0
 */
export const toEnvelope = (row: JournalRow): EncodedEnvelope => {
  const { foreignMetadata, metadata, replication } = MetadataColumn.decode(row.metadata)
  return encoded({
    persistenceId: row.persistence_id as PersistenceId,
    sequenceNumber: row.sequence_number as SequenceNumber,
    slice: row.slice as Slice,
    position: row.position as Position,
    timestamp: row.timestamp as Timestamp,
    tags: decodeTags(row.tags),
    metadata,
    replication,
    foreignMetadata
  }, row.payload === null ? undefined : { manifest: row.manifest, bytes: row.payload })
}

/**
 * How many bytes a row has in the columns that may be large.
 *
 * @category getters
 * @since 0.1.0
 */
export const sizeOf = ({ metadata, payload, tags }: Pick<JournalRow, "payload" | "tags" | "metadata">): number =>
  (payload?.length ?? 0) + (tags === null ? 0 : Buffer.byteLength(tags)) +
  (metadata === null ? 0 : Buffer.byteLength(metadata))

/**
 * The same in SQL.
 *
 * @category getters
 * @since 0.1.0
 */
export const sizeInSql = (table: string): string =>
  ["payload", "tags", "metadata"].map((column) => `coalesce(octet_length(${table}.${column}), 0)`).join(" + ")

/**
 * A page of rows: its events, and whether it ends for its size, so that there may be more.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page {
  readonly events: ReadonlyArray<EncodedEnvelope>
  readonly isFull: boolean
}

/**
 * The page that rows are, which were cut when there were `maxPageBytes` of them.
 *
 * @category converting
 * @since 0.1.0
 */
export const toPage = (rows: ReadonlyArray<JournalRow>): Page => {
  let bytes = 0
  const events = rows.map((row) => {
    bytes += sizeOf(row)
    return toEnvelope(row)
  })
  return { events, isFull: bytes >= maxPageBytes }
}
