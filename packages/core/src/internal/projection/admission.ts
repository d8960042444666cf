import * as Effect from "effect/Effect"
import { type Element, placeholder, skipped } from "../../Envelope.ts"
import { JournalForked } from "../../JournalError.ts"
import type { Reading, Verdict } from "../../ReadingState.ts"
import { SourceOutOfPlace } from "../../Source.ts"
import { loadEntities } from "./entities.ts"
import type { Handling } from "./handling.ts"
import type { Held } from "./HeldBack.ts"
import type { Repairs } from "./repairs.ts"

/** @internal What admission needs of a worker. */
export interface Admission {
  readonly handling: Handling
  readonly reading: Reading
  /** Handles what was admitted so far, and stores the offsets. */
  readonly settle: Effect.Effect<void, unknown, any>
  /** Whether the elements are not in the order of their logs, as those of an entity that is replayed. */
  readonly isReplay: boolean
  /** Where elements wait for earlier ones of their entities. */
  readonly repairs: Repairs
}

/**
 * @internal
 * Does what the verdict on an element asks for, and returns the element if it is to be handled. If earlier events of its entity are missing, it waits, and
 * its place in the log is passed.
 */
export const admit = (
  self: Admission,
  element: Element<any>,
  verdict: Verdict
): Effect.Effect<Element<any> | undefined, unknown, any> => {
  const { handling, isReplay, reading, settle } = self
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
    case "gap":
    case "unproven":
    case "rewound":
      return hold(self, place)
    case "unsettled":
      return again(settle)
    case "outOfPlace":
      return outOfPlace(self, element)
    case "forked":
      return forked(self, element)
  }
}

/** The element waits for what is missing before it. The log goes on after it. */
const hold = (
  { isReplay, reading, repairs }: Admission,
  element: Held
): Effect.Effect<Element<any> | undefined, never, any> => {
  const { position, slice, timestamp } = element
  reading.hold(element, isReplay)
  const passed = position === undefined || isReplay ? undefined : skipped(slice, position, position, timestamp)
  return Effect.as(repairs.hold(element), passed)
}

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
