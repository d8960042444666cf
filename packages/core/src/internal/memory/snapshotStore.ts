import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { PersistenceId } from "../../PersistenceId.ts"
import { type Criteria, type EncodedSnapshot, SnapshotStore } from "../../SnapshotStore.ts"
import type { Timestamp } from "../../Timestamp.ts"
import { type MemoryDatabase, MemoryTable, type MemoryTransaction } from "./database.ts"

const rowKey = ({ persistenceId, sequenceNumber }: Pick<EncodedSnapshot, "persistenceId" | "sequenceNumber">): string =>
  JSON.stringify([persistenceId, sequenceNumber])

const meets = (criteria: Criteria) => ({ sequenceNumber, timestamp }: EncodedSnapshot): boolean =>
  sequenceNumber >= (criteria.minSequenceNumber ?? 0) &&
  sequenceNumber <= (criteria.maxSequenceNumber ?? Infinity) &&
  timestamp >= (criteria.minTimestamp ?? 0) &&
  timestamp <= (criteria.maxTimestamp ?? Infinity)

/** @internal */
export const makeMemorySnapshotStore = ({ read, write }: MemoryDatabase): SnapshotStore["Service"] => {
  const table = new MemoryTable<EncodedSnapshot>()
  const newestFirst = (transaction: MemoryTransaction | undefined, persistenceId: PersistenceId, criteria: Criteria) =>
    table.all(transaction)
      .filter((snapshot) => snapshot.persistenceId === persistenceId && meets(criteria)(snapshot))
      .toSorted((a, b) => b.sequenceNumber - a.sequenceNumber)
  const newest = (transaction: MemoryTransaction | undefined, persistenceIds: ReadonlyArray<PersistenceId>) => {
    const asked = new Set(persistenceIds)
    const found = new Map<PersistenceId, EncodedSnapshot>()
    for (const snapshot of table.all(transaction)) {
      const { persistenceId, sequenceNumber } = snapshot
      if (asked.has(persistenceId) && sequenceNumber >= (found.get(persistenceId)?.sequenceNumber ?? 0)) {
        found.set(persistenceId, snapshot)
      }
    }
    return Array.from(found.values())
  }
  return SnapshotStore.of({
    save: (snapshot) =>
      write((transaction, now) =>
        Effect.sync(() => table.set(transaction, rowKey(snapshot), { ...snapshot, timestamp: now as Timestamp }))
      ),
    load: (persistenceId, criteria) =>
      read((transaction) => Option.fromUndefinedOr(newestFirst(transaction, persistenceId, criteria)[0])),
    newest: (persistenceIds) =>
      read((transaction) =>
        new Map(newest(transaction, persistenceIds).map((found) => [found.persistenceId, found.sequenceNumber]))
      ),
    loadNewest: (persistenceIds) => read((transaction) => newest(transaction, persistenceIds)),
    list: (persistenceId) =>
      read((transaction) =>
        newestFirst(transaction, persistenceId, {}).map(({ sequenceNumber, timestamp }) => ({
          sequenceNumber,
          timestamp
        }))
      ),
    delete: (persistenceId, criteria) =>
      write((transaction) =>
        Effect.sync(() => {
          for (const snapshot of newestFirst(transaction, persistenceId, criteria)) {
            table.set(transaction, rowKey(snapshot), undefined)
          }
        })
      )
  })
}
