/**
 * Group commit: the appends of many fibers in one transaction.
 *
 * What is appended while a transaction is under way goes into the next one. This adds no delay: a lone append is sent
 * at once.
 *
 * @since 0.1.0
 */
import type { AppendRequest, SequenceConflict, Written } from "@sluice/core/Journal"
import { StorageError } from "@sluice/core/StorageError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import { AppendQueue } from "../internal/append/AppendQueue.ts"

/**
 * The outcome of one append of a batch. A conflict of one append does not affect the others.
 *
 * @category models
 * @since 0.1.0
 */
export type Answer = Exit.Exit<Written, SequenceConflict | StorageError>

/**
 * How a lane writes, and how much at a time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A> {
  /**
   * Writes the batch in one transaction, and answers each request in its order. All requests are of one entity type. When it fails,
   * nothing was written.
   */
  readonly write: (requests: NonEmptyReadonlyArray<AppendRequest>) => Effect.Effect<ReadonlyArray<A>, StorageError>
  /** Whether two appends of one entity may be in one batch; any may, by default. */
  readonly joins?: ((earlier: AppendRequest, later: AppendRequest) => boolean) | undefined
  /** A batch is full with so many events. */
  readonly maxEvents: number
  /** A batch is full with so many bytes of payload. */
  readonly maxBytes: number
}

/** An append that waits, and how its fiber goes on. */
interface Waiting<A> {
  readonly request: AppendRequest
  readonly resume: (effect: Effect.Effect<A, StorageError>) => void
}

/** A lane: what waits for it, and whether it still runs. */
interface Lane<A> {
  readonly write: Options<A>["write"]
  readonly queue: AppendQueue<Waiting<A>>
  /** Open while something waits. */
  readonly some: Latch.Latch
  isClosed: boolean
}

/**
 * Starts a lane, which lives as long as the scope, and returns its append. What waits when the scope is closed, or is appended after, fails
 * with the reason `Closed`; of what is being written then it is not known whether it was.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<A>(
  options: Options<A>
): Effect.fn.Return<(request: AppendRequest) => Effect.Effect<A, StorageError>, never, Scope.Scope> {
  const { joins = always, maxBytes, maxEvents, write } = options
  const lane: Lane<A> = {
    write,
    queue: new AppendQueue({ maxEvents, maxBytes, joins }),
    some: Latch.makeUnsafe(),
    isClosed: false
  }
  yield* Effect.addFinalizer(() => close(lane))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(lane.some.await, Effect.suspend(() => writeNext(lane)))))
  return (request) => append(lane, request)
})

const always = () => true

const append = <A>(lane: Lane<A>, request: AppendRequest): Effect.Effect<A, StorageError> =>
  Effect.callback((resume) => {
    if (lane.isClosed) return resume(closed("Closed"))
    const waiting = { request, resume }
    lane.queue.add(waiting)
    lane.some.openUnsafe()
    return Effect.sync(() => lane.queue.remove(waiting))
  })

/** Writes the next batch, if there is one: all who waited may have been interrupted. */
const writeNext = <A>(lane: Lane<A>): Effect.Effect<void> => {
  const batch = lane.queue.takeBatch()
  if (lane.queue.isEmpty) lane.some.closeUnsafe()
  return batch.length === 0
    ? Effect.void
    : Effect.onInterrupt(writeBatch(lane, batch), () => Effect.sync(() => fail(batch, "Unavailable")))
}

const writeBatch = <A>(lane: Lane<A>, batch: ReadonlyArray<Waiting<A>>): Effect.Effect<void> =>
  Effect.flatMap(
    Effect.exit(lane.write(batch.map(({ request }) => request) as unknown as NonEmptyReadonlyArray<AppendRequest>)),
    (exit) => {
      if (Exit.isSuccess(exit)) batch.forEach(({ resume }, i) => resume(Exit.succeed(exit.value[i]!)))
      // one of them was refused: written one by one, only that one fails
      else if (batch.length > 1 && Exit.hasFails(exit) && !isOfStorage(exit)) {
        return Effect.forEach(batch, (waiting) => writeBatch(lane, [waiting]), { discard: true })
      } else batch.forEach(({ resume }) => resume(Exit.failCause(exit.cause)))
      return Effect.void
    }
  )

const close = <A>(lane: Lane<A>): Effect.Effect<void> =>
  Effect.sync(() => {
    lane.isClosed = true
    fail(lane.queue.takeAll(), "Closed")
  })

const closed = (reason: "Closed" | "Unavailable"): Effect.Effect<never, StorageError> =>
  Effect.fail(new StorageError({ operation: "append", reason, cause: new Error("the storage was closed") }))

const fail = <A>(appends: ReadonlyArray<Waiting<A>>, reason: "Closed" | "Unavailable"): void => {
  for (const { resume } of appends) resume(closed(reason))
}

/** Whether the storage is at fault: then each append would fail with the same by itself. */
const isOfStorage = (exit: Exit.Exit<unknown, StorageError>): boolean =>
  Exit.isFailure(exit) && exit.cause.reasons.some((reason) => reason._tag === "Fail" && reason.error.isOfStorage)
