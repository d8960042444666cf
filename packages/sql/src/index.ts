/**
 * @since 0.1.0
 */
export * as AppendLane from "./AppendLane.ts"
export * as AppendSignals from "./AppendSignals.ts"
export * as Database from "./Database.ts"
export * as Dialect from "./Dialect.ts"
export * as JournalDialect from "./JournalDialect.ts"
export * as JournalIdentity from "./JournalIdentity.ts"
export * as JournalRow from "./JournalRow.ts"
export * as Migrations from "./Migrations.ts"
export * as Naming from "./Naming.ts"
export * as SliceLogReader from "./SliceLogReader.ts"
export * as SluiceTables from "./SluiceTables.ts"
export * as SqlJournal from "./SqlJournal.ts"
export * as SqlOffsetStore from "./SqlOffsetStore.ts"
export * as SqlStorageError from "./SqlStorageError.ts"
export * as SqlTransaction from "./SqlTransaction.ts"
export * as Tables from "./Tables.ts"
