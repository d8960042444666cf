import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Placement } from "../../Placement.ts"

/** @internal How soon a placement that has ended or died since its last answer is asked again, and workers are changed again where that has failed. */
export const again = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("30 seconds")])

/** @internal How many workers a projection has in all processes, and which of them run in this one. */
export interface Target {
  readonly workers: number
  readonly assigned: ReadonlySet<number>
}

/** @internal A target that the placement has named. */
export interface NewTarget extends Target {
  /** To be opened once it is applied: workers begin, and others have been told to end. */
  readonly applied: Latch.Latch
}

/**
 * @internal
 * Asks the placement for each number of workers. The answers to the number before hold until there is one to the next, and what they were is
 * dropped if it was not taken until then. A placement is asked for its next set once the last is applied.
 */
export const targets = Effect.fnUntraced(function*(
  projection: string,
  counts: Stream.Stream<number>,
  { assigned: assignedOf }: Placement
): Effect.fn.Return<Queue.Dequeue<NewTarget>, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const queue = yield* Queue.sliding<NewTarget>(1)
  /** In which the newest number is asked for, and the newest one that has an answer. */
  let asking: Scope.Closeable | undefined
  let answered: Scope.Closeable | undefined
  const close = (of: Scope.Closeable | undefined) =>
    of === undefined ? Effect.void : Effect.forkIn(Scope.close(of, Exit.void), scope)
  const ask = Effect.fnUntraced(function*(workers: number) {
    const abandoned = asking === answered ? undefined : asking
    const own = yield* Scope.fork(scope)
    asking = own
    yield* close(abandoned)
    const answer = (assigned: ReadonlySet<number>) =>
      Effect.suspend(() => {
        if (own !== asking && own !== answered) return Effect.void
        const before = answered === own ? undefined : answered
        answered = own
        const applied = Latch.makeUnsafe()
        return Queue.offer(queue, { workers, assigned, applied }).pipe(
          Effect.andThen(close(before)),
          Effect.andThen(applied.await)
        )
      })
    const answers = Stream.concat(assignedOf(projection, workers), Stream.die(new Error("It has ended"))).pipe(
      Stream.catchCause((cause) =>
        Stream.fromEffect(
          Effect.annotateLogs(
            Effect.logError("The placement does not say any more which of its workers run here. Asks it again", cause),
            { projection }
          )
        ).pipe(Stream.drain, Stream.concat(Stream.fail("asks again" as const)))
      ),
      // of a stream, and so from the beginning after each answer
      Stream.retry(again),
      Stream.orDie
    )
    yield* Effect.forkIn(Stream.runForEach(answers, answer), own)
  })
  yield* Effect.forkScoped(Stream.runForEach(counts, ask))
  return queue
})
