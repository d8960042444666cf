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
 * How long it took until a command was answered, in seconds (entity_type, command, outcome).
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
 * Entities whose states are being computed from what is stored of them (entity_type).
 *
 * @category entities
 * @since 0.1.0
 */
export const entityRecovering = Metric.gauge("sluice_entity_recovering", {
  description: "Recoveries of entities that are under way"
})

/**
 * Events that were read to compute states, which grows while one is being computed (entity_type).
 *
 * @category entities
 * @since 0.1.0
 */
export const entityRecovered = Metric.counter("sluice_entity_recovered_events_total", {
  description: "Events that were read to recover entities",
  incremental: true
})

/**
 * Entities whose states this process has in memory (entity_type).
 *
 * @category entities
 * @since 0.1.0
 */
export const entityActive = Metric.gauge("sluice_entity_active", { description: "Entities that are active" })

/**
 * Entities that are active no more (entity_type, reason). The reason is `idle`, `room` where another one needed its place, `released` where it was passivated on
 * request, such as for another process of a cluster, `abandoned` where it was given up, or `unknown` where what is stored of it is not known any more.
 *
 * @category entities
 * @since 0.1.0
 */
export const entityPassivated = Metric.counter("sluice_entity_passivated_total", {
  description: "Entities that are active no more",
  incremental: true
})

/**
 * How many commands waited for the same entity when another one came that could not be begun at once (entity_type).
 *
 * @category entities
 * @since 0.1.0
 */
export const entityWaiting = Metric.histogram("sluice_entity_waiting_commands", {
  description: "Commands that waited for the same entity as one that came",
  boundaries: [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000]
})

/**
 * Commands that there was no room for in this process (entity_type, full). What was full is the `mailbox` of the entity, the room for `activations`,
 * the `memory` for commands, or the `time` that whoever sent it gave those before it.
 *
 * @category entities
 * @since 0.1.0
 */
export const entityOverloaded = Metric.counter("sluice_entity_overloaded_total", {
  description: "Commands that there was no room for",
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
