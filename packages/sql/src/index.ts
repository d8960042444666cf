/**
 * @since 0.1.0
 */
export * as AppendLane from "./AppendLane.ts"
export * as Database from "./Database.ts"
export * as Dialect from "./Dialect.ts"
export * as JournalRow from "./JournalRow.ts"
export * as Migrations from "./Migrations.ts"
export * as SluiceTables from "./SluiceTables.ts"
export * as SqlOffsetStore from "./SqlOffsetStore.ts"
export * as SqlStorageError from "./SqlStorageError.ts"
export * as SqlTransaction from "./SqlTransaction.ts"
export * as Tables from "./Tables.ts"
