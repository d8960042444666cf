import * as Duration from "effect/Duration"
import type { StoredReport } from "../../HeartbeatStore.ts"
import type { ReportedWorker } from "../../ReportedWorker.ts"
import * as SliceRange from "../../SliceRange.ts"
import { isOfBuilding } from "./Building.ts"
import { isLate } from "./isLate.ts"

/**
 * @internal
 * What is known of workers by their reports. Of a process that gives no sign of life nothing is. It is left out where others, who have given one
 * since, have all of a worker's slices.
 */
export const judgeReports = (all: ReadonlyArray<StoredReport>): ReadonlyArray<ReportedWorker> => {
  const reports = all.filter((report) => !isOfBuilding(report))
  const isSuperseded = ({ at, key, range }: StoredReport) => {
    const others = reports.filter((other) => other.key.source === key.source && (other.at > at || !isLate(other)))
    return SliceRange.slices(range).every((slice) => others.some((other) => SliceRange.contains(other.range, slice)))
  }
  return reports.flatMap((report) =>
    isLate(report) ? isSuperseded(report) ? [] : [unknown(report)] : [toWorker(report)]
  )
}

const toWorker = (report: StoredReport): ReportedWorker => {
  const {
    at,
    eta,
    failure,
    filterVersion,
    key,
    lag,
    owner,
    pastLag,
    range,
    rate,
    restarts,
    revision,
    state,
    storedRevision,
    stuck,
    timeLag
  } = report
  // it counts from other offsets than those that are stored now
  const isRewound = revision === undefined || revision !== storedRevision
  const known = (millis: number | undefined) => isRewound || millis === undefined ? undefined : Duration.millis(millis)
  return {
    projection: key.projection,
    source: key.source,
    range,
    owner,
    state,
    lag: isRewound ? undefined : lag,
    timeLag: known(timeLag),
    rate,
    eta: known(eta),
    failure,
    stuck,
    restarts,
    filterVersion,
    pastLag: isRewound ? undefined : pastLag,
    at
  }
}

const unknown = (report: StoredReport): ReportedWorker => ({
  ...toWorker(report),
  state: "Unknown",
  lag: undefined,
  timeLag: undefined,
  rate: undefined,
  eta: undefined,
  stuck: undefined,
  pastLag: undefined
})
