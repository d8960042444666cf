import * as Effect from "effect/Effect"
import type { Passed } from "../../ConsumerFilter.ts"
import * as Offset from "../../Offset.ts"
import { beginsAnew, Fenced, fencedAt, journalOf, type OffsetKey, OffsetStore } from "../../OffsetStore.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { Skip } from "../../ProjectionManagement.ts"
import { forgottenSince, type Known, type Rewind, type StoredNumber } from "../../Rewind.ts"
import { ofPersistenceId as sliceOf, type Slice } from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import { StorageError } from "../../StorageError.ts"
import { Transaction } from "../../Transaction.ts"
import { type MemoryDatabase, MemoryTable, type MemoryTransaction } from "./database.ts"

interface SliceRow extends Known {
  readonly key: OffsetKey
  readonly slice: Slice
}

interface EntityRow extends StoredNumber {
  readonly key: OffsetKey
  readonly persistenceId: PersistenceId
}

/** A projection in a source that is registered. */
interface SourceRow {
  readonly key: OffsetKey
  /** The revision of its offsets. */
  readonly revision: number
}

/** A part of a slice that is to be looked through by a projection whose offsets have the revision. */
interface PassedRow extends Passed {
  readonly key: OffsetKey
  readonly slice: Slice
  readonly revision: number
}

/** An event that a projection is to skip. */
interface SkipRow extends Skip {
  readonly key: OffsetKey
}

/** @internal What is stored of offsets. */
export interface OffsetTables {
  readonly sources: MemoryTable<SourceRow>
  readonly slices: MemoryTable<SliceRow>
  readonly entities: MemoryTable<EntityRow>
  readonly passed: MemoryTable<PassedRow>
  readonly skips: MemoryTable<SkipRow>
  readonly sourceKey: (key: OffsetKey) => string
  readonly sliceKey: (key: OffsetKey, slice: Slice) => string
  readonly entityKey: (key: OffsetKey, persistenceId: PersistenceId) => string
}

/** Made for every slice whenever a worker begins. No two keys have the same. */
const textOf = ({ projection, source }: OffsetKey): string => `${projection.length} ${projection}${source}`

/** @internal */
export const makeOffsetTables = (): OffsetTables => ({
  sources: new MemoryTable(),
  slices: new MemoryTable(),
  entities: new MemoryTable(),
  passed: new MemoryTable(),
  skips: new MemoryTable(),
  sourceKey: textOf,
  sliceKey: (key, slice) => `${slice} ${textOf(key)}`,
  entityKey: (key, persistenceId) => `${persistenceId.length} ${persistenceId}${textOf(key)}`
})

/** @internal */
export const noTables = Transaction.of({
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

const isBeginning = ({ position, timestamp }: Offset.Offset): boolean => position === 0 && timestamp === 0

/** @internal */
export const makeMemoryOffsetStore = (
  { read, transaction, write }: MemoryDatabase,
  { entities, entityKey, passed, skips, sliceKey, slices, sourceKey, sources }: OffsetTables
): OffsetStore["Service"] => {
  const forgetIn = (
    table: typeof entities | typeof skips,
    transaction: MemoryTransaction,
    key: OffsetKey,
    slice: Slice
  ): void => {
    for (const [id, row] of table.entries(transaction)) {
      const isOf = row.key.projection === key.projection && row.key.source === key.source
      if (isOf && sliceOf(row.persistenceId) === slice) table.set(transaction, id, undefined)
    }
  }

  return OffsetStore.of({
    load: (key, range) =>
      read((transaction) => {
        const offsets = new Map<Slice, Offset.Offset>()
        const completeUpTo = new Map<Slice, Offset.Offset>()
        const rewinds = new Map<Slice, ReadonlyArray<Rewind>>()
        const journals: Array<string> = []
        for (const slice of SliceRange.slices(range)) {
          const row = slices.get(transaction, sliceKey(key, slice))
          if (row === undefined) continue
          if (row.completeUpTo !== undefined) completeUpTo.set(slice, row.completeUpTo)
          if (row.rewinds.length > 0) rewinds.set(slice, row.rewinds)
          if (!isBeginning(row.offset)) offsets.set(slice, row.offset)
          if (offsets.has(slice) || completeUpTo.has(slice)) journals.push(row.journal)
        }
        const revision = sources.get(transaction, sourceKey(key))?.revision
        return { revision, journal: journalOf(journals), offsets, completeUpTo, rewinds }
      }),
    sequenceNumbers: (key, persistenceIds) =>
      read((transaction) => {
        const found = new Map<PersistenceId, StoredNumber>()
        for (const persistenceId of persistenceIds) {
          const row = entities.get(transaction, entityKey(key, persistenceId))
          if (row !== undefined) found.set(persistenceId, row)
        }
        return found
      }),
    transact: (key, { journal, revision }, moves, effect) =>
      transaction(Effect.andThen(
        write((transaction) => {
          if (sources.get(transaction, sourceKey(key))?.revision !== revision) {
            return Effect.fail(new Fenced({ ...key, slice: undefined, by: "command" }))
          }
          for (const move of moves) {
            const { entities: read, from = Offset.beginning, slice, to } = move
            const stored = slices.get(transaction, sliceKey(key, slice))
            const { position, timestamp } = stored?.offset ?? Offset.beginning
            if (position !== from.position || timestamp !== from.timestamp) {
              return Effect.fail(fencedAt(key, slice, from, stored?.offset))
            }
            const completeUpTo = beginsAnew(move)
              ? undefined
              : stored?.completeUpTo ?? (read === undefined ? undefined : from)
            if (beginsAnew(move)) {
              passed.set(transaction, sliceKey(key, slice), undefined)
              const isKnown = stored?.completeUpTo !== undefined || (stored?.rewinds.length ?? 0) > 0
              if (isKnown) forgetIn(entities, transaction, key, slice)
              forgetIn(skips, transaction, key, slice)
            }
            const { givenUp = [], rewinds = [] } = beginsAnew(move) ? {} : stored ?? {}
            slices.set(transaction, sliceKey(key, slice), {
              key,
              slice,
              journal,
              offset: to,
              completeUpTo,
              rewinds,
              givenUp
            })
            for (const [persistenceId, { first, last: sequenceNumber }] of read ?? []) {
              const before = entities.get(transaction, entityKey(key, persistenceId))
              const isTwice = before !== undefined && before.sequenceNumber >= first &&
                forgottenSince(rewinds, before) === undefined
              if (isTwice) {
                return Effect.fail(new Fenced({ ...key, slice, by: "worker" }))
              }
              entities.set(transaction, entityKey(key, persistenceId), { key, persistenceId, sequenceNumber, revision })
            }
          }
          return Effect.void
        }),
        Effect.provideService(effect, Transaction, noTables)
      ))
  })
}
