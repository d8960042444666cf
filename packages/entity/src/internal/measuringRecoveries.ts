import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import { entityRecovering, entityRecovery } from "../EntityMetrics.ts"

/** @internal Counts the recoveries that are under way, and measures how long those take that succeed. */
export const measuringRecoveries = (entityType: string) => {
  const attributes = { entity_type: entityType }
  const underWay = Metric.withAttributes(entityRecovering, attributes)
  const seconds = Metric.withAttributes(entityRecovery, attributes)
  return <A, E, R>(recovery: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.withFiber(({ context }) => {
        const clock = Context.get(context, Clock.Clock)
        const begun = clock.monotonicTimeNanosUnsafe()
        underWay.modifyUnsafe(1, context)
        return Effect.onExit(restore(recovery), (exit) =>
          Effect.sync(() => {
            underWay.modifyUnsafe(-1, context)
            if (Exit.isFailure(exit)) return
            seconds.updateUnsafe(Number(clock.monotonicTimeNanosUnsafe() - begun) / 1e9, context)
          }))
      })
    )
}
