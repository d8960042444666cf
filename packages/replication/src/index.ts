/**
 * @since 0.1.0
 */
export * as VersionVector from "./VersionVector.ts"
