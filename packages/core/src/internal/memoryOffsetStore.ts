import * as Effect from "effect/Effect"
import type { Offset } from "../Offset.ts"
import { Fenced, journalOf, type OffsetKey, OffsetStore } from "../OffsetStore.ts"
import type { Slice } from "../Slice.ts"
import * as SliceRange from "../SliceRange.ts"
import { StorageError } from "../StorageError.ts"
import { Transaction } from "../Transaction.ts"
import { type MemoryDatabase, MemoryTable } from "./memoryDatabase.ts"

interface Row {
  readonly journal: string
  readonly offset: Offset
}

const rowKey = (key: OffsetKey, slice: Slice): string => JSON.stringify([key.projection, key.source, slice])

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
export const makeMemoryOffsetStore = ({ read, transaction, write }: MemoryDatabase): OffsetStore["Service"] => {
  const table = new MemoryTable<Row>()
  return OffsetStore.of({
    load: (key, range) =>
      read((transaction) => {
        const offsets = new Map<Slice, Offset>()
        const journals: Array<string> = []
        for (const slice of SliceRange.slices(range)) {
          const row = table.get(transaction, rowKey(key, slice))
          if (row === undefined) continue
          offsets.set(slice, row.offset)
          journals.push(row.journal)
        }
        return { journal: journalOf(journals), offsets }
      }),
    transact: (key, journal, moves, effect) =>
      transaction(Effect.andThen(
        write((transaction) => {
          for (const { from, slice, to } of moves) {
            const stored = table.get(transaction, rowKey(key, slice))?.offset
            if (stored?.position !== from?.position || stored?.timestamp !== from?.timestamp) {
              return Effect.fail(new Fenced({ ...key, slice }))
            }
            table.set(transaction, rowKey(key, slice), { journal, offset: to })
          }
          return Effect.void
        }),
        Effect.provideService(effect, Transaction, noTables)
      ))
  })
}
