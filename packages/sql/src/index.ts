/**
 * @since 0.1.0
 */
export * as Database from "./Database.ts"
export * as Migrations from "./Migrations.ts"
export * as SluiceTables from "./SluiceTables.ts"
export * as Tables from "./Tables.ts"
export * as Tls from "./Tls.ts"
