import type { Passed } from "../../ConsumerFilter.ts"
import { type EncodedElement, type EncodedEnvelope, isSkipped } from "../../Envelope.ts"
import * as Offset from "../../Offset.ts"
import type { StoredOffsets } from "../../OffsetStore.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import { make as makePosition } from "../../Position.ts"
import { isHandled, isJumped, type Rewind, type StoredNumber } from "../../Rewind.ts"
import type { Slice } from "../../Slice.ts"
import type { Ahead, Counts, Difference, Missing, SliceReport, Unshown } from "../../VerificationReport.ts"

type MutableCounts = { -readonly [Key in keyof Counts]: Counts[Key] }

interface Compared {
  readonly slice: Slice
  readonly isPerEntity: boolean
  readonly offset: Offset.Offset
  readonly head: Offset.Offset
  readonly rewinds: ReadonlyArray<Rewind> | undefined
  readonly pending: Passed | undefined
  readonly counts: MutableCounts
  /** The event that comes next, and after which one; past the offset once all is judged. */
  next: number
  before: Offset.Offset
  /** After which event the first one stands that is missing. */
  missingAfter: Offset.Offset | undefined
}

type MutableMissing = { -readonly [Key in keyof Missing]: Missing[Key] }

/** @internal An event that is to be judged, and the one before it in its log. */
export interface Candidate {
  readonly event: EncodedEnvelope
  readonly before: Offset.Offset
}

/** @internal */
export const noCounts: Counts = {
  proven: 0,
  handled: 0,
  leftOut: 0,
  deleted: 0,
  jumped: 0,
  pending: 0,
  missing: 0,
  unshown: 0
}

/** @internal What is compared. */
export interface Options {
  readonly slices: ReadonlyArray<Slice>
  readonly stored: Pick<StoredOffsets, "completeUpTo" | "offsets" | "rewinds">
  /** Of the journal, as they were after the offsets were loaded. */
  readonly heads: Offset.Offsets
  readonly ahead: ReadonlySet<Slice>
  readonly passedOver: ReadonlyMap<Slice, Passed>
  /** Whether no version of the filter has kept an event back that passes now. */
  readonly wasIncluded: (event: EncodedEnvelope) => boolean
  /** How many differences are listed. */
  readonly limit: number
}

/**
 * @internal
 * Compares what is stored of a projection with the logs of its source, as far as its offsets. Pure: `take` what the source shows from `start` on, and
 * `judge` that by the numbers of its entities, which may be newer than the offsets. It keeps a few numbers for each slice, and the differences that are listed.
 */
export class SliceComparison {
  readonly #slices = new Map<Slice, Compared>()
  readonly #wasIncluded: (event: EncodedEnvelope) => boolean
  readonly #limit: number
  readonly #ahead: Array<Ahead> = []
  readonly #unshown: Array<Unshown> = []
  /** In the order in which they were found. */
  readonly #missing = new Map<PersistenceId, MutableMissing>()
  #hasMore = false
  #remaining = 0
  #taken = 0

