/**
 * Which events of a source are for whoever reads it.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { EncodedEnvelope } from "./Envelope.ts"
import * as ExpectedError from "./ExpectedError.ts"

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

/**
 * While the events of an entity were read, whether any of them is selected has changed: what was read before and what would come next do not
 * belong together. Read them again.
 *
 * @category errors
 * @since 0.1.0
 */
export class SelectionChanged
  extends ExpectedError.TaggedError<SelectionChanged>("@sluice/core/SelectionChanged")("SelectionChanged", {
    persistenceId: Schema.String
  })
{
  /** What is selected now is found by reading again. */
  get isRetryable(): boolean {
    return true
  }
  override get message(): string {
    return `Whether anything of '${this.persistenceId}' is selected has changed while its events were read: read them again`
  }
}
