import * as Effect from "effect/Effect"
import type { Offset } from "../Offset.ts"
import { Fenced, journalOf, type OffsetKey, OffsetStore } from "../OffsetStore.ts"
import type { PersistenceId } from "../PersistenceId.ts"
import type { Position } from "../Position.ts"
import type { SequenceNumber } from "../SequenceNumber.ts"
import type { Slice } from "../Slice.ts"
import * as SliceRange from "../SliceRange.ts"
import { StorageError } from "../StorageError.ts"
import { Transaction } from "../Transaction.ts"
import { type MemoryDatabase, MemoryTable } from "./memoryDatabase.ts"

interface SliceRow {
  readonly key: OffsetKey
  readonly slice: Slice
  /** Empty where it is not known. */
  readonly journal: string
  readonly offset: Offset
  readonly completeUpTo: Position | undefined
}

interface EntityRow {
  readonly key: OffsetKey
  readonly sequenceNumber: SequenceNumber
}

/** @internal What is stored of offsets. */
export interface OffsetTables {
  readonly slices: MemoryTable<SliceRow>
  readonly entities: MemoryTable<EntityRow>
  readonly sliceKey: (key: OffsetKey, slice: Slice) => string
  readonly entityKey: (key: OffsetKey, persistenceId: PersistenceId) => string
}

/** @internal */
export const makeOffsetTables = (): OffsetTables => ({
  slices: new MemoryTable(),
  entities: new MemoryTable(),
  sliceKey: (key, slice) => JSON.stringify([key.projection, key.source, slice]),
  entityKey: (key, persistenceId) => JSON.stringify([key.projection, key.source, persistenceId])
})

const noTables = Transaction.of({
  dialect: "none",
  execute: () =>
    Effect.fail(
      new StorageError({
        operation: "execute",
        reason: "Unsupported",
        cause: new Error("MemoryStorage has no tables: use SqliteStorage with the filename ':memory:'")
      })
    )
})

/** @internal */
export const makeMemoryOffsetStore = (
  { read, transaction, write }: MemoryDatabase,
  { entities, entityKey, sliceKey, slices }: OffsetTables
): OffsetStore["Service"] =>
  OffsetStore.of({
    load: (key, range) =>
      read((transaction) => {
        const offsets = new Map<Slice, Offset>()
        const completeUpTo = new Map<Slice, Position>()
        const journals: Array<string> = []
        for (const slice of SliceRange.slices(range)) {
          const row = slices.get(transaction, sliceKey(key, slice))
          if (row === undefined) continue
          offsets.set(slice, row.offset)
          journals.push(row.journal)
          if (row.completeUpTo !== undefined) completeUpTo.set(slice, row.completeUpTo)
        }
        return { journal: journalOf(journals), offsets, completeUpTo }
      }),
    sequenceNumbers: (key, persistenceIds) =>
      read((transaction) => {
        const found = new Map<PersistenceId, SequenceNumber>()
        for (const persistenceId of persistenceIds) {
          const row = entities.get(transaction, entityKey(key, persistenceId))
          if (row !== undefined) found.set(persistenceId, row.sequenceNumber)
        }
        return found
      }),
    transact: (key, journal, moves, effect) =>
      transaction(Effect.andThen(
        write((transaction) => {
          for (const { entities: read, from, slice, to } of moves) {
            const stored = slices.get(transaction, sliceKey(key, slice))
            if (stored?.offset.position !== from?.position || stored?.offset.timestamp !== from?.timestamp) {
              return Effect.fail(new Fenced({ ...key, slice }))
            }
            const completeUpTo = stored?.completeUpTo ??
              (read === undefined ? undefined : from?.position ?? 0 as Position)
            slices.set(transaction, sliceKey(key, slice), { key, slice, journal, offset: to, completeUpTo })
            for (const [persistenceId, sequenceNumber] of read ?? []) {
              const before = entities.get(transaction, entityKey(key, persistenceId))?.sequenceNumber ?? 0
              if (sequenceNumber <= before) continue
              entities.set(transaction, entityKey(key, persistenceId), { key, sequenceNumber })
            }
          }
          return Effect.void
        }),
        Effect.provideService(effect, Transaction, noTables)
      ))
  })
