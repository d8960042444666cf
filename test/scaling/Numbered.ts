import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"

export const Note = EntityType.make("note", { codec: EventCodec.string })

/** What was handled of a note, in the journal itself, so that it is written in the transaction that moves the offset. */
export const Handled = EntityType.make("handled", { codec: EventCodec.string })

export const Numbered = Source.journal(Note).pipe(
  Projection.exactlyOnce(
    "numbered",
    ({ persistenceId, sequenceNumber }) =>
      Journal.append(Handled, { id: PersistenceId.entityId(persistenceId), events: [`${sequenceNumber}`] })
  )
)
