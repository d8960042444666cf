import type { NewReport, ReportedFailure, StoredReport } from "../../HeartbeatStore.ts"
import type { OffsetKey } from "../../OffsetStore.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { Timestamp } from "../../Timestamp.ts"
import type { WorkerFailure } from "../../WorkerStatus.ts"
import { isLate } from "./isLate.ts"

/** No source has this key: what a process says of the version that it builds stands beside what it says of its workers. */
const source = ""

/** @internal What a process that builds a version knows of that, by the monotonic clock, in milliseconds. */
export interface Building {
  /** Why it could not switch to it when it has tried last, and how often and since when it has failed in a row. */
  readonly failing: {
    readonly failure: WorkerFailure
    readonly at: number
    readonly since: number
    readonly tries: number
  } | undefined
  /** Whether events wait in it, as earlier ones of their entities are missing. */
  readonly waits: boolean
}

/** @internal How it is stored: as the report of one more worker. */
export const buildingKey = (projection: string): OffsetKey => ({ projection, source })

/** @internal */
export const buildingRange = SliceRange.full

/** @internal */
export const buildingReport = (
  waits: boolean,
  tries: number
): Pick<
  NewReport,
  "state" | "revision" | "lag" | "timeLag" | "rate" | "eta" | "restarts" | "filterVersion" | "pastLag"
> => ({
  state: tries > 0 ? "Restarting" : "Running",
  revision: undefined,
  lag: undefined,
  timeLag: waits ? 1 : 0,
  rate: 0,
  eta: undefined,
  restarts: tries,
  filterVersion: undefined,
  pastLag: undefined
})

/** @internal Whether it is a process that builds a version of which a report is, and not a worker. */
export const isOfBuilding = ({ key }: Pick<StoredReport, "key">): boolean => key.source === source

/** @internal What processes say of a version that they build. */
export interface ReportedBuilding {
  readonly failing: {
    readonly failure: ReportedFailure
    readonly owner: StoredReport["owner"]
    readonly since: Timestamp
    readonly tries: number
    readonly at: Timestamp
  } | undefined
  readonly waits: boolean
}

/** @internal Of a process that gives no sign of life nothing is known, and it tries nothing. */
export const judgeBuilding = (reports: ReadonlyArray<StoredReport>): ReportedBuilding => {
  const live = reports.filter((report) => isOfBuilding(report) && !isLate(report))
  const failing = live.flatMap(({ at, failure, owner, restarts, stuck }) =>
    failure === undefined || restarts === 0
      ? []
      : [{ at, failure, owner, tries: restarts, since: stuck?.since ?? failure.at }]
  )
  return {
    failing: together(failing, ({ failure }) => failure.at),
    waits: live.some(({ timeLag }) => (timeLag ?? 0) > 0)
  }
}

/** @internal What is known of a version that a process builds for several ranges. */
export const mergedBuilding = (all: ReadonlyArray<Building>): Building => ({
  failing: together(all.flatMap(({ failing }) => failing ?? []), ({ at }) => at),
  waits: all.some(({ waits }) => waits)
})

/** What has failed last, since when any has, and how often all have. */
const together = <F extends { readonly since: number; readonly tries: number }>(
  failing: ReadonlyArray<F>,
  at: (one: F) => number
): F | undefined => {
  const [last] = failing.toSorted((a, b) => at(b) - at(a))
  return last && {
    ...last,
    since: failing.reduce((since, other) => other.since < since ? other.since : since, last.since),
    tries: failing.reduce((sum, { tries }) => sum + tries, 0)
  }
}
