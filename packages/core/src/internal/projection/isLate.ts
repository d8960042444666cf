import { missedIntervals, type StoredReport } from "../../HeartbeatStore.ts"

/** @internal Whether a process gives no sign of life. A time in the future is of before the database's clock was set back. */
export const isLate = ({ at, interval, now }: Pick<StoredReport, "at" | "interval" | "now">): boolean =>
  Math.abs(now - at) > missedIntervals * interval * 1000
