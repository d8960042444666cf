import * as Effect from "effect/Effect"
import * as ChangeListeners from "../../ChangeListeners.ts"
import { ConsumerFilter, FilterVersion } from "../../ConsumerFilter.ts"
import type { ProjectionManagement } from "../../ProjectionManagement.ts"
import * as Timestamp from "../../Timestamp.ts"
import { type MemoryDatabase, MemoryTable, type MemoryTransaction } from "./database.ts"

/** @internal */
export const makeMemoryConsumerFilter = (
  { read, transaction, write }: MemoryDatabase,
  management: ProjectionManagement["Service"]
): ConsumerFilter["Service"] => {
  const versions = new MemoryTable<ReadonlyArray<FilterVersion>>()
  const atLeastOnce = new MemoryTable<true>()
  const listeners = ChangeListeners.make()

  /** Oldest first. */
  const versionsOf = (transaction: MemoryTransaction | undefined, source: string): ReadonlyArray<FilterVersion> =>
    versions.get(transaction, source) ?? []

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
        const stored = yield* write((transaction, now) =>
          Effect.sync(() => {
            const at = Timestamp.make(now)
            const stored = new FilterVersion({ ...fields, source, version: before.length + 1, at })
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
        return { newest: stored, isNew: true, isAtLeastOnce }
      })).pipe(Effect.tap(() => Effect.sync(() => listeners.changed(source)))),
    follow: ({ source }, isAtLeastOnce) =>
      write((transaction) =>
        Effect.sync(() => {
          if (isAtLeastOnce) atLeastOnce.set(transaction, source, true)
          return versionsOf(transaction, source).at(-1)
        })
      ),
    changes: listeners.subscribe
  })
}
