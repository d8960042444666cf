import { assert, it } from "@effect/vitest"
import * as MetricAttributes from "@sluice/core/MetricAttributes"
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"

it("an attribute is its name and its value, whatever characters these have, beside those that are there", () => {
  const context = Context.make(Metric.MetricRegistry, new Map())
  const sold = Metric.counter("sold")
  const one = MetricAttributes.add(context, "a=b", "c")
  const other = MetricAttributes.add(context, "a", "b=c")
  const both = MetricAttributes.add(one, "a", "b=c")
  sold.updateUnsafe(1, one)
  sold.updateUnsafe(2, other)
  sold.updateUnsafe(3, both)
  sold.updateUnsafe(4, MetricAttributes.add(context, "a", "b=c"))
  assert.deepStrictEqual(
    Metric.snapshotUnsafe(context).map(({ attributes, state }) => [attributes, (state as { count: number }).count]),
    [[{ "a=b": "c" }, 1], [{ a: "b=c" }, 6], [{ "a=b": "c", a: "b=c" }, 3]]
  )
})
