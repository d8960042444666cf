/**
 * @since 0.1.0
 */
export * as Counter from "./Counter.ts"
/**
 * @since 0.1.0
 */
export * as GCounter from "./GCounter.ts"
/**
 * @since 0.1.0
 */
export * as VersionVector from "./VersionVector.ts"
