import type * as Cause from "effect/Cause"
import * as Latch from "effect/Latch"
import { type EncodedEnvelope, sizeOf } from "../../Envelope.ts"
import type { Health } from "../../Feed.ts"
import { LogCursor } from "../../LogCursor.ts"
import * as Offset from "../../Offset.ts"
import type * as Slice from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"

/** A follower that needs older events reads them from the journal. */
const maxEvents = 8192
const maxBytes = 16 * 1024 * 1024

/** The approximate memory of an event besides its content, in bytes. */
const overhead = 200

/**
 * @internal
 * A place where the tail has seen another event than is there now: the journal has lost acknowledged events.
 */
export interface Fork {
  readonly slice: Slice.Slice
  readonly offset: Offset.Offset
}

interface Subscriber {
  readonly range: SliceRange.SliceRange
  readonly latch: Latch.Latch
  readonly health: Health
}

/**
 * @internal
 * The newest events of an entity type in memory, each log without gaps and in the order of its positions. Events are
 * numbered as they come. When there are too many, the oldest are forgotten.
 */
export class JournalTail<E> {
  /** The last event that was taken of each log. */
  readonly heads: LogCursor
  /** Passes the health of the journal on to all who follow the tail, and to those who join them while it is disrupted. */
  readonly health: Health = {
    disrupted: (cause) => {
      this.#disruption = cause
      for (const { health } of this.#subscribers) health.disrupted(cause)
    },
    restored: () => {
      this.#disruption = undefined
      for (const { health } of this.#subscribers) health.restored()
    }
  }
  readonly #events: Array<EncodedEnvelope> = []
  readonly #subscribers = new Set<Subscriber>()
  readonly #sizes = new Float64Array(maxEvents)
  #start = 0
  #end = 0
  #bytes = 0
  #failure: Cause.Cause<E> | undefined
  #disruption: Cause.Cause<unknown> | undefined

  constructor(heads: Offset.Offsets) {
    this.heads = new LogCursor(SliceRange.full, heads)
  }

  /** The number of the oldest event that is there. */
  get start(): number {
    return this.#start
  }

  /** The number of the event that will come next. */
  get end(): number {
    return this.#end
  }

  /** Why no more events will come. */
  get failure(): Cause.Cause<E> | undefined {
    return this.#failure
  }

  /** The memory of the event with that number, in bytes. */
  size(number: number): number {
    return this.#sizes[number % maxEvents]!
  }

  /** The event with that number, from `start` and before `end`. */
  at(number: number): EncodedEnvelope {
    return this.#events[number % maxEvents]!
  }

  /** Whether the event, or a later one of its log, has been taken. */
  has({ position, slice }: EncodedEnvelope): boolean {
    return position! <= this.heads.position(slice)
  }

  /** Takes those of the events that come next in their logs, up to a fork. */
  push(events: ReadonlyArray<EncodedEnvelope>): Fork | undefined {
    const taken: Array<EncodedEnvelope> = []
    let fork: Fork | undefined
    for (const event of events) {
      const verdict = this.heads.take(event.slice, event.position!, event.timestamp)
      if (verdict === "next") {
        this.#keep(event)
        taken.push(event)
      } else if (verdict !== "gap") {
        fork = verdict === "fork" ? { slice: event.slice, offset: this.heads.offset(event.slice) } : this.#fork(event)
        if (fork !== undefined) break
      }
    }
    if (taken.length > 0) {
      for (const { latch, range } of this.#subscribers) {
        if (taken.some(({ slice }) => SliceRange.contains(range, slice))) latch.openUnsafe()
      }
    }
    return fork
  }

  fail(cause: Cause.Cause<E>): void {
    this.#failure = cause
    for (const { latch } of this.#subscribers) latch.openUnsafe()
  }

  /** The latch opens when there are events in the range, or no more will come. */
  subscribe(range: SliceRange.SliceRange, health: Health): Subscriber {
    const subscriber = { range, latch: Latch.makeUnsafe(), health }
    this.#subscribers.add(subscriber)
    if (this.#disruption !== undefined) health.disrupted(this.#disruption)
    return subscriber
  }

  unsubscribe(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber)
  }

  /** Whether another event is known at a position that was taken before. */
  #fork({ position, slice, timestamp }: EncodedEnvelope): Fork | undefined {
    if (position === this.heads.position(slice)) return undefined
    const known = this.#find(slice, position!)
    return known === undefined || known.timestamp === timestamp
      ? undefined
      : { slice, offset: Offset.make(position!, known.timestamp) }
  }

  /** Searches backwards: an event that comes again was most likely among the last. */
  #find(slice: Slice.Slice, position: number): EncodedEnvelope | undefined {
    for (let number = this.#end - 1; number >= this.#start; number--) {
      const event = this.at(number)
      if (event.slice === slice && event.position === position) return event
    }
    return undefined
  }

  #keep(event: EncodedEnvelope): void {
    if (this.#end - this.#start === maxEvents) this.#forget()
    const index = this.#end++ % maxEvents
    this.#events[index] = event
    this.#bytes += this.#sizes[index] = overhead + sizeOf(event)
    while (this.#bytes > maxBytes) this.#forget()
  }

  #forget(): void {
    const index = this.#start++ % maxEvents
    this.#bytes -= this.#sizes[index]!
    this.#events[index] = undefined as never
  }
}
