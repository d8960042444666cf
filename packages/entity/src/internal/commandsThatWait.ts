import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Overloaded } from "../EntityError.ts"
import { entityOverloaded, entityWaiting } from "../EntityMetrics.ts"

/** @internal Counts the commands of a type that cannot be begun at once. */
export interface CommandsThatWait {
  /** One has to wait, and so many have come before it for the same entity and wait as well. */
  readonly waits: (before: number, context: Context.Context<never>) => void
  /** There is no room for one. What another process has refused never came here. */
  readonly refused: (full: Exclude<Overloaded["full"], "process">, context: Context.Context<never>) => void
}

/** @internal */
export const commandsThatWait = (entityType: string): CommandsThatWait => {
  const attributes = { entity_type: entityType }
  const waiting = Metric.withAttributes(entityWaiting, attributes)
  const overloaded = {
    mailbox: Metric.withAttributes(entityOverloaded, { ...attributes, full: "mailbox" }),
    activations: Metric.withAttributes(entityOverloaded, { ...attributes, full: "activations" }),
    memory: Metric.withAttributes(entityOverloaded, { ...attributes, full: "memory" }),
    time: Metric.withAttributes(entityOverloaded, { ...attributes, full: "time" })
  }
  return {
    waits: (before, context) => waiting.updateUnsafe(before, context),
    refused: (full, context) => overloaded[full].updateUnsafe(1, context)
  }
}
