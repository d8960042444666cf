/** What the test of deliveries and the process that it kills have in common. */
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Projection from "@sluice/core/Projection"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"

export const Note = EntityType.make("note", { codec: EventCodec.string })

export const groupSize = 5
export const saveAfter = 10
export const parallelism = 4

type Handle = (envelope: Envelope<string>) => Effect.Effect<void>

const inGroups = (handle: Handle) =>
  Handler.grouped(
    { size: groupSize, within: "5 millis" },
    (envelopes: ReadonlyArray<Envelope<string>>) => Effect.forEach(envelopes, handle, { discard: true })
  )

export const deliveries = {
  "at most once": (handle: Handle) => Projection.atMostOnce("notes", handle)(Source.journal(Note)),
  "at most once, in groups": (handle: Handle) => Projection.atMostOnce("notes", inGroups(handle))(Source.journal(Note)),
  "at least once, at the same time": (handle: Handle) =>
    Projection.atLeastOnce("notes", Handler.scoped(() => Effect.succeed(handle)), { saveAfter, parallelism })(
      Source.journal(Note)
    )
}

export type Delivery = keyof typeof deliveries
