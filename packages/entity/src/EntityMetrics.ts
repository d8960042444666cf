/**
 * What entities count and measure, as metrics of `effect`. Each has the attribute that its description names in brackets.
 *
 * @since 0.1.0
 */
import * as Metric from "effect/Metric"

const seconds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]

/**
 * Commands that callers of this process have sent (entity_type, command, outcome). The outcome is `replied`, `rejected`, the name of an error such as
 * `Overloaded`, `interrupted`, or `died`.
 *
 * @category entities
 * @since 0.1.0
 */
export const entityCommands = Metric.counter("sluice_entity_commands_total", {
  description: "Commands that were sent to entities",
  incremental: true
})

/**
 * How long it took until a command was answered, in seconds (entity_type, command).
 *
 * @category entities
 * @since 0.1.0
 */
export const entityCommand = Metric.histogram("sluice_entity_command_seconds", {
  description: "Commands until they were answered, in seconds",
  boundaries: seconds
})

/**
 * How long it took to compute the state of an entity from what is stored of it, in seconds (entity_type).
 *
 * @category entities
 * @since 0.1.0
 */
export const entityRecovery = Metric.histogram("sluice_entity_recovery_seconds", {
  description: "Recoveries of entities, in seconds",
  boundaries: seconds
})

/**
 * Events that were read to compute states (entity_type).
 *
 * @category entities
 * @since 0.1.0
 */
export const entityRecovered = Metric.counter("sluice_entity_recovered_events_total", {
  description: "Events that were read to recover entities",
  incremental: true
})

/**
 * Snapshots that this process has tried to save (entity_type, outcome). The outcome is `saved`, `failed`, or `omitted` where too many were under way.
 *
 * @category entities
 * @since 0.1.0
 */
export const entitySnapshots = Metric.counter("sluice_entity_snapshots_total", {
  description: "Snapshots of entities",
  incremental: true
})
