import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import { Handled, Note } from "./Numbered.ts"

/** Says when each call begins and ends, and cannot be interrupted. Nothing but the order of handovers keeps two calls from running at once. */
export const Slow = Source.journal(Note).pipe(
  Projection.atMostOnce("slow", ({ persistenceId, sequenceNumber }) => {
    const say = (what: string) =>
      Journal.append(Handled, { id: PersistenceId.entityId(persistenceId), events: [`${sequenceNumber} ${what}`] })
    return Effect.uninterruptible(
      Effect.andThen(say("begins"), Effect.andThen(Effect.sleep("2500 millis"), say("ends")))
    )
  }),
  Projection.workers(2)
)

/** Has as many workers as its lag asks for. */
export const Automatic = Source.journal(Note).pipe(
  Projection.atLeastOnce("automatic", () => Effect.sleep("250 millis")),
  Projection.workers({ min: 1, max: 4, catchUpWithin: "10 seconds" })
)
