/**
 * @since 0.1.0
 */
export * as PostgresOptions from "./PostgresOptions.ts"
export * as PostgresStorage from "./PostgresStorage.ts"
