import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Projection from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"
import * as Tables from "@sluice/sql/Tables"
import type { Generated } from "kysely"

export const Note = EntityType.make("note", { codec: EventCodec.string })

/** A row per event, as often as it was handled, in the order in which they were. */
export const tables = Tables.make<{
  handled_by_runner: {
    readonly id: Generated<number>
    readonly persistence_id: string
    readonly sequence_number: number
    readonly runner: string
  }
}>()

/** Writes down what is handled, and who has done so. Nothing but the offsets keeps it from doing so twice. */
export const notes = (runner: string) =>
  Source.journal(Note).pipe(
    Projection.exactlyOnce("notes", ({ persistenceId, sequenceNumber }) =>
      Tables.run(
        tables.insertInto("handled_by_runner").values({
          persistence_id: persistenceId,
          sequence_number: sequenceNumber,
          runner
        })
      ))
  )
