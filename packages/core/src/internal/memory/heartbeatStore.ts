import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import {
  HeartbeatStore,
  keptFor,
  type NewReport,
  type Owner,
  type ReportedFailure,
  type StoredReport,
  type WorkerId
} from "../../HeartbeatStore.ts"
import * as Timestamp from "../../Timestamp.ts"
import { type MemoryDatabase, MemoryTable } from "./database.ts"
import type { OffsetTables } from "./offsetStore.ts"

interface ProcessRow {
  readonly owner: Owner
  readonly interval: number
  readonly at: Timestamp.Timestamp
}

type WorkerRow = Omit<StoredReport, "interval" | "at" | "now" | "storedRevision">

const compare = (a: StoredReport, b: StoredReport): number =>
  a.key.source < b.key.source
    ? -1
    : a.key.source > b.key.source
    ? 1
    : a.range.min - b.range.min || (a.owner.incarnation < b.owner.incarnation ? -1 : 1)

const workerKey = ({ incarnation }: Owner, { key, min }: WorkerId): string =>
  JSON.stringify([incarnation, key.projection, key.source, min])

const failureAt = ({ age, ...failure }: NonNullable<NewReport["failure"]>, now: number): ReportedFailure => ({
  ...failure,
  at: Timestamp.make(now - Math.round(age * 1000))
})

/** @internal */
export const makeMemoryHeartbeatStore = (
  { read, write }: MemoryDatabase,
  { sourceKey, sources }: OffsetTables
): HeartbeatStore["Service"] => {
  const processes = new MemoryTable<ProcessRow>()
  const workers = new MemoryTable<WorkerRow>()

  const remove = (which: (process: ProcessRow, now: number) => boolean) =>
    write((transaction, now) =>
      Effect.sync(() => {
        for (const [id, process] of processes.entries(transaction)) {
          if (!which(process, now)) continue
          processes.set(transaction, id, undefined)
          for (const [key, { owner }] of workers.entries(transaction)) {
            if (owner.incarnation === id) workers.set(transaction, key, undefined)
          }
        }
      })
    )

  return HeartbeatStore.of({
    beat: ({ changed, gone, interval, owner }) =>
      write((transaction, now) =>
        Effect.sync(() => {
          for (const id of gone) workers.set(transaction, workerKey(owner, id), undefined)
          for (const report of changed) {
            const { key, range } = report
            const { failure, stuck } = report
            const row = {
              ...report,
              owner,
              failure: failure && failureAt(failure, now),
              stuck: stuck && { slice: stuck.slice, since: Timestamp.make(now - Math.round(stuck.age * 1000)) }
            }
            workers.set(transaction, workerKey(owner, { key, min: range.min }), row)
          }
          processes.set(transaction, owner.incarnation, { owner, interval, at: Timestamp.make(now) })
        })
      ),
    leave: (owner) => remove((process) => process.owner.incarnation === owner.incarnation),
    forget: remove(({ at }, now) => at < now - keptFor * 1000),
    reports: (projections) =>
      Effect.flatMap(Clock.currentTimeMillis, (millis) =>
        read((transaction) => {
          const now = Timestamp.make(Math.floor(millis * 1000))
          return workers.all(transaction).filter(({ key }) => projections.includes(key.projection))
            .map((worker): StoredReport => ({
              ...worker,
              ...processes.get(transaction, worker.owner.incarnation)!,
              now,
              storedRevision: sources.get(transaction, sourceKey(worker.key))?.revision
            }))
            .toArray()
            .toSorted(compare)
        }))
  })
}
