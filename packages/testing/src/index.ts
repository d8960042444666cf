/**
 * @since 0.1.0
 */
export * as Auditor from "./Auditor.ts"
export * as DurableStateStoreTest from "./DurableStateStoreTest.ts"
export * as FaultPlan from "./FaultPlan.ts"
export * as FreePort from "./FreePort.ts"
export * as JournalTest from "./JournalTest.ts"
export * as OffsetStoreTest from "./OffsetStoreTest.ts"
export * as ProjectionTest from "./ProjectionTest.ts"
export * as SimulatedDatabase from "./SimulatedDatabase.ts"
export * as SimulatedNetwork from "./SimulatedNetwork.ts"
export * as Simulation from "./Simulation.ts"
export * as SnapshotStoreTest from "./SnapshotStoreTest.ts"
export * as StorageTest from "./StorageTest.ts"
export * as TestServer from "./TestServer.ts"
export * as Wait from "./Wait.ts"
