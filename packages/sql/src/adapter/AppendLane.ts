/**
 * Group commit: the appends of many fibers in one transaction.
 *
 * What is appended while a transaction is under way goes into the next one. There is no delay: a lone append is on its way at
 * once.
 *
 * @since 0.1.0
 */
import { sizeOf } from "@sluice/core/Envelope"
import type { AppendRequest, SequenceConflict, Written } from "@sluice/core/Journal"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { StorageError } from "@sluice/core/StorageError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"

/**
 * What became of one append of a batch. A conflict of one does not concern the others.
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

interface Waiting<A> {
  readonly request: AppendRequest
  readonly resume: (effect: Effect.Effect<A, StorageError>) => void
}

/**
 * Starts a lane, which lives as long as the scope, and returns its append.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<A>(
  options: Options<A>
): Effect.fn.Return<(request: AppendRequest) => Effect.Effect<A, StorageError>, never, Scope.Scope> {
  let queue: Array<Waiting<A>> = []
  const some = Latch.makeUnsafe()

  const nextBatch = (): Array<Waiting<A>> => {
    const batch: Array<Waiting<A>> = []
    const rest: Array<Waiting<A>> = []
    const entities = new Map<PersistenceId, AppendRequest | undefined>()
    let events = 0
    let bytes = 0
    for (const waiting of queue) {
      const { request } = waiting
      const { entityType, persistenceId } = request
      const earlier = entities.get(persistenceId)
      const fits = batch.length === 0 || events < options.maxEvents && bytes < options.maxBytes &&
          entityType === batch[0]!.request.entityType &&
          (!entities.has(persistenceId) || earlier !== undefined && (options.joins?.(earlier, request) ?? true))
      // what does not fit keeps back what follows of its entity
      entities.set(persistenceId, fits ? request : undefined)
      if (!fits) {
        rest.push(waiting)
        continue
      }
      batch.push(waiting)
      events += request.events.length
      for (const event of request.events) bytes += sizeOf(event)
    }
    queue = rest
    if (queue.length === 0) some.closeUnsafe()
    return batch
  }

  const write: (batch: ReadonlyArray<Waiting<A>>) => Effect.Effect<void> = Effect.fnUntraced(function*(batch) {
    const requests = batch.map((waiting) => waiting.request)
    const exit = yield* Effect.exit(options.write(requests as unknown as NonEmptyReadonlyArray<AppendRequest>))
    if (Exit.isSuccess(exit)) {
      batch.forEach((waiting, i) => waiting.resume(Exit.succeed(exit.value[i]!)))
    } else if (batch.length > 1 && Exit.hasFails(exit) && !isOfStorage(exit)) {
      // one of them was refused: alone, it fails alone
      for (const waiting of batch) yield* write([waiting])
    } else {
      batch.forEach((waiting) => waiting.resume(Exit.failCause(exit.cause)))
    }
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => queue.forEach((waiting) => waiting.resume(Exit.interrupt()))))

  yield* Effect.forever(
    Effect.flatMap(some.await, () => {
      const batch = nextBatch()
      return batch.length === 0 ? Effect.void : Effect.onInterrupt(
        write(batch),
        () => Effect.sync(() => batch.forEach((waiting) => waiting.resume(Exit.interrupt())))
      )
    })
  ).pipe(Effect.forkScoped)

  return (request) =>
    Effect.callback((resume) => {
      const waiting = { request, resume }
      queue.push(waiting)
      some.openUnsafe()
      return Effect.sync(() => {
        const at = queue.indexOf(waiting)
        if (at >= 0) queue.splice(at, 1)
      })
    })
})

/** Others would meet the same, one after the other. */
const isOfStorage = (exit: Exit.Exit<unknown, StorageError>): boolean =>
  Exit.isFailure(exit) && exit.cause.reasons.some((reason) => reason._tag === "Fail" && reason.error.isOfStorage)
