/**
 * @since 0.1.0
 */
export * as AkkaCodecs from "./AkkaCodecs.ts"
/**
 * @since 0.1.0
 */
export * as Counter from "./Counter.ts"
/**
 * @since 0.1.0
 */
export * as DottedMap from "./DottedMap.ts"
/**
 * @since 0.1.0
 */
export * as GCounter from "./GCounter.ts"
/**
 * @since 0.1.0
 */
export * as LwwMap from "./LwwMap.ts"
/**
 * @since 0.1.0
 */
export * as LwwRegister from "./LwwRegister.ts"
/**
 * @since 0.1.0
 */
export * as LwwTime from "./LwwTime.ts"
/**
 * @since 0.1.0
 */
export * as MapValue from "./MapValue.ts"
/**
 * @since 0.1.0
 */
export * as MvRegister from "./MvRegister.ts"
/**
 * @since 0.1.0
 */
export * as OrMap from "./OrMap.ts"
/**
 * @since 0.1.0
 */
export * as OrSet from "./OrSet.ts"
/**
 * @since 0.1.0
 */
export * as Replica from "./Replica.ts"
/**
 * @since 0.1.0
 */
export * as ReplicaVerification from "./ReplicaVerification.ts"
/**
 * @since 0.1.0
 */
export * as ReplicatedEventSourced from "./ReplicatedEventSourced.ts"
/**
 * @since 0.1.0
 */
export * as ReplicatedJournal from "./ReplicatedJournal.ts"
/**
 * @since 0.1.0
 */
export * as Replication from "./Replication.ts"
/**
 * @since 0.1.0
 */
export * as ReplicationError from "./ReplicationError.ts"
/**
 * @since 0.1.0
 */
export * as ReplicationStatus from "./ReplicationStatus.ts"
/**
 * @since 0.1.0
 */
export * as VersionVector from "./VersionVector.ts"
