import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import { Fenced, OffsetStore } from "../../OffsetStore.ts"
import { offsetKey, type Projection } from "../../ProjectionDefinition.ts"
import { type Command, ProjectionManagement } from "../../ProjectionManagement.ts"
import { SourceFailed, type Worker } from "../../ProjectionStatus.ts"
import * as SliceRange from "../../SliceRange.ts"
import { beginAgain, isChange } from "./beginAgain.ts"
import type { Control } from "./control.ts"
import { errorOf, isForAPerson } from "./failures.ts"
import { incarnation } from "./incarnation.ts"
import { resolveTimes } from "./resolveTimes.ts"
import { WorkerState } from "./workerStatus.ts"

const initialBackoff = 200
const maximalBackoff = 30_000
/** Whoever runs twice must not end with nobody running. */
const maximalFencing = 5_000

/** @internal */
export interface RunnableWorker<E, R> {
  /** What others may know of it. */
  readonly worker: Worker
  /** Fails when it stops. */
  readonly run: Effect.Effect<never, E, R>
  /** Ends when the projection is told something else than when it ran last. */
  readonly resumed: Effect.Effect<void>
  /** Tells those who wait for it that it runs no more. */
  readonly end: Effect.Effect<void>
}

/**
 * @internal
 * One worker of a projection.
 *
 * One incarnation of it follows another, with backoff, each from what was stored. What the projection is told ends an incarnation
 * between two groups, so that nothing is handled again for it.
 */
export const makeWorker = <E, R>(
  projection: Projection<E, R>,
  range: SliceRange.SliceRange,
  control: Control
): Effect.Effect<RunnableWorker<E, R>, never, R> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<any>()
    const store = yield* OffsetStore
    const management = yield* ProjectionManagement
    const state = new WorkerState(projection.name, range, context)

    const isStopped = (cause: Cause.Cause<unknown>) => {
      if (state.stop === undefined && isForAPerson(cause)) state.stop = { cause, event: undefined }
      return state.stop !== undefined
    }

    const stopped = Effect.suspend(() => {
      const { cause, event } = state.stop!
      state.update({ state: "Stopped", failure: state.stop })
      return Effect.andThen(
        Effect.logError(
          event === undefined
            ? "Stops, and waits for a person"
            : `Stops at event ${event.sequenceNumber} of '${event.persistenceId}', which cannot be processed`,
          cause
        ),
        Effect.failCause(cause)
      )
    })

    /** What the projection was told last. */
    let command: Command | undefined
    const resumed = Effect.suspend(() => command === undefined ? Effect.never : control.changedFrom(command))

    /** Waits, longer with every time in a row. */
    const restart = Effect.fnUntraced(function*(
      cause: Cause.Cause<unknown>,
      times: number,
      atMost: number,
      message: (millis: number) => string,
      ...details: ReadonlyArray<Cause.Cause<unknown>>
    ) {
      state.restarts({ failure: { cause, event: undefined } })
      const jitter = yield* Random.nextBetween(0.8, 1.2)
      const backoff = Math.min(initialBackoff * 2 ** (times - 1), atMost) * jitter
      yield* Effect.logWarning(message(Math.round(backoff)), ...details)
      yield* Effect.raceFirst(Effect.sleep(backoff), resumed)
    })

    const run = Effect.gen(function*() {
      state.stop = undefined
      // before it takes what it is told, or it would look as if it had, and stayed stopped
      state.update({ state: "Starting", failure: undefined })
      let failures = 0
      let fencings = 0
      while (true) {
        state.progressed = false
        const begun = yield* Clock.monotonicTimeNanos
        const exit: Exit.Exit<void, unknown> = yield* Effect.exit(
          Effect.flatMap(control.command(projection.name), (current) => {
            command = current
            if (!current.paused) {
              return incarnation({
                projection,
                range,
                store,
                management,
                state,
                told: control.changedFrom(current)
              })
            }
            state.update({ state: "Paused", failure: undefined })
            return control.changedFrom(current)
          })
        )
        if (Exit.isSuccess(exit)) continue
        const error = errorOf(exit.cause)
        if (error instanceof Fenced) {
          // the next one loads what it was told
          if (error.by === "command") continue
          const lasted = Number((yield* Clock.monotonicTimeNanos) - begun) / 1e6
          fencings = lasted > 2 * maximalFencing ? 1 : fencings + 1
          yield* restart(exit.cause, fencings, maximalFencing, (millis) =>
            `${error.message}. Looks again in ${millis} ms`)
          continue
        }
        if (projection.source.provider.onReplaced === "rewind" && state.isOfSource(error) && isChange(error)) {
          yield* Effect.logWarning("Begins again, as the journal is not the one that was read", exit.cause)
          const moved = yield* Effect.exit(beginAgain(store, management, offsetKey(projection), range, error))
          // one of several logs: the others follow
          if (Exit.isSuccess(moved) && error._tag === "JournalForked") {
            continue
          }
        } else if (isStopped(exit.cause)) {
          return yield* stopped
        }
        failures = state.progressed ? 1 : failures + 1
        yield* restart(exit.cause, failures, maximalBackoff, (millis) =>
          `Restarts in ${millis} ms`, exit.cause)
      }
    }).pipe(
      Effect.annotateLogs({ projection: projection.name, slices: SliceRange.format(range) })
    ) as Effect.Effect<never, E, any>

    const { provider } = projection.source
    const ofSource = <A>(effect: Effect.Effect<A, unknown, any>): Effect.Effect<A, SourceFailed> =>
      Effect.provideContext(effect, context).pipe(
        Effect.mapError((cause) =>
          new SourceFailed({ projection: projection.name, cause })
        )
      )
    const worker: Worker = {
      get status() {
        return state.status
      },
      until: (predicate) => state.until(predicate),
      isTold: Effect.map(control.command(projection.name), ({ revision }) => revision !== command?.revision),
      heads: ofSource(provider.heads(range)),
      stored: Effect.flatMap(store.load(offsetKey(projection), range), ({ offsets, revision }) =>
        Effect.map(
          ofSource(resolveTimes(provider, range, offsets)),
          (offsets) => ({ offsets, revision })
        ))
    }
    return { worker, run, resumed, end: Effect.sync(() => state.end()) }
  }) as any
