/**
 * Which logs of which journal a stream shows.
 *
 * @since 0.1.0
 */

/**
 * The logs of one entity type in a journal: those of its events, or of its states.
 *
 * @category models
 * @since 0.1.0
 */
export interface Logs {
  /** The identity of the journal. */
  readonly journal: string
  readonly log: "events" | "states"
  readonly entityType: string
}

/** In characters. Names that are longer when they are escaped are told apart by their beginning. */
const maxName = 200

/**
 * The logs as a text, which a consumer of a stream keeps beside its offsets: positions mean nothing in the logs of another entity type, though
 * their journal be the same.
 *
 * **Example** (Two entity types of one journal)
 *
 * ```ts
 * import { LogsIdentity } from "@sluice/core"
 *
 * const carts = LogsIdentity.make({ journal: "j-1", log: "events", entityType: "cart" })
 * carts // => "j-1/events/cart"
 * LogsIdentity.isOf(carts, { journal: "j-1", log: "events", entityType: "order" }) // => false
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (logs: Logs): string => `${logs.journal}${suffix(logs)}`

/**
 * What {@link make} adds to the identity of the journal.
 *
 * @category constructors
 * @since 0.1.0
 */
export const suffix = ({ entityType, log }: Omit<Logs, "journal">): string =>
  `/${log}/${encodeURIComponent(entityType).slice(0, maxName)}`

/**
 * Whether a text is the identity of a journal, or of logs in it.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isIn = (text: string, journal: string): boolean => text === journal || text.startsWith(`${journal}/`)

/**
 * Whether a text is the identity of these logs, or of their journal, which may be of any of its logs.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isOf = (text: string, logs: Logs): boolean => text === logs.journal || text === make(logs)
