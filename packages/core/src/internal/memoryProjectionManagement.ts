import * as Effect from "effect/Effect"
import * as Offset from "../Offset.ts"
import type { OffsetKey } from "../OffsetStore.ts"
import { type Command, type DeadLetter, type DeadLetterId, ProjectionManagement } from "../ProjectionManagement.ts"
import * as SliceRange from "../SliceRange.ts"
import type { Timestamp } from "../Timestamp.ts"
import { type MemoryDatabase, MemoryTable, type MemoryTransaction } from "./memoryDatabase.ts"
import type { OffsetTables } from "./memoryOffsetStore.ts"

const topicOf = (projection: string): string => `projection|${projection}`

const compareIds = (a: DeadLetterId, b: DeadLetterId): number =>
  a.persistenceId < b.persistenceId ? -1 : a.persistenceId > b.persistenceId ? 1 : a.sequenceNumber - b.sequenceNumber

const letterKey = (key: OffsetKey, { persistenceId, sequenceNumber }: DeadLetterId): string =>
  JSON.stringify([key.projection, key.source, persistenceId, sequenceNumber])

const isOf = (key: OffsetKey) => (row: { readonly key: OffsetKey }): boolean =>
  row.key.projection === key.projection && row.key.source === key.source

/** @internal */
export const makeMemoryProjectionManagement = (
  { read, subscribe, write }: MemoryDatabase,
  offsets: OffsetTables
): ProjectionManagement["Service"] => {
  const commands = new MemoryTable<Command>()
  const letters = new MemoryTable<DeadLetter>()

  const commandOf = (transaction: MemoryTransaction | undefined, projection: string): Command =>
    commands.get(transaction, projection) ?? { paused: false, revision: 0 }

  const tell = (transaction: MemoryTransaction, projection: string, paused: boolean | undefined) => {
    const before = commandOf(transaction, projection)
    commands.set(transaction, projection, { paused: paused ?? before.paused, revision: before.revision + 1 })
    transaction.topics.add(topicOf(projection))
  }

  const forget = (transaction: MemoryTransaction, key: OffsetKey) => {
    for (const [id, row] of offsets.slices.entries(transaction)) {
      if (isOf(key)(row)) offsets.slices.set(transaction, id, undefined)
    }
    for (const [id, row] of offsets.entities.entries(transaction)) {
      if (isOf(key)(row)) offsets.entities.set(transaction, id, undefined)
    }
  }

  return ProjectionManagement.of({
    command: (projection) => read((transaction) => commandOf(transaction, projection)),
    tell: (projection, paused) => write((transaction) => Effect.sync(() => tell(transaction, projection, paused))),
    changes: (projection) => subscribe(topicOf(projection)),
    rewind: (key, start) =>
      write((transaction) =>
        Effect.sync(() => {
          forget(transaction, key)
          for (const slice of SliceRange.slices(SliceRange.full)) {
            const offset = start.offsets.get(slice) ?? Offset.make(0, 0)
            const row = { key, slice, offset, journal: start.journal ?? "", completeUpTo: undefined }
            offsets.slices.set(transaction, offsets.sliceKey(key, slice), row)
          }
          tell(transaction, key.projection, undefined)
        })
      ),
    clear: (key) =>
      write((transaction) =>
        Effect.sync(() => {
          forget(transaction, key)
          for (const [id, row] of letters.entries(transaction)) {
            if (isOf(key)(row)) letters.set(transaction, id, undefined)
          }
          tell(transaction, key.projection, undefined)
        })
      ),
    list: read((transaction) => {
      const keys = new Map(offsets.slices.all(transaction).map(({ key }) => [JSON.stringify(key), key]))
      return [...keys.values()].toSorted((a, b) =>
        a.projection < b.projection || a.projection === b.projection && a.source < b.source ? -1 : 1
      )
    }),
    putAside: ({ envelope, error, key }) =>
      write((transaction, now) =>
        Effect.sync(() => {
          const letter = { key, envelope, error, at: now as Timestamp }
          letters.set(transaction, letterKey(key, envelope), letter)
        })
      ),
    deadLetters: (key, after, limit) =>
      read((transaction) =>
        letters.all(transaction)
          .filter((letter) => isOf(key)(letter) && (after === undefined || compareIds(letter.envelope, after) > 0))
          .toSorted((a, b) => compareIds(a.envelope, b.envelope))
          .slice(0, limit)
      ),
    discard: (key, letter) =>
      write((transaction) => Effect.sync(() => letters.set(transaction, letterKey(key, letter), undefined)))
  })
}
