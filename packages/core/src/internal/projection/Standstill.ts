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

/** A slice that is behind. */
interface Behind {
  readonly position: number
  /** Up to when its source had events as that was noticed. */
  readonly due: number
  /** Whether the worker has handled what is as late in others: it is not busy with earlier ones. */
  isPassed: boolean
  since: number
}

/** A worker in these states does nothing. One that fails again and again goes from one to the other. */
const isIdle = (state: WorkerState): boolean => state === "Starting" || state === "Disrupted" || state === "Restarting"

/** A person has to act, or has done so, or another worker is at work. */
const isOver = (state: WorkerState): boolean =>
  state === "Paused" || state === "Retired" || state === "Stopped" || state === "Ended" || state === "Fenced"

/**
 * @internal
 * Since when a worker does not get on: it has not begun, or has failed; or the offset of a slice stays where it is though its source has more, while no others
 * move either, or those do that are later; or it handles nothing, and looks no further through what was passed over. Of a source without positions it is not known which slice
 * stays. Pure: it keeps the slices that are behind, and their offsets.
 */
export class Standstill {
  #idleSince: number | undefined
  #past: { readonly lag: number; readonly handled: number; readonly since: number } | undefined
  #moves: number | undefined
  #offsets = new Map<Slice, number>()
  readonly #slices = new Map<Slice, Behind>()

  /** How the worker is at a time, and the heads of its source, if they are known. */
  look(
    { moves, status: { handled, offsets, pastLag, range, state } }: Pick<WorkerReading, "moves" | "status">,
    heads: Offsets | undefined,
    now: number
  ): void {
    this.#idleSince = isIdle(state) ? this.#idleSince ?? now : undefined
    if (isOver(state)) {
      this.#past = undefined
      return this.#slices.clear()
    }
    // before it has loaded them, its offsets say nothing
    if (state === "Starting") return
    // an entity of it may have many events
    if (pastLag !== this.#past?.lag || handled !== this.#past.handled) {
      this.#past = pastLag > 0 ? { lag: pastLag, handled, since: now } : undefined
    }
    const moved = moves === this.#moves ? undefined : this.#moved(offsets)
    this.#moves = moves
    for (const [slice, behind] of this.#slices) {
      const reached = offsets.get(slice)?.position ?? 0
      const head = heads === undefined ? Infinity : heads.get(slice)?.position ?? 0
      if (reached !== behind.position || head <= reached) this.#slices.delete(slice)
      else if (moved !== undefined && !behind.isPassed) {
        // its events are later than those that the worker handles, as far as is known
        if (moved > behind.due) behind.isPassed = true
        else behind.since = now
      }
    }
    if (heads === undefined || inTime.timeOf(heads) !== undefined) return
    for (const [slice, { position, timestamp }] of heads) {
      if (slice < range.min || slice > range.max || this.#slices.has(slice)) continue
      const reached = offsets.get(slice)?.position ?? 0
      if (position > reached) {
        this.#slices.set(slice, { position: reached, due: timestamp, isPassed: false, since: now })
      }
    }
  }

  /** Up to which time slices have moved since the last look; undefined if none has. */
  #moved(offsets: Offsets): number | undefined {
    const before = this.#offsets
    this.#offsets = new Map()
    let moved: number | undefined
    for (const [slice, { position, timestamp }] of offsets) {
      this.#offsets.set(slice, position)
      if (position !== before.get(slice)) moved = Math.max(moved ?? 0, timestamp)
    }
    return moved
  }

  /** What has stood still for longest. */
  get stuck(): Stuck | undefined {
    let stuck: Stuck | undefined
    if (this.#past !== undefined) stuck = { slice: undefined, since: this.#past.since }
    for (const [slice, { since }] of this.#slices) {
      if (stuck === undefined || since < stuck.since) stuck = { slice, since }
    }
    return this.#idleSince === undefined || stuck !== undefined && stuck.since < this.#idleSince
      ? stuck
      : { slice: undefined, since: this.#idleSince }
  }
}
