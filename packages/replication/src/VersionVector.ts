/**
 * How far a replica has seen the events of an entity, replica by replica, and which of two has seen more.
 *
 * @since 0.1.0
 */
import type { VersionVector } from "@sluice/core/ReplicationMetadata"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"

export type {
  /**
   * How far a replica has seen the events of an entity, replica by replica. Of a replica that is missing it has seen none.
   *
   * @category models
   * @since 0.1.0
   */
  VersionVector
}

/**
 * How one version stands to another: it has seen the same, less (`before`), more (`after`), or each has seen what the other has not (`concurrent`).
 *
 * @category models
 * @since 0.1.0
 */
export type Order = "same" | "before" | "after" | "concurrent"

/**
 * The version of an entity that has no events.
 *
 * @category constants
 * @since 0.1.0
 */
export const empty: VersionVector = new Map()

/**
 * How the first version stands to the second.
 *
 * **Example** (Each has seen what the other has not)
 *
 * ```ts
 * import { SequenceNumber } from "@sluice/core"
 * import { VersionVector } from "@sluice/replication"
 *
 * const one = SequenceNumber.make(1)
 * const two = SequenceNumber.make(2)
 * VersionVector.compare(new Map([["eu", one]]), new Map([["eu", two]])) // => "before"
 * VersionVector.compare(new Map([["eu", two]]), new Map([["eu", one], ["us", one]])) // => "concurrent"
 * ```
 *
 * @category comparisons
 * @since 0.1.0
 */
export const compare = (self: VersionVector, that: VersionVector): Order => {
  const hasMore = isAhead(self, that)
  const hasLess = isAhead(that, self)
  if (hasMore) return hasLess ? "concurrent" : "after"
  return hasLess ? "before" : "same"
}

/** Whether the first has seen an event that the second has not. */
const isAhead = (self: VersionVector, that: VersionVector): boolean => {
  for (const [replica, number] of self) if (number > (that.get(replica) ?? 0)) return true
  return false
}

/**
 * What both versions together have seen.
 *
 * **Example** (The greater number of each replica)
 *
 * ```ts
 * import { SequenceNumber } from "@sluice/core"
 * import { VersionVector } from "@sluice/replication"
 *
 * const one = SequenceNumber.make(1)
 * const two = SequenceNumber.make(2)
 * const merged = VersionVector.merge(new Map([["eu", two]]), new Map([["eu", one], ["us", one]]))
 * Object.fromEntries(merged) // => { eu: 2, us: 1 }
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const merge = (self: VersionVector, that: VersionVector): VersionVector => {
  const merged = new Map(self)
  for (const [replica, number] of that) if (number > (merged.get(replica) ?? 0)) merged.set(replica, number)
  return merged
}

/**
 * The version of a replica once it has written its event of that number.
 *
 * @category combinators
 * @since 0.1.0
 */
export const written = (self: VersionVector, replica: string, sequenceNumber: SequenceNumber): VersionVector =>
  new Map(self).set(replica, sequenceNumber)
