import * as Effect from "effect/Effect"
import * as ChangeListeners from "../../ChangeListeners.ts"
import {
  ConsumerFilter,
  FilterVersion,
  type HistoryPolicy,
  joinPassed,
  KeptVersions,
  type NewVersion,
  type Passed,
  pipeline
} from "../../ConsumerFilter.ts"
import { type GivenUp, inclusions } from "../../GivenUp.ts"
import * as Position from "../../Position.ts"
import type { ProjectionManagement } from "../../ProjectionManagement.ts"
import { sinceOf } from "../../Rewind.ts"
import type { Slice } from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import * as Timestamp from "../../Timestamp.ts"
import { type MemoryDatabase, MemoryTable, type MemoryTransaction } from "./database.ts"
import type { OffsetTables } from "./offsetStore.ts"

/** Where the end of a part is not known. */
const openEnd = Position.make(Number.MAX_SAFE_INTEGER)

/** The newest versions, the newest one by a pipeline, and those that have given up something, with the ones before them. */
const keptOf = (
  versions: ReadonlyArray<FilterVersion>,
  kept: number,
  givenUpBy: ReadonlySet<number>
): ReadonlyArray<FilterVersion> => {
  if (versions.length <= kept) return versions
  const own = versions.findLast(({ by }) => by === pipeline)
  return versions.filter((one, i) =>
    i >= versions.length - kept || one === own || givenUpBy.has(one.version) || givenUpBy.has(one.version + 1)
  )
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

  const setPast = (
    transaction: MemoryTransaction,
    source: string,
    history: HistoryPolicy,
    version: number,
    givesUp: NewVersion["givesUp"]
  ): void => {
    for (const [id, { key }] of passed.entries(transaction)) {
      if (key.source === source) passed.set(transaction, id, undefined)
    }
    if (history !== "now" && givesUp === undefined) return
    for (const [id, row] of slices.entries(transaction)) {
      const { completeUpTo, givenUp, key, offset, slice } = row
      if (key.source !== source || completeUpTo === undefined) continue
      // after a rewind, until a worker has asked for its position
      const isTime = offset.position === 0 && offset.timestamp > 0
      if (!isTime && completeUpTo.position >= offset.position) continue
      if (givesUp !== undefined) {
        const kept = givenUp.filter((one) => !givesUp.insteadOf.includes(one.version))
        slices.set(transaction, id, { ...row, givenUp: [...kept, { version, until: sinceOf(offset) }] })
      } else {
        const { revision } = sources.get(transaction, sourceKey(key))!
        const upTo = isTime ? openEnd : offset.position
        passed.set(transaction, id, { key, slice, revision, from: completeUpTo, upTo })
      }
    }
  }

  const givenUpVersions = (transaction: MemoryTransaction | undefined, source: string): ReadonlySet<number> =>
    new Set(
      slices.all(transaction).flatMap(({ givenUp, key }) =>
        key.source === source ? givenUp.map(({ version }) => version) : []
      )
    )

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
        const decided = yield* decide(
          newest && { version: newest.version, by: newest.by, filter: Effect.succeed(newest.filter) }
        )
        const isAtLeastOnce = yield* read((transaction) => atLeastOnce.get(transaction, source) === true)
        if (decided === undefined) return { newest, isNew: false, isAtLeastOnce }
        const { givesUp, restarts, ...fields } = decided
        const keptVersions = yield* KeptVersions
        const stored = yield* write((transaction, now) =>
          Effect.sync(() => {
            const at = Timestamp.make(now)
            const stored = new FilterVersion({ ...fields, source, version: (newest?.version ?? 0) + 1, at })
            versions.set(transaction, source, [...before, stored])
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
        yield* write((transaction) =>
          Effect.sync(() => {
            if (restarts) setPast(transaction, source, decided.history, stored.version, givesUp)
            const all = versionsOf(transaction, source)
            if (all.length > keptVersions) {
              versions.set(transaction, source, keptOf(all, keptVersions, givenUpVersions(transaction, source)))
            }
          })
        )
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
    lookAgain: (key, revision, parts, issue) =>
      transaction(Effect.gen(function*() {
        const before = yield* read((transaction) => sources.get(transaction, sourceKey(key))?.revision)
        if (before !== undefined && before !== revision) return false
        yield* management.restart(key, issue)
        yield* write((transaction) =>
          Effect.sync(() => {
            const since = sources.get(transaction, sourceKey(key))!.revision
            for (const slice of SliceRange.slices(SliceRange.full)) {
              const id = sliceKey(key, slice)
              const found = passed.get(transaction, id)
              const pending = found?.revision === revision ? found : undefined
              const part = parts.get(slice) ?? pending
              if (part === undefined) continue
              passed.set(transaction, id, { key, slice, revision: since, ...joinPassed(part, pending) })
            }
          })
        )
        return true
      })),
    givenUp: (key, range) =>
      read((transaction) => {
        const found = new Map<Slice, ReadonlyArray<GivenUp>>()
        for (const slice of SliceRange.slices(range)) {
          const { givenUp = [] } = slices.get(transaction, sliceKey(key, slice)) ?? {}
          if (givenUp.length > 0) found.set(slice, givenUp)
        }
        return found
      }),
    givenUpBy: (source) =>
      read((transaction) => inclusions(versionsOf(transaction, source), givenUpVersions(transaction, source))),
    afterCommit,
    changes: listeners.subscribe
  })
}
