import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import {
  type DurableStateStore,
  type EncodedState,
  isForked,
  make,
  type Revision,
  RevisionConflict,
  toEnvelope
} from "../../DurableStateStore.ts"
import { type EncodedEnvelope, sizeOf } from "../../Envelope.ts"
import { type Journal, maxPageBytes } from "../../Journal.ts"
import { JournalForked } from "../../JournalError.ts"
import { LogCursor } from "../../LogCursor.ts"
import type { Offset } from "../../Offset.ts"
import * as PersistenceId from "../../PersistenceId.ts"
import type { Position } from "../../Position.ts"
import * as Slice from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { Timestamp } from "../../Timestamp.ts"
import { type MemoryDatabase, MemoryTable } from "./database.ts"

const headKey = (entityType: string, slice: Slice.Slice): string => `${slice} ${entityType}`

/** @internal */
export const makeMemoryDurableStateStore = (
  { read, states, transaction, whileOpen, write }: MemoryDatabase,
  journal: Journal["Service"]
): DurableStateStore["Service"] => {
  const table = new MemoryTable<EncodedState>()
  const heads = new MemoryTable<Offset>()
  const committed = (entityType: string, range: SliceRange.SliceRange): Array<EncodedState> =>
    table.all(undefined).filter((state) =>
      PersistenceId.entityType(state.persistenceId) === entityType && SliceRange.contains(range, state.slice)
    ).toArray().toSorted((a, b) => a.timestamp - b.timestamp || a.slice - b.slice)

  return make(journal, {
    get: (persistenceId) => read((transaction) => Option.fromUndefinedOr(table.get(transaction, persistenceId))),
    change: ({ entityType, event, expected, metadata, payload, persistenceId, tags }) =>
      transaction(
        write((transaction, now) => {
          const current = table.get(transaction, persistenceId)
          const actual = current?.revision ?? 0 as Revision
          const isThere = current?.payload !== undefined
          if (actual !== expected && (isThere || expected !== 0)) {
            return Effect.fail(new RevisionConflict({ persistenceId, expected, actual }))
          }
          const slice = Slice.ofPersistenceId(persistenceId)
          const head = heads.get(transaction, headKey(entityType, slice))
          const offset = {
            position: (head?.position ?? 0) + 1 as Position,
            timestamp: Math.max((head?.timestamp ?? 0) + 1, now) as Timestamp
          }
          heads.set(transaction, headKey(entityType, slice), offset)
          const revision = actual + 1 as Revision
          table.set(transaction, persistenceId, { persistenceId, revision, slice, ...offset, tags, metadata, payload })
          transaction.states.add(entityType)
          return Effect.succeed({ revision, ...offset })
        }).pipe(
          Effect.tap(() =>
            event === undefined
              ? Effect.void
              : journal.append({ entityType, persistenceId, expected: "any", events: [event], recheck: false })
          )
        )
      ),
    entityTypes: (limit) =>
      read(() =>
        Array.from(new Set(table.all(undefined).map(({ persistenceId }) => PersistenceId.entityType(persistenceId))))
          .slice(0, limit)
      ),
    heads: (entityType, range) =>
      read((transaction) => {
        const found = new Map<Slice.Slice, Offset>()
        for (const slice of SliceRange.slices(range)) {
          const head = heads.get(transaction, headKey(entityType, slice))
          if (head !== undefined) found.set(slice, head)
        }
        return found
      }),
    before: (entityType, range, time) =>
      read((transaction) => {
        const found = new Map<Slice.Slice, Offset>()
        for (const { persistenceId, position, slice, timestamp } of table.all(transaction)) {
          const isOlder = PersistenceId.entityType(persistenceId) === entityType && timestamp < time
          if (!isOlder || !SliceRange.contains(range, slice)) continue
          if (position > (found.get(slice)?.position ?? 0)) found.set(slice, { position, timestamp })
        }
        return found
      }),
    reader: (entityType, range, start) =>
      whileOpen(Effect.suspend(() => {
        const cursor = new LogCursor(range, start)
        // a position without a state is no gap: its entity has changed again
        const isUnread = ({ position, slice, timestamp }: EncodedState): boolean =>
          cursor.verdict(slice, position, timestamp) !== "alreadyDelivered"
        const logs = Map.groupBy(committed(entityType, range), ({ slice }) => slice)
        for (const [slice, offset] of start) {
          if (!SliceRange.contains(range, slice)) continue
          const log = logs.get(slice) ?? []
          const before = log.findLast(({ position }) => position <= offset.position)
          const after = log.find(({ position }) => position > offset.position)
          if (isForked(offset, before, after)) return Effect.fail(new JournalForked({ entityType, slice, offset }))
        }

        return Effect.succeed({
          next: (limit: number) =>
            read((): ReadonlyArray<EncodedEnvelope> => {
              const page: Array<EncodedEnvelope> = []
              let bytes = 0
              for (const state of committed(entityType, range).filter(isUnread)) {
                if (page.length === limit || bytes >= maxPageBytes) break
                page.push(toEnvelope(state))
                bytes += sizeOf(state)
              }
              for (const { position, slice, timestamp } of page) cursor.moveTo(slice, position!, timestamp)
              return page
            })
        })
      })),
    changes: states.subscribe
  })
}
