import type * as Heartbeats from "@sluice/core/HeartbeatStore"
import type { OffsetKey } from "@sluice/core/OffsetStore"
import * as SliceRange from "@sluice/core/SliceRange"

/** @internal The report of a worker that runs, but for what is changed. */
export const reportOf = (key: OffsetKey, change?: Partial<Heartbeats.NewReport>): Heartbeats.NewReport => ({
  key,
  range: SliceRange.full,
  state: "Running",
  revision: 0,
  lag: 12,
  timeLag: 3_500,
  rate: 1.5,
  eta: 8_000,
  restarts: 1,
  filterVersion: undefined,
  pastLag: undefined,
  failure: undefined,
  stuck: undefined,
  ...change
})
