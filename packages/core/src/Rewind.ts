/**
 * What a rewind leaves of that which is known of a slice in the mode per entity: which events were handled before the place that it leads to.
 *
 * @since 0.1.0
 */
import { timestamps } from "./Feed.ts"
import { type GivenUp, rewound as givenUpAfter } from "./GivenUp.ts"
import type * as Offset from "./Offset.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"
import { make as timestamp, type Timestamp } from "./Timestamp.ts"

/**
 * A rewind of a slice that was in the mode per entity. It is stored instead of a change to the sequence numbers of all entities.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rewind {
  /** The revision of the offsets since then. A sequence number that was stored with an earlier one is older than the rewind. */
  readonly revision: number
  /** The events that are not older than this come again. */
  readonly since: Timestamp
  /** If it led forwards: from which time on events up to `since` were jumped over, and count as read. */
  readonly jumpedFrom?: Timestamp | undefined
}

/**
 * The last sequence number that was stored of an entity, and the revision of the offsets that it was stored with.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredNumber {
  readonly sequenceNumber: SequenceNumber
  readonly revision: number
  /** The events of the entity that are not older than this come again, because of rewinds that are remembered here alone. */
  readonly since?: Timestamp | undefined
}

/**
 * What is stored of a slice.
 *
 * @category models
 * @since 0.1.0
 */
export interface Known {
  readonly offset: Offset.Offset
  /** The identity of the journal that it was read from; empty where it is not known. */
  readonly journal: string
  /** Up to where it was read completely, if it is in the mode per entity. */
  readonly completeUpTo: Offset.Offset | undefined
  readonly rewinds: ReadonlyArray<Rewind>
  /** What changes of the filter have given up before the offset, in their order. */
  readonly givenUp: ReadonlyArray<GivenUp>
}

/**
 * So many rewinds of a slice are remembered with it, of those that each led to a later place than the one before.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxRewinds = 32

/**
 * The time that the events after an offset begin at, as timestamps rise with the positions of a log.
 *
 * @category getters
 * @since 0.1.0
 */
export const sinceOf = ({ position, timestamp: time }: Offset.Offset): Timestamp =>
  position > 0 ? timestamp(time + 1) : time

/** Whether an offset is after the last event that was read completely. */
const isAfter = (to: Offset.Offset, { position, timestamp }: Offset.Offset): boolean =>
  // where the time of that event is not known, only positions tell
  position > 0 && timestamp === 0 ? to.position > position : sinceOf(to) > (position > 0 ? timestamp + 1 : timestamp)

/**
 * What is known of a slice once it is rewound: of the events before the new offset what was handled of them, what was left out, and what was given
 * up, and of those after it nothing. If everything before the offset was read completely, the slice is in exact mode again. In another journal, or in one
 * without positions, nothing is known.
 *
 * **Example** (To a place after what was left out first)
 *
 * ```ts
 * import { Offset, Rewind } from "@sluice/core"
 *
 * const known = { offset: Offset.make(9, 90), journal: "j", completeUpTo: Offset.make(2, 20), rewinds: [], givenUp: [] }
 * const after = Rewind.rewound(known, Offset.make(5, 50), undefined, 7)
 * after.completeUpTo // => { position: 2, timestamp: 20 }
 * after.rewinds // => [{ revision: 7, since: 51 }]
 * Rewind.rewound(known, Offset.make(1, 10), undefined, 7).completeUpTo // => undefined
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const rewound = (
  { completeUpTo, givenUp, journal: before, offset, rewinds }: Known,
  to: Offset.Offset,
  journal: string | undefined,
  revision: number
): Known => {
  const since = sinceOf(to)
  const isSame = before !== timestamps && (journal === undefined || journal === before)
  if (completeUpTo === undefined || !isSame || !isAfter(to, completeUpTo)) {
    // sequence numbers that were stored before say nothing that the offset does not
    const isKnown = completeUpTo !== undefined || rewinds.length > 0
    return {
      offset: to,
      journal: journal ?? "",
      completeUpTo: undefined,
      rewinds: isKnown ? [{ revision, since }] : [],
      givenUp: []
    }
  }
  const from = sinceOf(offset)
  // it takes the place of those to where it leads, or to after that
  const kept = rewinds.flatMap((rewind): ReadonlyArray<Rewind> =>
    rewind.since < since ? [rewind] : (rewind.jumpedFrom ?? since) < since ? [{ ...rewind, since }] : []
  )
  const added = from < since ? { revision, since, jumpedFrom: from } : { revision, since }
  return {
    offset: to,
    journal: before,
    completeUpTo,
    rewinds: [...kept, added],
    givenUp: givenUpAfter(givenUp, sinceOf(completeUpTo), since)
  }
}

/**
 * The rewinds of a slice that stay with it, and those that have to be remembered with its entities.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bounded {
  readonly kept: ReadonlyArray<Rewind>
  /** Each number that is stored of an entity of the slice becomes what {@link folded} makes of it. */
  readonly folded: ReadonlyArray<Rewind>
}

