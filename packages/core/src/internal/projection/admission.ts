import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Element, type Place, placeholder } from "../../Envelope.ts"
import { JournalForked } from "../../JournalError.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { ReadingState, Verdict } from "../../ReadingState.ts"
import { make as sequenceNumber, type SequenceNumber } from "../../SequenceNumber.ts"
import { SourceOutOfPlace } from "../../Source.ts"
import { compile } from "../pipeline/compile.ts"
import { mapChunks } from "../pipeline/mapChunks.ts"
import { fetch, inTime } from "./fetch.ts"
import type { Handling } from "./handling.ts"

/** @internal What it takes to do what a verdict asks for. */
export interface Admission {
  readonly handling: Handling
  readonly reading: ReadingState
  /** Handles what was admitted so far, and stores the offsets. */
  readonly settle: Effect.Effect<void, unknown, any>
  /** Whether the elements are of an entity that is replayed. */
  readonly isReplay: boolean
  /** Judges the elements of a replay, and takes those that are to be handled. */
  readonly takeReplay: (chunk: ReadonlyArray<Element<any>>) => Effect.Effect<void, unknown, any>
}

/** @internal Loads what was stored of entities. */
export const loadEntities = (
  { key, store }: Handling,
  reading: ReadingState,
  persistenceIds: ReadonlyArray<PersistenceId>
): Effect.Effect<void, unknown> =>
  persistenceIds.length === 0
    ? Effect.void
    : Effect.map(
      store.sequenceNumbers(key, persistenceIds),
      (found) => reading.loaded(persistenceIds, found)
    )

/**
 * @internal
 * Decides what becomes of an element that is not simply accepted: it is dropped, or handled after what its verdict asks for. Earlier events of its
 * entity that are missing are asked for at the source, and taken before it.
 */
export const admit = (
  self: Admission,
  element: Element<any>,
  verdict: Verdict
): Effect.Effect<Element<any> | undefined, unknown, any> => {
  const { handling, isReplay, reading, settle } = self
  // no verdict but the last three is on a part that was left out
  const place = element as Place
  const again = (effect: Effect.Effect<void, unknown, any>) =>
    Effect.flatMap(effect, () => admit(self, element, reading.judge(element, isReplay)))
  switch (verdict) {
    case "accepted":
      return Effect.succeed(element)
    case "passed":
      return Effect.succeed(placeholder(place))
    case "duplicate":
      return Effect.succeed(undefined)
    case "unknown":
      return again(loadEntities(handling, reading, [place.persistenceId]))
    case "gap":
      return again(replay(self, place, reading.missingFrom(place.persistenceId)))
    case "unproven":
      return again(prove(self, place))
    case "unsettled":
      return again(settle)
    case "outOfPlace":
      return outOfPlace(self, element)
    case "forked":
      return forked(self, element)
  }
}

/** Takes the events of an entity that are missing before one. */
const replay = (
  { handling: { memory, projection: { source } }, reading, takeReplay }: Admission,
  place: Place,
  from: SequenceNumber
): Effect.Effect<void, unknown, any> =>
  inTime(source.provider, source.provider.entity(place.persistenceId, from, before(place))).pipe(
    Stream.catchCause((cause) => Stream.fromEffect(memory.ofSource(Effect.failCause(cause)))),
    mapChunks(compile<any, any>(source.provider.codec, source.stages)),
    Stream.runForEachArray(takeReplay),
    // a source that has answered has no more of them
    Effect.andThen(Effect.sync(() => reading.complete(place)))
  )

/** Asks for the predecessor of an event, and if that does not say that nothing is missing, for all before it. */
const prove = (self: Admission, place: Place): Effect.Effect<void, unknown, any> => {
  const { handling: { memory, projection: { source } }, reading } = self
  const { persistenceId, slice } = place
  return Effect.flatMap(
    memory.ofSource(fetch(source.provider, { persistenceId, sequenceNumber: before(place) })),
    (found) =>
      reading.proves(slice, found._tag === "Some" ? found.value : undefined)
        ? Effect.sync(() => reading.complete(place))
        : replay(self, place, sequenceNumber(1))
  )
}

const before = (place: Place): SequenceNumber => sequenceNumber(place.sequenceNumber - 1)

const outOfPlace = (
  { handling: { memory, projection: { source } }, reading }: Admission,
  element: Element<any>
): Effect.Effect<never, unknown> =>
  memory.ofSource(Effect.fail(
    new SourceOutOfPlace({
      source: source.provider.key,
      slice: element.slice,
      position: element._tag === "Skipped" ? element.from : element.position!,
      expected: reading.next(element.slice)
    })
  ))

const forked = (
  { handling: { memory, projection: { source } }, reading }: Admission,
  { slice }: Element<any>
): Effect.Effect<never, unknown> => {
  const { entityType, key } = source.provider
  return memory.ofSource(Effect.fail(
    new JournalForked({ entityType: entityType ?? key, slice, offset: reading.offset(slice) })
  ))
}
