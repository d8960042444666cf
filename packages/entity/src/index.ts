/**
 * @since 0.1.0
 */
export * as Activations from "./Activations.ts"
export * as Behaviour from "./Behaviour.ts"
export * as Decision from "./Decision.ts"
export * as DurableState from "./DurableState.ts"
export * as Entity from "./Entity.ts"
export * as EntityClient from "./EntityClient.ts"
export * as EntityError from "./EntityError.ts"
export * as EntityHttp from "./EntityHttp.ts"
export * as EntityMetrics from "./EntityMetrics.ts"
export * as EventSourced from "./EventSourced.ts"
export * as EventSourcedKind from "./EventSourcedKind.ts"
export * as Lineage from "./Lineage.ts"
export * as PlainEntities from "./PlainEntities.ts"
export * as SnapshotPolicy from "./SnapshotPolicy.ts"
