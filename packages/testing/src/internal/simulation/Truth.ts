import type { EncodedEnvelope, Envelope } from "@sluice/core/Envelope"
import type { AppendRequest } from "@sluice/core/Journal"
import type { Payload } from "@sluice/core/Payload"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import type { Slice } from "@sluice/core/Slice"
import type { Violate } from "./Violate.ts"

/** @internal What was sent, and where it was found. */
export interface Sent {
  readonly request: AppendRequest
  found: EncodedEnvelope | undefined
}

/** @internal What there is for a projection to handle, as it is read by nobody but the auditor. */
export interface Truth {
  readonly slices: Iterable<Slice>
  /** What is new in it. */
  readonly take: (events: ReadonlyArray<EncodedEnvelope>) => void
  /** The position of the last that is known of a log. */
  readonly head: (slice: Slice) => number
  readonly at: (slice: Slice, position: number) => EncodedEnvelope | undefined
  /** Those behind a position, up to another one, that a handler is to be given. */
  readonly between: (slice: Slice, after: number, to: number) => ReadonlyArray<EncodedEnvelope>
  /** Whether a handler may be given the envelope. */
  readonly has: (envelope: Envelope<unknown>) => boolean
}

/** @internal The journal of an entity type: each event of it is to be handled, unless it is deleted. */
export class JournalTruth implements Truth {
  readonly #logs = new Map<Slice, Array<EncodedEnvelope>>()
  readonly #entities = new Map<PersistenceId, number>()
  /** By its content. */
  readonly #sent: Map<Payload | undefined, Sent>
  readonly #violate: Violate

  constructor(sent: Map<Payload | undefined, Sent>, violate: Violate) {
    this.#sent = sent
    this.#violate = violate
  }

  get slices(): Iterable<Slice> {
    return this.#logs.keys()
  }

  head(slice: Slice): number {
    return this.#logs.get(slice)?.length ?? 0
  }

  at(slice: Slice, position: number): EncodedEnvelope | undefined {
    return this.#logs.get(slice)?.[position - 1]
  }

  between(slice: Slice, after: number, to: number): ReadonlyArray<EncodedEnvelope> {
    const log = this.#logs.get(slice) ?? []
    return log.slice(after, to).filter(({ payload }) => payload !== undefined)
  }

  has({ persistenceId, position, sequenceNumber, slice, timestamp }: Envelope<unknown>): boolean {
    const event = this.at(slice, position!)
    return event?.persistenceId === persistenceId && event.sequenceNumber === sequenceNumber &&
      event.timestamp === timestamp
  }

  take(events: ReadonlyArray<EncodedEnvelope>): void {
    for (const event of events) {
      const { payload, persistenceId, position, sequenceNumber, slice, timestamp } = event
      const log = this.#logs.get(slice) ?? []
      this.#logs.set(slice, log)
      const last = log.at(-1)
      const text = describe(event)
      if (position !== log.length + 1) {
        this.#violate("positions are dense", `after ${log.length} of slice ${slice} comes ${position}, ${text}`)
      }
      if (last !== undefined && timestamp <= last.timestamp) {
        this.#violate("timestamps rise", `${timestamp} comes after ${last.timestamp}, ${text}`)
      }
      const before = this.#entities.get(persistenceId) ?? 0
      if (sequenceNumber !== before + 1) this.#violate("sequence numbers are dense", `after ${before} comes ${text}`)
      const sent = this.#sent.get(payload)
      if (sent?.found !== undefined) {
        this.#violate("an append is written once", `${text} is also ${describe(sent.found)}`)
      }
      if (sent !== undefined) sent.found = event
      log.push(event)
      this.#entities.set(persistenceId, sequenceNumber)
    }
  }
}

/** @internal The durable states of a type: the last one of each entity is to be handled, and those before may be. */
export class StatesTruth implements Truth {
  readonly #latest = new Map<PersistenceId, EncodedEnvelope>()
  readonly #heads = new Map<Slice, EncodedEnvelope>()
  readonly #violate: Violate

  constructor(violate: Violate) {
    this.#violate = violate
  }

  get slices(): Iterable<Slice> {
    return this.#heads.keys()
  }

  head(slice: Slice): number {
    return this.#heads.get(slice)?.position ?? 0
  }

  at(slice: Slice, position: number): EncodedEnvelope | undefined {
    return this.between(slice, position - 1, position)[0]
  }

  between(slice: Slice, after: number, to: number): ReadonlyArray<EncodedEnvelope> {
    return [...this.#latest.values()]
      .filter((state) => state.slice === slice && state.position! > after && state.position! <= to)
      .toSorted((a, b) => a.position! - b.position!)
  }

  has({ persistenceId, position, sequenceNumber }: Envelope<unknown>): boolean {
    const latest = this.#latest.get(persistenceId)
    if (latest === undefined || sequenceNumber > latest.sequenceNumber) return false
    return sequenceNumber === latest.sequenceNumber ? position === latest.position : position! < latest.position!
  }

  take(states: ReadonlyArray<EncodedEnvelope>): void {
    for (const state of states) {
      const { persistenceId, position, sequenceNumber, slice } = state
      const last = this.#heads.get(slice)
      if (last !== undefined && position! <= last.position!) {
        this.#violate("positions rise", `after ${last.position} of slice ${slice} comes ${describe(state)}`)
      }
      const before = this.#latest.get(persistenceId)?.sequenceNumber ?? 0
      if (sequenceNumber <= before) this.#violate("revisions rise", `after ${before} comes ${describe(state)}`)
      this.#heads.set(slice, state)
      this.#latest.set(persistenceId, state)
    }
  }
}

/** @internal */
export const describe = (
  { persistenceId, position, sequenceNumber, slice }: Pick<
    EncodedEnvelope,
    "persistenceId" | "position" | "sequenceNumber" | "slice"
  >
): string => `event ${sequenceNumber} of '${persistenceId}' at ${position} of slice ${slice}`
