import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"

/** @internal Updates a metric that has an attribute for each entity type. */
export const meterOf = <Input>(metric: Metric.Metric<Input, unknown>) => {
  const meters = new Map<string, Metric.Metric<Input, unknown>>()
  return (entityType: string, input: Input, context: Context.Context<never>): void => {
    let meter = meters.get(entityType)
    if (meter === undefined) {
      meters.set(entityType, meter = Metric.withAttributes(metric, { entity_type: entityType }))
    }
    meter.updateUnsafe(input, context)
  }
}
