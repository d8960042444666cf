/**
 * @since 0.1.0
 */
export * as ClusterPlacement from "./ClusterPlacement.ts"
export * as EntityCluster from "./EntityCluster.ts"
export * as EntityMessage from "./EntityMessage.ts"
export * as ListenError from "./ListenError.ts"
export * as NodeTls from "./NodeTls.ts"
