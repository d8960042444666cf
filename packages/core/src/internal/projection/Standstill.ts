import type { Offsets } from "../../Offset.ts"
import type { WorkerReading } from "../../ProjectionRegistry.ts"
import type { Slice } from "../../Slice.ts"
import type { WorkerState } from "../../WorkerStatus.ts"
import * as inTime from "./inTime.ts"

/** @internal Where a worker does not get on, and since when, in milliseconds: in a slice, or anywhere. */
export interface Stuck {
  readonly slice: Slice | undefined
  readonly since: number
}

/** A worker in these states does nothing. One that fails again and again goes from one to the other. */
const isIdle = (state: WorkerState): boolean => state === "Starting" || state === "Disrupted" || state === "Restarting"

/** A person has to act, or has done so, or another worker is at work. */
const isOver = (state: WorkerState): boolean =>
  state === "Paused" || state === "Retired" || state === "Stopped" || state === "Ended" || state === "Fenced"

/**
 * @internal
 * Since when a worker does not get on: it has not begun, or has failed, or the offset of a slice stays where it is though its source has more. Of a source
 * without positions only the former is known. Pure: it keeps the slices that are behind.
 */
export class Standstill {
  #idleSince: number | undefined
  readonly #slices = new Map<Slice, { readonly position: number; readonly since: number }>()

  /** How the worker is at a time, and the heads of its source, if they are known. */
  look({ offsets, range, state }: WorkerReading["status"], heads: Offsets | undefined, now: number): void {
    this.#idleSince = isIdle(state) ? this.#idleSince ?? now : undefined
    if (isOver(state)) return this.#slices.clear()
    // before it has loaded them, its offsets say nothing
    if (state === "Starting") return
    for (const [slice, { position }] of this.#slices) {
      const reached = offsets.get(slice)?.position ?? 0
      const head = heads === undefined ? Infinity : heads.get(slice)?.position ?? 0
      if (reached !== position || head <= reached) this.#slices.delete(slice)
    }
    if (heads === undefined || inTime.timeOf(heads) !== undefined) return
    for (const [slice, { position }] of heads) {
      if (slice < range.min || slice > range.max || this.#slices.has(slice)) continue
      const reached = offsets.get(slice)?.position ?? 0
      if (position > reached) this.#slices.set(slice, { position: reached, since: now })
    }
  }

  /** What has stood still for longest. */
  get stuck(): Stuck | undefined {
    let stuck: Stuck | undefined
    for (const [slice, { since }] of this.#slices) {
      if (stuck === undefined || since < stuck.since) stuck = { slice, since }
    }
    return this.#idleSince === undefined || stuck !== undefined && stuck.since < this.#idleSince
      ? stuck
      : { slice: undefined, since: this.#idleSince }
  }
}
