import * as Effect from "effect/Effect"
import * as ChangeListeners from "../../ChangeListeners.ts"
import {
  ConsumerFilter,
  FilterVersion,
  type HistoryPolicy,
  KeptVersions,
  type Passed,
  pipeline
} from "../../ConsumerFilter.ts"
import * as Position from "../../Position.ts"
import type { ProjectionManagement } from "../../ProjectionManagement.ts"
import type { Slice } from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import * as Timestamp from "../../Timestamp.ts"
import { type MemoryDatabase, MemoryTable, type MemoryTransaction } from "./database.ts"
import type { OffsetTables } from "./offsetStore.ts"

/** Where the end of a part is not known. */
const openEnd = Position.make(Number.MAX_SAFE_INTEGER)

const newestOf = (versions: ReadonlyArray<FilterVersion>, kept: number): ReadonlyArray<FilterVersion> => {
  if (versions.length <= kept) return versions
  const own = versions.findLast(({ by }) => by === pipeline)
  const newest = versions.slice(-kept)
  return own === undefined || own.version >= newest[0]!.version ? newest : [own, ...newest]
}

/** @internal */
export const makeMemoryConsumerFilter = (
  { afterCommit, read, transaction, write }: MemoryDatabase,
  { passed, sliceKey, slices, sourceKey, sources }: OffsetTables,
  management: ProjectionManagement["Service"]
): ConsumerFilter["Service"] => {
  const versions = new MemoryTable<ReadonlyArray<FilterVersion>>()
  const atLeastOnce = new MemoryTable<true>()
  const listeners = ChangeListeners.make()

  /** Oldest first. */
  const versionsOf = (transaction: MemoryTransaction | undefined, source: string): ReadonlyArray<FilterVersion> =>
    versions.get(transaction, source) ?? []

  const setPast = (transaction: MemoryTransaction, source: string, history: HistoryPolicy): void => {
    for (const [id, { key }] of passed.entries(transaction)) {
      if (key.source === source) passed.set(transaction, id, undefined)
    }
    if (history === "nextEvent") return
    for (const [id, row] of slices.entries(transaction)) {
      const { completeUpTo, key, offset, slice } = row
      if (key.source !== source || completeUpTo === undefined) continue
      // after a rewind, until a worker has asked for its position
      const isTime = offset.position === 0 && offset.timestamp > 0
      if (!isTime && completeUpTo.position >= offset.position) continue
      if (history === "none") slices.set(transaction, id, { ...row, completeUpTo: isTime ? undefined : offset })
      else {
        const { revision } = sources.get(transaction, sourceKey(key))!
        const upTo = isTime ? openEnd : offset.position
        passed.set(transaction, id, { key, slice, revision, from: completeUpTo, upTo })
      }
    }
  }

  return ConsumerFilter.of({
    find: (source, { after = 0, by, version } = {}) =>
      read((transaction) =>
        versionsOf(transaction, source).findLast((found) =>
          found.version > after && (version === undefined || found.version === version) &&
          (by === undefined || found.by === by)
        )
      ),
    history: (source, before = Infinity, limit) =>
      read((transaction) =>
        versionsOf(transaction, source).filter(({ version }) => version < before).toReversed().slice(0, limit)
      ),
    store: (source, decide) =>
      transaction(Effect.gen(function*() {
        const before = yield* read((transaction) => versionsOf(transaction, source))
        const newest = before.at(-1)
        const decided = yield* decide(newest)
        const isAtLeastOnce = yield* read((transaction) => atLeastOnce.get(transaction, source) === true)
        if (decided === undefined) return { newest, isNew: false, isAtLeastOnce }
        const { restarts, ...fields } = decided
        const keptVersions = yield* KeptVersions
        const stored = yield* write((transaction, now) =>
          Effect.sync(() => {
            const at = Timestamp.make(now)
            const stored = new FilterVersion({ ...fields, source, version: (newest?.version ?? 0) + 1, at })
            versions.set(transaction, source, newestOf([...before, stored], keptVersions))
            return stored
          })
        )
        if (restarts) {
          for (const key of yield* management.list) {
            // one that is gone meanwhile goes by no filter
            if (key.source === source) {
              yield* Effect.catchTag(management.restart(key), "UnknownProjection", () => Effect.void)
            }
          }
        }
        if (restarts) yield* write((transaction) => Effect.sync(() => setPast(transaction, source, decided.history)))
        yield* afterCommit(Effect.sync(() => listeners.changed(source)))
        return { newest: stored, isNew: true, isAtLeastOnce }
      })),
    follow: ({ source }, isAtLeastOnce) =>
      write((transaction) =>
        Effect.sync(() => {
          if (isAtLeastOnce) atLeastOnce.set(transaction, source, true)
          return versionsOf(transaction, source).at(-1)
        })
      ),
    passedOver: (key, range, revision) =>
      read((transaction) => {
        const found = new Map<Slice, Passed>()
        for (const slice of SliceRange.slices(range)) {
          const row = passed.get(transaction, sliceKey(key, slice))
          if (row?.revision === revision) found.set(slice, { from: row.from, upTo: row.upTo })
        }
        return found
      }),
    lookedThrough: (key, revision, progress) =>
      write((transaction) =>
        Effect.sync(() => {
          for (const [slice, from] of progress) {
            const id = sliceKey(key, slice)
            const row = passed.get(transaction, id)
            if (row?.revision === revision) passed.set(transaction, id, from && { ...row, from })
          }
        })
      ),
    afterCommit,
    changes: listeners.subscribe
  })
}
