import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Envelope } from "../../Envelope.ts"
import * as Offset from "../../Offset.ts"
import type { OffsetKey } from "../../OffsetStore.ts"
import type { WorkerReading } from "../../ProjectionRegistry.ts"
import type { SliceRange } from "../../SliceRange.ts"
import type { Timestamp } from "../../Timestamp.ts"
import type { FilterWait, WorkerStatus } from "../../WorkerStatus.ts"
import * as Lifecycle from "./lifecycle.ts"
import { ProjectionMeters } from "./ProjectionMeters.ts"

const noneWaits = () => undefined

/** @internal A worker's lifecycle, and how far it has come, for its status and metrics. */
export class WorkerMonitor {
  readonly #key: OffsetKey
  readonly #range: SliceRange
  #lifecycle = Lifecycle.initial
  #revision: number | undefined
  #offsets: Offset.Offsets = Offset.none
  #handled = 0
  #skipped = 0
  #parked = 0
  #pastLag = 0
  #filterVersion: number | undefined
  #filterWait: FilterWait | undefined
  #notice: string | undefined
  #unknown: string | undefined
  #waitsForOthers = false
  #beside: string | undefined
  #givenId: string | undefined
  #givenNumber = 0
  #waitsFrom: () => Timestamp | undefined = noneWaits
  #isBegun = false
  #moves = 0
  #takenUp: number | undefined
  #lastFailure: WorkerReading["lastFailure"]
  readonly #clock: Clock.Clock
  /** The workers of its projection in this process that read its source, itself among them. */
  readonly #workers: Set<WorkerMonitor>
  readonly #listeners = new Set<() => void>()
  readonly meters: ProjectionMeters

  constructor(
    key: OffsetKey,
    range: SliceRange,
    context: Context.Context<never>,
    workers = new Set<WorkerMonitor>()
  ) {
    this.#key = key
    this.#range = range
    this.#workers = workers.add(this)
    this.#clock = Context.get(context, Clock.Clock)
    this.meters = new ProjectionMeters(key, context)
  }