/**
 * Bounds the rewinds of a slice, once it is rewound. It is undefined if too many of them have jumped over events: those cannot be remembered with
 * entities, of which some may never have been read.
 *
 * **Example** (One rewind too many)
 *
 * ```ts
 * import { Rewind, Timestamp } from "@sluice/core"
 *
 * const rewinds = [1, 2, 3].map((revision) => ({ revision, since: Timestamp.make(revision * 10) }))
 * Rewind.bounded(rewinds, 2)?.kept.map(({ revision }) => revision) // => [3]
 * Rewind.bounded(rewinds, 2)?.folded.map(({ revision }) => revision) // => [1, 2]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const bounded = (rewinds: ReadonlyArray<Rewind>, maximum = maxRewinds): Bounded | undefined => {
  if (rewinds.length <= maximum) return { kept: rewinds, folded: [] }
  const newest = rewinds.at(-1)!
  // all at once, as entities are looked at one by one
  const folded = rewinds.filter((rewind) => rewind !== newest && rewind.jumpedFrom === undefined)
  const kept = rewinds.filter((rewind) => !folded.includes(rewind))
  const jumped = kept.filter(({ jumpedFrom }) => jumpedFrom !== undefined)
  return jumped.length > maximum ? undefined : { kept, folded }
}

/**
 * What is stored of an entity once rewinds of its slice are remembered with it alone. It is undefined if nothing changes.
 *
 * @category combinators
 * @since 0.1.0
 */
export const folded = (rewinds: ReadonlyArray<Rewind>, stored: StoredNumber): StoredNumber | undefined => {
  const since = forgottenSince(rewinds, stored)
  return since === stored.since ? undefined : { ...stored, since }
}

/**
 * From which time on the stored sequence number of an entity says nothing, as events come again since then. It is undefined if there was no
 * rewind since it was stored.
 *
 * @category getters
 * @since 0.1.0
 */
export const forgottenSince = (
  rewinds: ReadonlyArray<Rewind> | undefined,
  { revision, since: own }: StoredNumber
): Timestamp | undefined => {
  let since = own
  for (const rewind of rewinds ?? []) {
    if (rewind.revision > revision && (since === undefined || rewind.since < since)) since = rewind.since
  }
  return since
}

/**
 * Whether the last sequence number that is stored of an entity says that one of its events was handled, and does not come again.
 *
 * @category guards
 * @since 0.1.0
 */
export const isHandled = (
  rewinds: ReadonlyArray<Rewind> | undefined,
  stored: StoredNumber | undefined,
  { sequenceNumber, timestamp }: { readonly sequenceNumber: SequenceNumber; readonly timestamp: Timestamp }
): boolean => {
  // a replay may have brought it before its turn in the log
  if (stored === undefined || stored.sequenceNumber < sequenceNumber) return false
  const since = forgottenSince(rewinds, stored)
  return since === undefined || timestamp < since
}

/**
 * Whether an event of that time counts as read, because a rewind has jumped over it.
 *
 * @category guards
 * @since 0.1.0
 */
export const isJumped = (rewinds: ReadonlyArray<Rewind> | undefined, timestamp: Timestamp): boolean =>
  rewinds !== undefined &&
  rewinds.some(({ jumpedFrom, since }) => jumpedFrom !== undefined && timestamp >= jumpedFrom && timestamp < since)
