/**
 * What a projection does with events: one by one, or in groups.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Envelope } from "./Envelope.ts"
import * as ExpectedError from "./ExpectedError.ts"

const TypeId = "~sluice/Handler/Grouped"

/**
 * A handler is a function of an envelope, or {@link grouped}. `F` is the effect that it returns.
 *
 * @category models
 * @since 0.1.0
 */
export type Handler<A, F = Effect.Effect<void>> = ((envelope: Envelope<A>) => F) | Grouped<A, F>

/**
 * A handler of groups.
 *
 * @category models
 * @since 0.1.0
 */
export interface Grouped<in A, out F = Effect.Effect<void>> {
  readonly [TypeId]: typeof TypeId
  readonly size: number
  readonly bytes: number
  readonly within: Duration.Duration
  /** Gets 1 to `size` envelopes, in the order of the source. */
  readonly handle: (envelopes: ReadonlyArray<Envelope<A>>) => F
}

/**
 * Handles up to `size` envelopes at a time, waiting for more no longer than `within`. Exactly-once then costs one
 * transaction per group: much faster, above all when the handler writes in bulk. A group is also full with so many `bytes` of
 * payload, tags and metadata, 16 MiB by default.
 *
 * @category constructors
 * @since 0.1.0
 */
export const grouped = <A, F extends Effect.Effect<void, any, any>>(
  options: { readonly size: number; readonly within: Duration.Input; readonly bytes?: number | undefined },
  handle: (envelopes: ReadonlyArray<Envelope<A>>) => F
): Grouped<A, F> => {
  if (!Number.isSafeInteger(options.size) || options.size < 1) {
    throw new RangeError(`A group has at least one envelope, not ${options.size}`)
  }
  const { bytes = defaultBytes, size, within } = options
  return { [TypeId]: TypeId, size, bytes, within: Duration.fromInputUnsafe(within), handle }
}

const defaultBytes = 16 * 1024 * 1024

/**
 * An exactly-once handler did something else between two statements for longer than its database lets a transaction be
 * idle, and was interrupted. That is a failure of its event: the recovery strategy says what happens. Look things up in
 * `Source.mapEffect` before the handler, or raise the storage's `transactionTimeout`.
 *
 * @category errors
 * @since 0.1.0
 */
export class HandlerTooSlow
  extends ExpectedError.TaggedError<HandlerTooSlow>("@sluice/core/HandlerTooSlow")("HandlerTooSlow", {
    projection: Schema.String,
    /** In milliseconds. */
    limit: Schema.Finite
  })
{
  override get message(): string {
    return `The handler of projection '${this.projection}' ran no statement in its transaction for ${this.limit} ms, which is as long as that ` +
      "may be idle: look things up before the handler, with Source.mapEffect, or raise the storage's transactionTimeout"
  }
}
