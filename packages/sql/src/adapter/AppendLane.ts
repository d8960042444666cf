/**
 * Group commit: the appends of many fibers in one transaction.
 *
 * What is appended while a transaction is under way goes into the next one. This adds no delay: a lone append is sent
 * at once.
 *
 * @since 0.1.0
 */
import type { AppendRequest, SequenceConflict, Written } from "@sluice/core/Journal"
import * as Slice from "@sluice/core/Slice"
import { StorageError } from "@sluice/core/StorageError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
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
 * How lanes write, how much at a time, and how many of them.
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
  /**
   * How many batches may be under way at the same time, 1 by default. Their logs are different ones. A further one begins
   * only when much is waiting, or the last one takes long: several small transactions cost more than a large one.
   */
  readonly lanes?: number | undefined
}

/** While a batch is under way, a further one begins when so many events wait. */
const manyEvents = 64
/** It begins for any event when the last one has been under way for so long, in milliseconds. */
const long = 20
const longNanos = BigInt(long) * 1_000_000n

/** An append that waits, and how its fiber goes on. */
interface Waiting<A> {
  readonly request: AppendRequest
  readonly resume: (effect: Effect.Effect<A, StorageError>) => void
}

type Batch<A> = ReadonlyArray<Waiting<A>>

/** What the lanes share: what waits for them, and what is under way. */
interface Lanes<A> {
  readonly write: Options<A>["write"]
  readonly clock: Clock.Clock
  readonly queue: AppendQueue<Waiting<A>>
  readonly underWay: Set<Batch<A>>
  /** Those without a batch, each open to take one. */
  readonly idle: Array<Latch.Latch>
  /** Open while something waits although a lane is idle. */
  readonly late: Latch.Latch
  /** How many are not idle. */
  busy: number
  /** How many of the events that wait are known to be for logs that are under way. */
  heldUp: number
  /** When the last batch has begun. */
  began: bigint
  isClosed: boolean
}

/**
 * Starts the lanes, which live as long as the scope, and returns their append. What waits when the scope is closed, or is appended after, fails
 * with the reason `Closed`; of what is being written then it is not known whether it was.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<A>(
  options: Options<A>
): Effect.fn.Return<(request: AppendRequest) => Effect.Effect<A, StorageError>, never, Scope.Scope> {
  const { joins = always, lanes: count = 1, maxBytes, maxEvents, write } = options
  const lanes: Lanes<A> = {
    write,
    clock: yield* Clock.Clock,
    queue: new AppendQueue({ maxEvents, maxBytes, joins }),
    underWay: new Set(),
    idle: [],
    late: Latch.makeUnsafe(),
    busy: 0,
    heldUp: 0,
    began: 0n,
    isClosed: false
  }
  yield* Effect.addFinalizer(() => close(lanes))
  for (let i = 0; i < count; i++) {
    const some = Latch.makeUnsafe()
    lanes.idle.push(some)
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(some.await, Effect.suspend(() => writeNext(lanes, some)))))
  }
  // a batch may take long while nothing else is appended
  const lookAgain = Effect.sync(() => {
    lanes.late.closeUnsafe()
    wake(lanes)
  })
  yield* Effect.forkScoped(
    Effect.forever(Effect.andThen(lanes.late.await, Effect.andThen(Effect.sleep(long), lookAgain)))
  )
  return (request) => append(lanes, request)
})

const always = () => true

const append = <A>(lanes: Lanes<A>, request: AppendRequest): Effect.Effect<A, StorageError> =>
  Effect.callback((resume) => {
    if (lanes.isClosed) return resume(closed("Closed"))
    const waiting = { request, resume }
    lanes.queue.add(waiting)
    wake(lanes)
    return Effect.sync(() => {
      lanes.queue.remove(waiting)
      lanes.heldUp = Math.min(lanes.heldUp, lanes.queue.events)
    })
  })

/** Lets a further lane take what waits, if it is to. */
const wake = <A>(lanes: Lanes<A>): void => {
  const { busy, idle, late, queue } = lanes
  if (idle.length === 0 || queue.isEmpty) return
  if (busy > 0 && !isDue(lanes)) return void late.openUnsafe()
  lanes.busy++
  idle.pop()!.openUnsafe()
}

