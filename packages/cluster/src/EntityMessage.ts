/**
 * What processes of a cluster say to each other about entities. Payloads, replies and errors are JSON, by the codecs of the commands.
 *
 * @since 0.1.0
 */

/**
 * A command on its way.
 *
 * @category models
 * @since 0.1.0
 */
export interface EntityCommand {
  readonly entityType: string
  readonly id: string
  /** The name of the command. */
  readonly tag: string
  readonly payload: unknown
  /** What its events, or the state that it leads to, are to have as metadata. Who runs the entity checks it, as it does the payload. */
  readonly metadata?: unknown
  readonly commandId: string | undefined
  /** For how many milliseconds its sender waits. It is not begun when these are about to be over. */
  readonly within?: number | undefined
  /** Whether an event of another replica comes with it, which may be larger than what a caller sends. */
  readonly isArrival?: boolean | undefined
  /**
   * When it was sent first, in microseconds by the database's clock, if it is sent again because it may have been executed. Who has forgotten commands since then
   * cannot tell, and does not execute it.
   */
  readonly firstSentAt?: number | undefined
}

/**
 * The answer of an entity: its reply, with the receipt where something was persisted; its own error; or an `EntityError`.
 *
 * @category models
 * @since 0.1.0
 */
export type EntityAnswer =
  | { readonly _tag: "Replied"; readonly reply: unknown; readonly receipt: unknown }
  | { readonly _tag: "Rejected"; readonly error: unknown }
  | { readonly _tag: "Failed"; readonly error: unknown }

/**
 * The process has begun with the command, and cannot say what has come of it, as it is to end. Who repeats it with the same command id learns it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unknown {
  readonly _tag: "Unknown"
  readonly why: string
}

/**
 * The process has not begun with the command, as it has not the entity: another one should be asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Elsewhere {
  readonly _tag: "Elsewhere"
  readonly why: string
}
