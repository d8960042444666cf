/**
 * Which events of a source are for whoever reads it.
 *
 * @since 0.1.0
 */
import type { EncodedEnvelope } from "./Envelope.ts"

/**
 * Which events of a source are for whoever reads it. It may change while the source is open.
 *
 * @category models
 * @since 0.1.0
 */
export interface Selection {
  /** Whether all events are selected, so that none has to be looked at. */
  readonly isOpen: boolean
  /** Whether an event is selected. One that is replayed was asked for. */
  readonly isSelected: (envelope: EncodedEnvelope, isReplayed: boolean) => boolean
}
