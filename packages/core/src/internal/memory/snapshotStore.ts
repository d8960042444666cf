import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { PersistenceId } from "../../PersistenceId.ts"
import { type Criteria, type EncodedSnapshot, SnapshotStore } from "../../SnapshotStore.ts"
import type { Timestamp } from "../../Timestamp.ts"
import { type MemoryDatabase, MemoryTable, type MemoryTransaction } from "./database.ts"

const meets = (criteria: Criteria) => ({ sequenceNumber, timestamp }: EncodedSnapshot): boolean =>
  sequenceNumber >= (criteria.minSequenceNumber ?? 0) &&
  sequenceNumber <= (criteria.maxSequenceNumber ?? Infinity) &&
  timestamp >= (criteria.minTimestamp ?? 0) &&
  timestamp <= (criteria.maxTimestamp ?? Infinity)

/** @internal */
export const makeMemorySnapshotStore = ({ read, write }: MemoryDatabase): SnapshotStore["Service"] => {
  /** Those of each entity, newest first. */
  const table = new MemoryTable<ReadonlyArray<EncodedSnapshot>>()
  const of = (transaction: MemoryTransaction | undefined, persistenceId: PersistenceId) =>
    table.get(transaction, persistenceId) ?? []
  const newest = (transaction: MemoryTransaction | undefined, persistenceIds: ReadonlyArray<PersistenceId>) =>
    Array.from(new Set(persistenceIds)).flatMap((persistenceId) => of(transaction, persistenceId).slice(0, 1))
  return SnapshotStore.of({
    save: (snapshot) =>
      write((transaction, now) =>
        Effect.sync(() => {
          const { persistenceId, sequenceNumber } = snapshot
          const others = of(transaction, persistenceId).filter((other) => other.sequenceNumber !== sequenceNumber)
          const saved = [...others, { ...snapshot, timestamp: now as Timestamp }]
          table.set(transaction, persistenceId, saved.toSorted((a, b) => b.sequenceNumber - a.sequenceNumber))
        })
      ),
    load: (persistenceId, criteria) =>
      read((transaction) => Option.fromUndefinedOr(of(transaction, persistenceId).find(meets(criteria)))),
    newest: (persistenceIds) =>
      read((transaction) =>
        new Map(newest(transaction, persistenceIds).map((found) => [found.persistenceId, found.sequenceNumber]))
      ),
    loadNewest: (persistenceIds) => read((transaction) => newest(transaction, persistenceIds)),
    list: (persistenceId) =>
      read((transaction) =>
        of(transaction, persistenceId).map(({ sequenceNumber, timestamp }) => ({ sequenceNumber, timestamp }))
      ),
    delete: (persistenceId, criteria) =>
      write((transaction) =>
        Effect.sync(() => {
          const others = of(transaction, persistenceId).filter((snapshot) => !meets(criteria)(snapshot))
          table.set(transaction, persistenceId, others.length > 0 ? others : undefined)
        })
      )
  })
}