  constructor({ ahead, heads, limit, passedOver, slices, stored, wasIncluded }: Options) {
    this.#wasIncluded = wasIncluded
    this.#limit = limit
    for (const slice of slices) {
      const offset = stored.offsets.get(slice) ?? Offset.beginning
      const head = heads.get(slice) ?? Offset.beginning
      const completeUpTo = stored.completeUpTo.get(slice)
      if (offset.position === 0 && head.position === 0) continue
      if (ahead.has(slice)) {
        if (!this.#isFull) this.#ahead.push({ _tag: "Ahead", slice, handled: offset, head })
        else this.#hasMore = true
      }
      const proven = ahead.has(slice) ? 0 : Math.min(completeUpTo?.position ?? Infinity, offset.position)
      const next = ahead.has(slice) ? Infinity : proven + 1
      this.#slices.set(slice, {
        slice,
        isPerEntity: completeUpTo !== undefined,
        offset,
        head,
        rewinds: stored.rewinds.get(slice),
        pending: passedOver.get(slice),
        counts: { ...noCounts, proven },
        next,
        before: completeUpTo ?? Offset.beginning,
        missingAfter: undefined
      })
      if (next <= offset.position) this.#remaining++
    }
  }

  /** Whether nothing is left to be judged. */
  get isDone(): boolean {
    return this.#remaining === 0
  }

  /** How many elements were taken that had not been shown before. */
  get taken(): number {
    return this.#taken
  }

  /** The slices that have something left to be judged. */
  get unjudged(): ReadonlyArray<Slice> {
    return Array.from(this.#slices.values()).flatMap(({ next, offset, slice }) =>
      next <= offset.position ? [slice] : []
    )
  }

  /** Whether a slice has something left to be judged. */
  isUnjudged(slice: Slice): boolean {
    const compared = this.#slices.get(slice)
    return compared !== undefined && compared.next <= compared.offset.position
  }

  /** After which events these are to be read. Where the time of an event is not known, or there is none, the slice is missing: it is read from its beginning. */
  get start(): Offset.Offsets {
    return new Map(this.unjudged.flatMap((slice) => {
      const { before } = this.#slices.get(slice)!
      return before.timestamp === 0 ? [] : [[slice, before] as const]
    }))
  }

  /** Of what the source shows, the events that are to be judged. Nothing after the offset of a slice is. */
  take(elements: ReadonlyArray<EncodedElement>): ReadonlyArray<Candidate> {
    const candidates: Array<Candidate> = []
    for (const element of elements) {
      const compared = this.#slices.get(element.slice)
      const { position, timestamp } = element
      if (compared === undefined || position === undefined) continue
      const { before, next, offset } = compared
      if (position < next || next > offset.position) continue
      const from = isSkipped(element) ? Math.max(element.from, next) : position
      const last = Math.min(from - 1, offset.position)
      if (last >= next) this.#notShown(compared, next, last)
      if (isSkipped(element)) {
        const skipped = Math.max(Math.min(position, offset.position) - from + 1, 0)
        compared.counts[element.isDeferred ? "leftOut" : "deleted"] += skipped
      } else if (position <= offset.position) {
        candidates.push({ event: element, before })
      }
      this.#taken++
      compared.next = position + 1
      if (timestamp !== undefined) compared.before = { position, timestamp }
      if (compared.next > offset.position) this.#remaining--
    }
    return candidates
  }

  /** The source shows nothing more of what is left to be judged. */
  end(): void {
    for (const compared of this.#slices.values()) {
      const { next, offset } = compared
      if (next > offset.position) continue
      this.#notShown(compared, next, offset.position)
      compared.next = offset.position + 1
      this.#remaining--
    }
  }

  /** What has become of events, by the last numbers that are stored of their entities. */
  judge(candidates: ReadonlyArray<Candidate>, numbers: ReadonlyMap<PersistenceId, StoredNumber>): void {
    for (const { before, event } of candidates) {
      const compared = this.#slices.get(event.slice)!
      const what = this.#verdict(compared, event, numbers.get(event.persistenceId))
      compared.counts[what]++
      if (what !== "missing") continue
      compared.missingAfter ??= before
      this.#list(event)
    }
  }

  #verdict(
    { pending, rewinds }: Compared,
    event: EncodedEnvelope,
    stored: StoredNumber | undefined
  ): keyof Counts {
    const { payload, timestamp } = event
    const position = event.position!
    if (isHandled(rewinds, stored, event)) return "handled"
    if (payload === undefined) return "deleted"
    if (isJumped(rewinds, timestamp)) return "jumped"
    if (pending !== undefined && position > pending.from.position && position <= pending.upTo) return "pending"
    return this.#wasIncluded(event) ? "missing" : "leftOut"
  }

  #notShown({ counts, slice }: Compared, from: number, to: number): void {
    counts.unshown += to - from + 1
    if (this.#isFull) this.#hasMore = true
    else this.#unshown.push({ _tag: "Unshown", slice, from: makePosition(from), to: makePosition(to) })
  }

  /** Whether as many differences are listed as may be. */
  get #isFull(): boolean {
    return this.#missing.size + this.#ahead.length + this.#unshown.length >= this.#limit
  }

  #list({ persistenceId, sequenceNumber, slice }: EncodedEnvelope): void {
    const listed = this.#missing.get(persistenceId)
    if (listed !== undefined) {
      listed.to = sequenceNumber
    } else if (!this.#isFull) {
      this.#missing.set(persistenceId, {
        _tag: "Missing",
        slice,
        persistenceId,
        from: sequenceNumber,
        to: sequenceNumber
      })
    } else this.#hasMore = true
  }

  /** The parts of slices from the first event on that is missing, up to the offset. */
  get parts(): ReadonlyMap<Slice, Passed> {
    const parts = new Map<Slice, Passed>()
    for (const { missingAfter: from, offset, slice } of this.#slices.values()) {
      if (from !== undefined) parts.set(slice, { from, upTo: offset.position })
    }
    return parts
  }

  get hasMore(): boolean {
    return this.#hasMore
  }

  get differences(): ReadonlyArray<Difference> {
    return [...this.#ahead, ...this.#unshown, ...this.#missing.values()]
  }

  get slices(): ReadonlyArray<SliceReport> {
    return Array.from(this.#slices.values(), ({ counts, head, isPerEntity, offset, slice }) => ({
      slice,
      mode: isPerEntity ? "perEntity" as const : "exact" as const,
      offset,
      head,
      ...counts
    }))
  }
}
