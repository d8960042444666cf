/**
 * A stream of your own in the place of a handler: see `Projection.flow`.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { Envelope, Place } from "./Envelope.ts"
import * as ExpectedError from "./ExpectedError.ts"
import { PersistenceId } from "./PersistenceId.ts"
import { SequenceNumber } from "./SequenceNumber.ts"

const TypeId = "~sluice/Flow"

/**
 * What a flow emits once it is done with an event: the envelope itself, or anything else that names the event.
 *
 * @category models
 * @since 0.1.0
 */
export type Done = Pick<Place, "persistenceId" | "sequenceNumber">

/**
 * A stream in the place of a handler.
 *
 * @category models
 * @since 0.1.0
 */
export interface Flow {
  readonly [TypeId]: typeof TypeId
  /** The stream of the user's own. It emits what it is done with. */
  readonly run: (envelopes: Stream.Stream<Envelope<any>>) => Stream.Stream<Done, any, any>
  /** How many events, at most, a worker has given to it, or has ready for it. */
  readonly inHand: number
  /** For how long an event may be the oldest that it has. */
  readonly deadline: Duration.Duration
}

/**
 * A flow.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (fields: Omit<Flow, typeof TypeId>): Flow => ({ [TypeId]: TypeId, ...fields })

/**
 * Whether a handler is a flow.
 *
 * @category guards
 * @since 0.1.0
 */
export const isFlow = (self: object): self is Flow => TypeId in self

/**
 * A flow has not emitted the oldest event that it has within its deadline, which begins once all before that are emitted. The worker goes past no such
 * event: it begins again from its stored offsets. Have the flow emit each envelope once it is done with it, also those that it leaves out; or give it a
 * longer deadline.
 *
 * @category errors
 * @since 0.1.0
 */
export class FlowOverdue extends ExpectedError.TaggedError<FlowOverdue>("@sluice/core/FlowOverdue")("FlowOverdue", {
  projection: Schema.String,
  persistenceId: PersistenceId,
  sequenceNumber: SequenceNumber,
  /** In milliseconds. */
  deadline: Schema.Finite
}) {
  override get message(): string {
    const { deadline, persistenceId, projection, sequenceNumber } = this
    return `The flow of projection '${projection}' has not emitted event ${sequenceNumber} of '${persistenceId}' for ${deadline} ms: have it emit ` +
      "each envelope that it is done with, also those that it leaves out, or give it a longer deadline"
  }
}

/**
 * A flow has ended before it was done. Of a worker, more events may come: it begins again from its stored offsets. Have the flow go on until the stream
 * that it is given ends. With an `event`, a flow that was run for a dead letter has not emitted that: the letter stays. Have it emit what it leaves out as well.
 *
 * @category errors
 * @since 0.1.0
 */
export class FlowEnded extends ExpectedError.TaggedError<FlowEnded>("@sluice/core/FlowEnded")("FlowEnded", {
  projection: Schema.String,
  event: Schema.UndefinedOr(Schema.Struct({ persistenceId: PersistenceId, sequenceNumber: SequenceNumber }))
}) {
  override get message(): string {
    const { event, projection } = this
    return event === undefined
      ? `The flow of projection '${projection}' has ended before the stream that it is given: have it go on until that ends`
      : `The flow of projection '${projection}' has ended, and has not emitted event ${event.sequenceNumber} of '${event.persistenceId}': have it ` +
        "emit each envelope that it is done with, also those that it leaves out"
  }
}
