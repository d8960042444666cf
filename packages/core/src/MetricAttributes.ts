/**
 * Attributes of metrics, for what updates them often.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"

const records = new Map<string, Map<string, Readonly<Record<string, string>>>>()

/** The same record each time: a metric looks its series up again for another one, though it be equal. */
const recordOf = (name: string, value: string): Readonly<Record<string, string>> => {
  let ofName = records.get(name)
  if (ofName === undefined) records.set(name, ofName = new Map())
  let record = ofName.get(value)
  if (record === undefined) ofName.set(value, record = { [name]: value })
  return record
}

/**
 * A context in which all metrics have one attribute more, as `Metric.withAttributes` would give each of them with every update.
 *
 * **Example** (Counting with an attribute)
 *
 * ```ts
 * import { MetricAttributes } from "@sluice/core"
 * import { Context, Metric } from "effect"
 *
 * const sold = Metric.counter("sold")
 * const context = MetricAttributes.add(Context.empty(), "sku", "tea")
 * sold.updateUnsafe(2, context)
 * sold.valueUnsafe(context).count // => 2
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const add = <R>(context: Context.Context<R>, name: string, value: string): Context.Context<R> => {
  const outer = Context.get(context, Metric.CurrentMetricAttributes)
  const own = recordOf(name, value)
  const all = Object.keys(outer).length === 0 ? own : { ...outer, ...own }
  return Context.add(context, Metric.CurrentMetricAttributes, all)
}
