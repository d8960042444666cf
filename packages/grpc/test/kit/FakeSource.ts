/** Sources that do what a journal does not. */
import { type EncodedEnvelope, nothing } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Position from "@sluice/core/Position"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** The nth event of an entity that has its slice to itself. */
export const event = (n: number, text = `e${n}`, entityId = "a"): EncodedEnvelope => {
  const persistenceId = PersistenceId.make("Cart", entityId)
  return {
    persistenceId,
    sequenceNumber: SequenceNumber.make(n),
    slice: Slice.ofPersistenceId(persistenceId),
    position: Position.make(n),
    timestamp: Timestamp.make(n),
    ...nothing,
    payload: EventCodec.string.encodeUnsafe(text)
  }
}

/** A source of strings with these envelopes. */
export const source = <E>(
  envelopes: Stream.Stream<EncodedEnvelope, E>,
  options?: Partial<Source.Provider<string, E, never>>
): Source.Source<string, E> =>
  Source.make({
    key: "test",
    description: "test",
    entityType: "Cart",
    codec: EventCodec.string,
    open: () => Effect.succeed({ journal: "test-journal", envelopes }),
    entity: () => Stream.empty,
    heads: () => Effect.succeed(Offset.none),
    before: () => Effect.succeed(Offset.none),
    now: Effect.succeed(Timestamp.make(0)),
    ...options
  })

/** A source that never ends, and how it is used. */
export const endless = (chunk: number, size: number) => {
  const state = { pulled: 0, opened: 0, finalized: 0 }
  const text = "x".repeat(size)
  return {
    state,
    source: source(Stream.empty, {
      open: () =>
        Effect.acquireRelease(
          Effect.sync(() => {
            state.opened++
            let n = 0
            const next = Effect.sync(() => {
              state.pulled += chunk
              return Array.from({ length: chunk }, () => event(++n, text)) as [EncodedEnvelope]
            })
            return { journal: "test-journal", envelopes: Stream.fromPull(Effect.succeed(next)) }
          }),
          () => Effect.sync(() => state.finalized++)
        )
    })
  }
}
