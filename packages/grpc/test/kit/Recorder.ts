/** The consumer's service of a test: a projection that records what it has handled in a journal of its own. */
import * as EntityType from "@sluice/core/EntityType"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Wait from "@sluice/testing/Wait"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** The storage of one service, which survives its restarts. */
export const makeStorage = Layer.build(Layer.fresh(MemoryStorage.layer))

/** What the projection did, written to the consumer's journal in the transaction that moves the offset. */
const Effects = EntityType.make("effect", { codec: EventCodec.string })

export const record = (envelope: Envelope<string>) =>
  Journal.append(Effects, {
    id: PersistenceId.entityId(envelope.persistenceId),
    events: [`${envelope.sequenceNumber} ${envelope.event}`]
  })

export const effectsOf = (id: string) =>
  Effect.map(Stream.runCollect(Journal.read(Effects, id)), (envelopes) => envelopes.map(({ event }) => event))

export const caughtUp = (projection: string) =>
  Wait.until(
    `${projection} to catch up`,
    Effect.map(Effect.option(ProjectionStatus.lag(projection)), (lag) => lag._tag === "Some" && lag.value === 0)
  )

/** Runs the projection's workers in the consumer's storage until the scope is closed. */
export const run = <E>(projection: Projection.Projection<E, any>, storage: Context.Context<any>) =>
  Layer.build(Projection.layer(projection)).pipe(Effect.provide(storage)) as Effect.Effect<unknown, never, Scope.Scope>
