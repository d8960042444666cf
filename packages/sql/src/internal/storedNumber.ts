import type { StoredNumber } from "@sluice/core/Rewind"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { Timestamp } from "@sluice/core/Timestamp"
import type { Selectable } from "kysely"
import type { OffsetEntityTable } from "../SluiceTables.ts"

/** @internal What is stored of an entity, from its row. */
export const toStoredNumber = (
  { revision, sequence_number, since }: Pick<Selectable<OffsetEntityTable>, "revision" | "sequence_number" | "since">
): StoredNumber => {
  const sequenceNumber = sequence_number as SequenceNumber
  return since === null ? { sequenceNumber, revision } : { sequenceNumber, revision, since: since as Timestamp }
}