/** Whether another batch is to begin while one is under way. */
const isDue = <A>({ began, clock, heldUp, queue }: Lanes<A>): boolean => {
  const events = queue.events - heldUp
  return events >= manyEvents || events > 0 && clock.monotonicTimeNanosUnsafe() - began >= longNanos
}

/** Writes the next batch, if there is one: all who waited may have been interrupted, or wait for logs that are under way. */
const writeNext = <A>(lanes: Lanes<A>, some: Latch.Latch): Effect.Effect<void> => {
  const { queue, underWay } = lanes
  const batch = queue.takeBatch(isOfNone(underWay))
  some.closeUnsafe()
  const rest = () => {
    lanes.busy--
    lanes.idle.push(some)
    wake(lanes)
  }
  if (batch.length === 0) {
    lanes.heldUp = queue.events
    return Effect.sync(rest)
  }
  underWay.add(batch)
  lanes.began = lanes.clock.monotonicTimeNanosUnsafe()
  // another one may go on with what is left
  wake(lanes)
  return writeBatch(lanes, batch).pipe(
    Effect.onInterrupt(() => Effect.sync(() => fail(batch, "Unavailable"))),
    Effect.tap(() =>
      Effect.sync(() => {
        underWay.delete(batch)
        lanes.heldUp = 0
      })
    ),
    // those who were answered may append again, and then go into one batch with those who wait
    Effect.flatMap((othersWait) => othersWait ? Effect.andThen(Effect.yieldNow, Effect.sync(rest)) : Effect.sync(rest))
  )
}

/** Whether an append is for none of the logs that are under way. */
const isOfNone = <A>(underWay: Lanes<A>["underWay"]): (request: AppendRequest) => boolean => {
  if (underWay.size === 0) return always
  const logs = new Map<string, Set<Slice.Slice>>()
  for (const batch of underWay) {
    const { entityType } = batch[0]!.request
    const slices = logs.get(entityType) ?? new Set()
    logs.set(entityType, slices)
    for (const { request } of batch) slices.add(Slice.ofPersistenceId(request.persistenceId))
  }
  return ({ entityType, persistenceId }) => logs.get(entityType)?.has(Slice.ofPersistenceId(persistenceId)) !== true
}

/** Returns whether others waited as its appends were answered. */
const writeBatch = <A>(lanes: Lanes<A>, batch: Batch<A>): Effect.Effect<boolean> =>
  Effect.flatMap(
    Effect.exit(lanes.write(batch.map(({ request }) => request) as unknown as NonEmptyReadonlyArray<AppendRequest>)),
    (exit) => {
      const othersWait = !lanes.queue.isEmpty
      if (Exit.isSuccess(exit)) batch.forEach(({ resume }, i) => resume(Exit.succeed(exit.value[i]!)))
      // one of them was refused: written one by one, only that one fails
      else if (batch.length > 1 && Exit.hasFails(exit) && !isOfStorage(exit)) {
        return Effect.as(Effect.forEach(batch, (waiting) => writeBatch(lanes, [waiting]), { discard: true }), true)
      } else batch.forEach(({ resume }) => resume(Exit.failCause(exit.cause)))
      return Effect.succeed(othersWait)
    }
  )

const close = <A>(lanes: Lanes<A>): Effect.Effect<void> =>
  Effect.sync(() => {
    lanes.isClosed = true
    fail(lanes.queue.takeAll(), "Closed")
  })

const closed = (reason: "Closed" | "Unavailable"): Effect.Effect<never, StorageError> =>
  Effect.fail(new StorageError({ operation: "append", reason, cause: new Error("the storage was closed") }))

const fail = <A>(appends: Batch<A>, reason: "Closed" | "Unavailable"): void => {
  for (const { resume } of appends) resume(closed(reason))
}

/** Whether the storage is at fault: then each append would fail with the same by itself. */
const isOfStorage = (exit: Exit.Exit<unknown, StorageError>): boolean =>
  Exit.isFailure(exit) && exit.cause.reasons.some((reason) => reason._tag === "Fail" && reason.error.isOfStorage)
