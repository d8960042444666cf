import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Element, type EncodedEnvelope, type Place, placeholder } from "../../Envelope.ts"
import { JournalForked } from "../../JournalError.ts"
import type { Reading, Verdict } from "../../ReadingState.ts"
import { make as sequenceNumber, type SequenceNumber } from "../../SequenceNumber.ts"
import { EventWithheld, SourceOutOfPlace } from "../../Source.ts"
import { compile } from "../pipeline/compile.ts"
import { mapChunks } from "../pipeline/mapChunks.ts"
import { loadEntities, logGone } from "./entities.ts"
import { fetch, inTime } from "./fetch.ts"
import type { Handling } from "./handling.ts"
import type { Held } from "./HeldBack.ts"
import type { Repairs } from "./repairs.ts"

/** @internal What admission needs of a worker. */
export interface Admission {
  readonly handling: Handling
  readonly reading: Reading
  /** Handles what was admitted so far, and stores the offsets. */
  readonly settle: Effect.Effect<void, unknown, any>
  /** Whether the elements are of an entity that is replayed. */
  readonly isReplay: boolean
  /** What fills gaps where the source does not tell positions, while other entities go on. */
  readonly repairs: Repairs | undefined
  /** Judges the elements of a replay, and admits those that are to be handled. */
  readonly judgeReplay: (chunk: ReadonlyArray<Element<any>>) => Effect.Effect<void, unknown, any>
}

/**
 * @internal
 * Does what the verdict on an element asks for, and returns the element if it is to be handled. Earlier events of its
 * entity that are missing are fetched from the source, and handled before it.
 */
export const admit = (
  self: Admission,
  element: Element<any>,
  verdict: Verdict
): Effect.Effect<Element<any> | undefined, unknown, any> => {
  const { handling, isReplay, reading, repairs, settle } = self
  // a skipped range has none of the verdicts on an entity
  const place = element as Held
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
    case "unloaded":
      return held(self, place)
    case "gap":
      return repairs !== undefined
        ? held(self, place)
        : again(replay(self, place, reading.missingFrom(place.persistenceId)))
    case "unproven":
      return repairs !== undefined ? held(self, place) : again(prove(self, place))
    case "unsettled":
      return again(settle)
    case "outOfPlace":
      return outOfPlace(self, element)
    case "forked":
      return forked(self, element)
  }
}

/** The element waits for what is missing before it. */
const held = ({ repairs }: Admission, element: Held): Effect.Effect<undefined, never, any> =>
  Effect.as(repairs!.hold(element), undefined)

/** Fetches the events of an entity that are missing before one, and judges them. */
const replay = (
  self: Admission,
  place: Held,
  from: SequenceNumber
): Effect.Effect<void, unknown, any> => {
  const { handling: { projection: { source } }, judgeReplay, reading } = self
  const { persistenceId, sequenceNumber } = place
  let isFirst = true
  return earlier(self, place, from).pipe(
    Stream.mapArrayEffect((chunk) => {
      const { sequenceNumber } = chunk[0]
      const isWhole = !isFirst || sequenceNumber === from
      isFirst = false
      return Effect.as(isWhole ? Effect.void : logGone(persistenceId, from, sequenceNumber), chunk)
    }),
    mapChunks(compile<any, any>(source.provider.codec, source.stages)),
    Stream.runForEachArray(judgeReplay),
    Effect.andThen(Effect.suspend(() => isFirst ? logGone(persistenceId, from, sequenceNumber) : Effect.void)),
    // a source that has answered has no more of them
    Effect.andThen(Effect.sync(() => reading.complete(place)))
  )
}

/**
 * The events of an entity from a number on that the source still has before one of them. It is asked for that one as well: a source that does
 * not show it any more may show all of them later, and then they are not gone.
 */
const earlier = (
  { handling: { memory, projection: { source } } }: Admission,
  { _tag, persistenceId, sequenceNumber: number }: Held,
  from: SequenceNumber
): Stream.Stream<EncodedEnvelope, unknown, any> => {
  const withheld = new EventWithheld({ source: source.provider.key, persistenceId, number })
  let isShown = false
  return inTime(source.provider, source.provider.entity(persistenceId, from, number)).pipe(
    Stream.filter(({ payload, sequenceNumber }) => {
      // of an event that is hidden from now on, a source may show the place
      isShown ||= sequenceNumber === number && (payload !== undefined || _tag !== "Envelope")
      return sequenceNumber < number
    }),
    Stream.concat(Stream.suspend(() => isShown ? Stream.empty : Stream.fail(withheld))),
    Stream.catchCause((cause) => Stream.fromEffect(memory.ofSource(Effect.failCause(cause))))
  )
}

/**
 * Fetches the predecessor of an event. If that does not prove that nothing is missing, fetches all events before it.
 */
const prove = (self: Admission, place: Held): Effect.Effect<void, unknown, any> => {
  const { handling: { memory, projection: { source } }, reading } = self
  const { persistenceId, slice } = place
  // where nothing was read before its slice left something out, no predecessor proves anything
  if (reading.completeUpTo(slice) === 0) return replay(self, place, sequenceNumber(1))
  const number = before(place)
  return memory.ofSource(fetch(source.provider, { persistenceId, sequenceNumber: number })).pipe(
    // one that is not there is gone, or is hidden
    Effect.flatMap((found) =>
      found._tag === "Some"
        ? Effect.succeed(found)
        : Effect.map(Stream.runCollect(earlier(self, place, number)), Arr.head)
    ),
    Effect.flatMap((found) =>
      reading.proves(slice, found._tag === "Some" ? found.value : undefined)
        ? Effect.sync(() => reading.complete(place))
        : replay(self, place, sequenceNumber(1))
    )
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
