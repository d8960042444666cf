/**
 * What a projection does with events: one by one, or in groups; and what it needs for as long as it does so.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Envelope } from "./Envelope.ts"
import * as ExpectedError from "./ExpectedError.ts"
import type { Flow } from "./Flow.ts"
import type { SliceRange } from "./SliceRange.ts"
import type { Outside } from "./Transaction.ts"

const TypeId = "~sluice/Handler/Grouped"
const ScopedTypeId = "~sluice/Handler/Scoped"

/**
 * A handler is a function of an envelope, {@link grouped}, or {@link scoped}. `F` is the effect that it returns.
 *
 * @category models
 * @since 0.1.0
 */
export type Handler<A, F = Effect.Effect<void>> =
  | ((envelope: Envelope<A>) => F)
  | Scoped<Envelope<A>, F>
  | Grouped<A, F>

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
  readonly handle: ((envelopes: ReadonlyArray<Envelope<A>>) => F) | Scoped<ReadonlyArray<Envelope<A>>, F>
}

/**
 * A function that each worker makes for itself, of an envelope or of a group.
 *
 * @category models
 * @since 0.1.0
 */
export interface Scoped<in Input, out F = Effect.Effect<void>> {
  readonly [ScopedTypeId]: typeof ScopedTypeId
  /** Makes the function for a worker of the range, for as long as the scope that it is run in. */
  readonly start: (range: SliceRange) => Effect.Effect<(input: Input) => F, any, any>
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
  handle: ((envelopes: ReadonlyArray<Envelope<A>>) => F) | Scoped<ReadonlyArray<Envelope<A>>, F>
): Grouped<A, F> => {
  if (!Number.isSafeInteger(options.size) || options.size < 1) {
    throw new RangeError(`A group has at least one envelope, not ${options.size}`)
  }
  const { bytes = defaultBytes, size, within } = options
  return { [TypeId]: TypeId, size, bytes, within: Duration.fromInputUnsafe(within), handle }
}

const defaultBytes = 16 * 1024 * 1024

/**
 * A handler with a life. Whenever a worker begins, it runs `start` with its range of slices, before it opens the source, and hands the events to the
 * function that comes out. When it ends, is paused, rewound or fenced, or has failed and begins again, the scope of `start` is closed, after the
 * last call of the function. So connections, caches and counters live as long as the worker reads on from one place.
 *
 * **Details**
 *
 * A worker whose handler fails to start waits, and begins again, as it does when its source fails. It does not wait for longer than 5 seconds until
 * the scope is closed. `start` runs outside of any transaction. State
 * that is to outlast the worker belongs into a database: `start` can load it, for the slices of the range. For a handler of groups,
 * write `Handler.grouped(options, Handler.scoped(…))`. `Projection.handleDeadLetters` starts one for all slices.
 *
 * **Example** (A cache of each worker)
 *
 * ```ts
 * import { type Envelope, EntityType, EventCodec, Handler, Journal, MemoryStorage, Projection, ProjectionStatus, SliceRange, Source } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const log: Array<string> = []
 * const Lengths = Source.journal(Note).pipe(
 *   Projection.atLeastOnce("lengths", Handler.scoped((range) =>
 *     Effect.gen(function*() {
 *       log.push(`starts for slices ${SliceRange.format(range)}`)
 *       yield* Effect.addFinalizer(() => Effect.sync(() => log.push("stops")))
 *       let length = 0
 *       return ({ event }: Envelope.Envelope<string>) => Effect.sync(() => void log.push(`${length += event.length}`))
 *     })
 *   ))
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["a", "bc"] })
 *   yield* Layer.build(Projection.layer(Lengths))
 *   yield* ProjectionStatus.caughtUp("lengths")
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer)))
 * log // => ["starts for slices 0-1023", "1", "3", "stops"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const scoped = <Input, F extends Effect.Effect<void, any, any>, E, R>(
  start: (
    range: SliceRange
  ) => Outside<
    Effect.Effect<(input: Input) => F, E, R>,
    "A handler starts outside of transactions: write in the function that it returns, or with Database"
  >
): Scoped<
  Input,
  Effect.Effect<void, Effect.Error<F> | E, Effect.Services<F> | Exclude<R, Scope.Scope>>
> => ({ [ScopedTypeId]: ScopedTypeId, start: start as Scoped<any, any>["start"] })

/**
 * Whether a handler is given groups.
 *
 * @category guards
 * @since 0.1.0
 */
export const isGrouped = <A, F>(self: Handler<A, F> | Flow): self is Grouped<A, F> => TypeId in self

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
