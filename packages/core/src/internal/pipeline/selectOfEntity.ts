import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { encoded, type EncodedEnvelope } from "../../Envelope.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import { type Selection, SelectionChanged } from "../../Selection.ts"
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
 *
 * What is selected may change between two pages. Each page is as it is selected then, and where that makes the entity as a whole appear or
 * vanish, the stream fails: the pages before it are of another answer.
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
): Stream.Stream<EncodedEnvelope, E | SelectionChanged, R> => {
  /** An event that was selected when it was looked at last. As long as it is, places of others are shown. */
  let witness: EncodedEnvelope | undefined
  /** What was made of the pages so far. */
  let so: "shown" | "hidden" | undefined
  const isSelected = (event: EncodedEnvelope): boolean => selection.isSelected(event, false)
  const anyOf = (
    first: SequenceNumber,
    last: SequenceNumber
  ): Effect.Effect<EncodedEnvelope | undefined, E, R> =>
    Effect.map(
      Stream.runHead(selectOfEntity(entity(persistenceId, first, last), selection)),
      Option.getOrUndefined
    )
  /** An event of another page that is selected. */
  const elsewhere = (chunk: ReadonlyArray<EncodedEnvelope>): Effect.Effect<EncodedEnvelope | undefined, E, R> => {
    if (so === "shown") return anyOf(from, lastNumber)
    const rest = () => anyOf(sequenceNumber(chunk.at(-1)!.sequenceNumber + 1), lastNumber)
    if (to >= lastNumber) return rest()
    // what has made a consumer ask is the last one, or the one after it
    return Effect.flatMap(anyOf(to, sequenceNumber(to + 1)), (found) => found ? Effect.succeed(found) : rest())
  }
  const become = (
    next: "shown" | "hidden",
    page: ReadonlyArray<EncodedEnvelope>
  ): Effect.Effect<ReadonlyArray<EncodedEnvelope>, SelectionChanged> => {
    if (so !== undefined && so !== next) return Effect.fail(new SelectionChanged({ persistenceId }))
    so = next
    return Effect.succeed(page)
  }
  const shown = (
    chunk: ReadonlyArray<EncodedEnvelope>
  ): Effect.Effect<ReadonlyArray<EncodedEnvelope>, E | SelectionChanged, R> =>
    Effect.suspend(() => {
      if (selection.isOpen) return become("shown", chunk)
      if (witness === undefined || !isSelected(witness)) witness = chunk.find(isSelected)
      if (witness !== undefined) {
        return become("shown", chunk.map((event) => isSelected(event) ? event : placeOf(event)))
      }
      if (so === "hidden") return become("hidden", [])
      return Effect.flatMap(elsewhere(chunk), (found) => {
        if (found === undefined) return become("hidden", [])
        witness = found
        // which may not be selected any more
        return shown(chunk)
      })
    })
  return mapChunks(shown)(entity(persistenceId, from, to))
}

const placeOf = ({ persistenceId, position, sequenceNumber, slice, timestamp }: EncodedEnvelope): EncodedEnvelope =>
  encoded({ persistenceId, sequenceNumber, slice, position, timestamp }, undefined)
