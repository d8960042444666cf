import type { Metadata } from "@sluice/core/Envelope"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Retention } from "@sluice/core/Retention"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import * as SnapshotStore from "@sluice/core/SnapshotStore"
import type { StateType } from "@sluice/core/StateType"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import { entitySnapshots } from "../EntityMetrics.ts"
import type { InTime } from "./inTime.ts"

/** So many are under way at a time. Each holds a state. */
const maxSaves = 16

/** How long one may take, and how long the end waits for those that are under way. */
const saveWithin = Duration.seconds(60)
const endWithin = "5 seconds"

const tooSlow = new Cause.TimeoutError(`it takes longer than ${Duration.format(saveWithin)}`)

/** @internal A snapshot that is to be saved. */
export interface NewSnapshot<out State> {
  readonly id: string
  readonly persistenceId: PersistenceId
  readonly sequenceNumber: SequenceNumber
  readonly state: State
  /** Is asked for what there is now, if it is saved. */
  readonly metadata: () => Metadata
  /** The numbers of snapshots that are of other events than the journal has. Those that were removed are taken out. */
  readonly wrong: Set<number>
}

/** @internal Saves snapshots in the background. */
export interface SnapshotSaver<in State> {
  /** Begins to save one, unless one of the entity, or too many, are under way. */
  readonly beginUnsafe: (snapshot: NewSnapshot<State>) => boolean
}

/** @internal */
export const makeSnapshotSaver = Effect.fnUntraced(function*<State>(
  stateType: StateType<State>,
  retention: Retention,
  inTime: InTime
): Effect.fn.Return<SnapshotSaver<State>, never, SnapshotStore.SnapshotStore | Scope.Scope> {
  const store = yield* SnapshotStore.SnapshotStore
  const fibers = yield* FiberSet.make<void>()
  const run = yield* FiberSet.runtime(fibers)<SnapshotStore.SnapshotStore>()
  yield* Effect.addFinalizer(() => Effect.timeoutOption(FiberSet.awaitEmpty(fibers), endWithin))
  const underWay = new Set<PersistenceId>()
  const count = (outcome: string) =>
    Metric.update(Metric.withAttributes(entitySnapshots, { entity_type: stateType.name, outcome }), 1)
  return {
    beginUnsafe: ({ id, persistenceId, sequenceNumber, state, wrong, ...snapshot }) => {
      if (underWay.has(persistenceId)) return false
      if (underWay.size >= maxSaves) {
        run(count("omitted"))
        return false
      }
      const metadata = snapshot.metadata()
      underWay.add(persistenceId)
      // before it is saved, as the retention counts them: one with a greater number would be kept in its place
      const removed = Effect.forEach(
        Array.from(wrong),
        (number) =>
          Effect.map(
            store.delete(persistenceId, { minSequenceNumber: number, maxSequenceNumber: number }),
            () => wrong.delete(number)
          ),
        { discard: true }
      )
      // by the store itself, as metadata of Sluice's own is refused elsewhere
      const saved = Effect.suspend(() =>
        store.save({ persistenceId, sequenceNumber, payload: stateType.codec.encodeUnsafe(state), metadata })
      )
      const saving = removed.pipe(
        Effect.andThen(saved),
        Effect.andThen(SnapshotStore.retain(stateType, id, retention))
      )
      run(
        // one that does not let itself be stopped keeps neither the end, nor others
        Effect.flatMap(inTime(saving, saveWithin), (exit): Effect.Effect<void, unknown> => exit ?? Effect.fail(tooSlow))
          .pipe(
            // first, so that the next one can begin as soon as this one is counted
            Effect.ensuring(Effect.sync(() => underWay.delete(persistenceId))),
            Effect.andThen(count("saved")),
            Effect.catchCause((cause) =>
              Effect.andThen(
                count("failed"),
                Effect.logWarning(
                  `The snapshot of ${persistenceId} after event ${sequenceNumber} was not saved. ` +
                    "Its recovery begins at an earlier one, or at the first event",
                  cause
                )
              )
            )
          )
      )
      return true
    }
  }
})
