/**
 * @since 0.1.0
 */
export * as SqliteOptions from "./SqliteOptions.ts"
export * as SqliteStorage from "./SqliteStorage.ts"