  get status(): WorkerStatus {
    // the tracker goes on with its map
    return { ...this.#current, offsets: new Map(this.#offsets) }
  }

  /** As others read it again and again. */
  get reading(): WorkerReading {
    return { status: this.#current, moves: this.#moves, takenUp: this.#takenUp, lastFailure: this.#lastFailure }
  }

  /** The revision of the offsets that it began from last. */
  get revision(): number | undefined {
    return this.#revision
  }

  /** Whether it has caught up, and handles what comes. */
  get isRunning(): boolean {
    return this.#lifecycle.state._tag === "Running"
  }

  /** Whether the offsets are those that it has stored last, or later ones. */
  isNotBefore(offsets: Offset.Offsets): boolean {
    for (const [slice, { position, timestamp }] of this.#offsets) {
      const offset = offsets.get(slice)
      if (offset === undefined || offset.position < position || offset.timestamp < timestamp) return false
    }
    return true
  }

  /** The status, with offsets that move on. */
  get #current(): WorkerStatus {
    const { restarts, state } = this.#lifecycle
    return {
      ...this.#key,
      range: this.#range,
      state: state._tag,
      failure: Lifecycle.failureOf(state),
      notice: this.#waitsForOthers
        ? "Waits to start: a worker of another process has some of its slices"
        : this.#beside ?? this.#unknown ?? (this.#isBegun ? undefined : this.#notice),
      handled: this.#handled,
      skipped: this.#skipped,
      parked: this.#parked,
      restarts,
      revision: this.#revision,
      filterVersion: this.#filterVersion,
      filterWait: this.#filterWait,
      pastLag: this.#pastLag,
      waitsFrom: this.#waitsFrom(),
      offsets: this.#offsets
    }
  }

  /** What the worker does next, now that this has happened. */
  happened(event: Lifecycle.Event): Lifecycle.Action {
    const { state } = this.#lifecycle
    const action = this.#transition(event)
    if (this.#lifecycle.state !== state) this.#notify()
    return action
  }

  #transition(event: Lifecycle.Event): Lifecycle.Action {
    const { restarts } = this.#lifecycle
    const [after, action] = Lifecycle.transition(this.#lifecycle, event)
    this.#lifecycle = after
    const failure = Lifecycle.failureOf(after.state)
    if (failure !== undefined && failure !== this.#lastFailure?.failure) {
      this.#lastFailure = { failure, at: Number(this.#clock.monotonicTimeNanosUnsafe() / 1_000_000n) }
    }
    if (after.restarts > restarts) this.meters.restarted()
    if (after.state._tag === "Ended" && this.#parked > 0) {
      this.meters.parked(-this.#parked)
      this.#parked = 0
    }
    return action
  }

  /** It has loaded these offsets, goes by a version of the filter, and has yet to look through so many events that were passed over. */
  loaded(
    offsets: Offset.Offsets,
    revision: number,
    { filterVersion, pastLag }: Pick<WorkerStatus, "filterVersion" | "pastLag">
  ): void {
    this.#filterVersion = filterVersion
    this.#pastLag = pastLag
    this.#moves++
    this.#offsets = offsets
    this.#revision = revision
    this.#notify()
  }

  /** It hands over nothing for now, as the storage took so long to show the newest command, or goes on. */
  waitsForFilter(wait: FilterWait | undefined): void {
    if (wait !== undefined && this.#filterWait === undefined) this.meters.waitedForFilter()
    this.#filterWait = wait
    this.#notify()
  }

  /** It has yet to look through so many events that were passed over. */
  looksBack(pastLag: number): void {
    if (pastLag === this.#pastLag) return
    this.#pastLag = pastLag
    this.#notify()
  }

  /** A call of its handler begins, with these events. */
  given(envelopes: ReadonlyArray<Envelope<unknown>>): void {
    const last = envelopes.at(-1)!
    this.#givenId = last.persistenceId
    this.#givenNumber = last.sequenceNumber
  }

  /** What its handler was given last, as text for a person. */
  get inHand(): string {
    return this.#givenId === undefined
      ? "its handler was given nothing yet"
      : `its handler was given event ${this.#givenNumber} of '${this.#givenId}' last`
  }

  /** It has yet to begin, as another process has its slices, or not any more. */
  waitsForOthers(waits: boolean): void {
    if (waits === this.#waitsForOthers) return
    this.#waitsForOthers = waits
    this.#notify()
  }

  /** It begins while workers before it have this in hand, which were waited for long enough. */
  beganBeside(overdue: ReadonlyArray<string>): void {
    if (overdue.length === 0) return
    this.#beside = `Has begun beside a worker of its slices that did not end in time: ${overdue.join("; ")}`
    this.#notify()
  }

  /** Something is odd about its source, or nothing any more. Returns whether that is news. */
  noticed(notice: string | undefined): boolean {
    const isNews = notice !== this.#notice
    this.#notice = notice
    if (isNews) this.#notify()
    return isNews
  }

  /** Its source does not say how far behind it is, or does so again. Returns whether that is news. */
  lagUnknown(why: string | undefined): boolean {
    const isNews = why !== this.#unknown
    this.#unknown = why
    if (isNews) this.#notify()
    return isNews
  }

  /** Nothing waits any more, with which it may have caught up. */
  waitsNoMore(hasCaughtUp: boolean): void {
    if (hasCaughtUp) return this.caughtUp()
    this.#notify()
  }

  /** Everything that its source had when it was opened, or a little later, is stored. */
  caughtUp(): void {
    this.#takenUp = this.#revision
    this.#transition({ _tag: "CaughtUp" })
    this.#notify()
  }

  /** When the earliest event was written that waits, in its reading from now on. */
  waits(from: () => Timestamp | undefined): void {
    this.#waitsFrom = from
  }

  /** Its source has something to read, which is news for the other workers as well. */
  begun(): void {
    if (this.#isBegun) return
    for (const worker of this.#workers) {
      worker.#isBegun = true
      worker.#notify()
    }
  }

  /** It has stored these offsets, and with that everything that its source had when it was opened. */
  stored(offsets: Offset.Offsets, hasCaughtUp: boolean): void {
    this.#moves++
    this.#takenUp = this.#revision
    this.#offsets = offsets
    this.begun()
    this.#transition({ _tag: "Progressed" })
    if (hasCaughtUp) this.#transition({ _tag: "CaughtUp" })
    // last, because listeners go on at once
    this.#notify()
  }

  handled(envelopes: ReadonlyArray<Envelope<unknown>>): void {
    this.#handled += envelopes.length
    this.begun()
    this.meters.handled(envelopes.length, envelopes.at(-1)!.timestamp)
  }

  skipped(events = 1): void {
    this.#skipped += events
    this.meters.skipped(events)
  }

  /** Events wait behind earlier ones of their entities. */
  queued(events: number): void {
    this.#skipped += events
    this.meters.queued(events)
  }

  /** It knows of so many parked entities. */
  parked(entities: number): void {
    if (entities === this.#parked) return
    this.meters.parked(entities - this.#parked)
    this.#parked = entities
    this.#notify()
  }

  /** Ends when the predicate holds for the status, or the worker has ended. Dies where the predicate throws, which is nothing to the worker. */
  until(predicate: (status: WorkerStatus) => boolean): Effect.Effect<WorkerStatus> {
    return Effect.callback((resume) => {
      const listener = () => {
        const current = this.#current
        let outcome: Effect.Effect<WorkerStatus>
        try {
          if (current.state !== "Ended" && !predicate(current)) return
          outcome = Effect.succeed(this.status)
        } catch (cause) {
          outcome = Effect.die(cause)
        }
        this.#listeners.delete(listener)
        resume(outcome)
      }
      this.#listeners.add(listener)
      listener()
      return Effect.sync(() => this.#listeners.delete(listener))
    })
  }

  #notify(): void {
    for (const listener of this.#listeners) listener()
  }
}
