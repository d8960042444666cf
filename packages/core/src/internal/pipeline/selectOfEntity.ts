import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { encoded, type EncodedEnvelope } from "../../Envelope.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { Selection } from "../../Selection.ts"
import { make as sequenceNumber, type SequenceNumber } from "../../SequenceNumber.ts"
import { mapChunks } from "./mapChunks.ts"

const lastNumber = sequenceNumber(Number.MAX_SAFE_INTEGER - 1)

/** @internal One entity's events, without those that are not selected. */
export const selectOfEntity = <E, R>(
  events: Stream.Stream<EncodedEnvelope, E, R>,
  selection: Selection
): Stream.Stream<EncodedEnvelope, E, R> =>
  mapChunks((chunk: ReadonlyArray<EncodedEnvelope>) =>
    Effect.sync(() => selection.isOpen ? chunk : chunk.filter((event) => selection.isSelected(event, false)))
  )(events)

/**
 * @internal
 * One entity's events, with placeholders for those that are not selected. If none is selected from the first one on, there is nothing: whoever
 * sees nothing of an entity does not learn that there is one. To know that, it may read on after the last one.
 */
export const placesOfEntity = <E, R>(
  entity: (
    persistenceId: PersistenceId,
    from: SequenceNumber,
    to: SequenceNumber
  ) => Stream.Stream<EncodedEnvelope, E, R>,
  persistenceId: PersistenceId,
  from: SequenceNumber,
  to: SequenceNumber,
  selection: Selection
): Stream.Stream<EncodedEnvelope, E, R> => {
  let isSeen: boolean | undefined
  const isSelected = (event: EncodedEnvelope): boolean => selection.isSelected(event, false)
  const anyOf = (first: SequenceNumber, last: SequenceNumber): Effect.Effect<boolean, E, R> =>
    Effect.map(Stream.runHead(selectOfEntity(entity(persistenceId, first, last), selection)), Option.isSome)
  const seen = (chunk: ReadonlyArray<EncodedEnvelope>): Effect.Effect<boolean, E, R> => {
    if (isSeen === true || chunk.some(isSelected)) return Effect.succeed(true)
    if (isSeen === false) return Effect.succeed(false)
    const rest = () => anyOf(sequenceNumber(chunk.at(-1)!.sequenceNumber + 1), lastNumber)
    if (to >= lastNumber) return rest()
    // what has made a consumer ask is the last one, or the one after it
    return Effect.flatMap(anyOf(to, sequenceNumber(to + 1)), (isThere) => isThere ? Effect.succeed(true) : rest())
  }
  return mapChunks((chunk: ReadonlyArray<EncodedEnvelope>) =>
    Effect.suspend(() =>
      selection.isOpen
        ? Effect.succeed(chunk)
        : Effect.map(seen(chunk), (isShown) => {
          isSeen = isShown
          return isShown ? chunk.map((event) => isSelected(event) ? event : placeOf(event)) : []
        })
    )
  )(entity(persistenceId, from, to))
}

const placeOf = ({ persistenceId, position, sequenceNumber, slice, timestamp }: EncodedEnvelope): EncodedEnvelope =>
  encoded({ persistenceId, sequenceNumber, slice, position, timestamp }, undefined)
