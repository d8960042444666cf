import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { Subject } from "@sluice/core/EventFilter"
import type { Payload } from "@sluice/core/Payload"
import { createHash } from "node:crypto"
import type { ReplicatedEventSourced } from "../ReplicatedEventSourced.ts"
import * as replica from "./replica.ts"

/** @internal The events of one origin that a replica has of an entity, in their order: what is known of each, without what is in it. */
export interface OfOrigin {
  readonly numbers: Array<number>
  readonly times: Array<number>
  readonly positions: Array<number>
  /** How many events of the entity are before it. */
  readonly indexes: Array<number>
}

/**
 * @internal
 * What one replica has of an entity: its events, and the state that they lead to. It is given the events page by page, and keeps four numbers of each.
 */
export class EntitySide<Event, State> {
  readonly origins = new Map<string, OfOrigin>()
  /** How many there are. */
  count = 0
  /** The index of the last one that is wanted by whoever reads it, and that it has gone past: an earlier one comes with it. */
  lastWanted = -1
  /** How many were deleted, so that nothing is known of them but that they were there. */
  emptied = 0
  /** Where the first one stands that was not removed; undefined where there is none. */
  firstPosition: number | undefined
  readonly #entity: ReplicatedEventSourced<any, any, Event, State, any>
  readonly #self: string
  readonly #isWanted: (event: Subject, position: number) => boolean
  /** Undefined where it cannot be computed. */
  #state: { readonly value: State } | undefined
  #next = 1
  #first = 1

  constructor(
    entity: ReplicatedEventSourced<any, any, Event, State, any>,
    id: string,
    self: string,
    isWanted: (event: Subject, position: number) => boolean
  ) {
    this.#entity = entity
    this.#self = self
    this.#isWanted = isWanted
    this.#attempt(() => entity.initial(id))
  }

  take(envelopes: ReadonlyArray<EncodedEnvelope>): void {
    for (const envelope of envelopes) {
      const { payload, persistenceId, sequenceNumber, timestamp } = envelope
      if (this.firstPosition === undefined) {
        this.firstPosition = envelope.position ?? Infinity
        this.#first = sequenceNumber
      }
      // what is deleted is missing for the state, and nothing says what it was
      if (sequenceNumber !== this.#next || payload === undefined) this.#state = undefined
      this.#next = sequenceNumber + 1
      if (payload === undefined) {
        this.emptied++
        continue
      }
      const from = envelope.replication ?? replica.migrated(this.#self, sequenceNumber, timestamp)
      let events = this.origins.get(from.origin)
      if (events === undefined) {
        this.origins.set(from.origin, events = { numbers: [], times: [], positions: [], indexes: [] })
      }
      const position = envelope.position ?? Infinity
      events.numbers.push(from.originSequenceNumber)
      events.times.push(from.time ?? 0)
      events.positions.push(position)
      events.indexes.push(this.count)
      if (this.#isWanted(envelope, position)) this.lastWanted = this.count
      this.count++
      const { codec } = this.#entity.entityType
      this.#evolve(codec.decodeUnsafe, payload, (state, event) =>
        this.#entity.evolve(state, event, {
          persistenceId,
          sequenceNumber,
          origin: from.origin,
          originSequenceNumber: from.originSequenceNumber,
          version: from.version,
          concurrent: from.concurrent,
          recovering: true,
          time: from.time ?? timestamp
        }))
    }
  }

  #evolve(decode: (payload: Payload) => Event, payload: Payload, evolve: (state: State, event: Event) => State): void {
    const { value } = this.#state ?? {}
    if (this.#state !== undefined) this.#attempt(() => evolve(value as State, decode(payload)))
  }

  /** What the user's code throws is said where the entity is used. */
  #attempt(compute: () => State): void {
    try {
      this.#state = { value: compute() }
    } catch {
      this.#state = undefined
    }
  }

  /** How many of its first events were removed, as by `prune`. They are those before the first one that is left. */
  get removed(): number {
    return this.#first - 1
  }

  /** How many there have been, without those that were deleted and not removed. */
  get total(): number {
    return this.#next - 1 - this.emptied
  }

  /** Where an event stands, and how many are before it; undefined where it is not there. */
  find(origin: string, number: number): Pick<Unmatched, "index" | "position"> | undefined {
    const events = this.origins.get(origin) ?? nothing
    let [low, high] = [0, events.numbers.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (events.numbers[middle]! < number) low = middle + 1
      else high = middle
    }
    return events.numbers[low] === number ? at(origin, events, low) : undefined
  }

  /** A hash of the state, the same for the same JSON in whatever order its fields are; undefined where the state is not known. */
  hash(): string | undefined {
    if (this.#state === undefined) return undefined
    try {
      const { bytes, manifest } = this.#entity.stateType.codec.encodeUnsafe(this.#state.value)
      const content = manifest.startsWith("json.") ? canonical(JSON.parse(Buffer.from(bytes).toString())) : bytes
      return createHash("sha256").update(content).digest("hex").slice(0, 16)
    } catch {
      return undefined
    }
  }
}

const canonical = (json: unknown): string =>
  JSON.stringify(json, (_, value) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => a < b ? -1 : a > b ? 1 : 0))
      : value)

/** @internal An event that one side has and the other has not, or has another one in the place of. */
export interface Unmatched {
  readonly origin: string
  readonly number: number
  readonly position: number
  readonly index: number
}

const nothing: OfOrigin = { numbers: [], times: [], positions: [], indexes: [] }

const at = (origin: string, events: OfOrigin, i: number): Unmatched => ({
  origin,
  number: events.numbers[i]!,
  position: events.positions[i]!,
  index: events.indexes[i]!
})

/** @internal Compares what two sides have of an entity. */
export const compareSides = (
  here: Pick<EntitySide<any, any>, "origins">,
  there: Pick<EntitySide<any, any>, "origins">,
  /** Whether the times of an origin's events are the same everywhere. */
  hasTimes: (origin: string) => boolean
) => {
  const onlyHere: Array<Unmatched> = []
  const onlyThere: Array<Unmatched> = []
  const other: Array<Unmatched> = []
  let both = 0
  for (const origin of new Set([...here.origins.keys(), ...there.origins.keys()])) {
    const a = here.origins.get(origin) ?? nothing
    const b = there.origins.get(origin) ?? nothing
    let [i, j] = [0, 0]
    // each replica stores the events of an origin in the order of their numbers
    while (i < a.numbers.length || j < b.numbers.length) {
      const [left, right] = [a.numbers[i] ?? Infinity, b.numbers[j] ?? Infinity]
      if (left < right) onlyHere.push(at(origin, a, i++))
      else if (right < left) onlyThere.push(at(origin, b, j++))
      else {
        if (hasTimes(origin) && a.times[i] !== b.times[j]) other.push(at(origin, a, i))
        else both++
        i++
        j++
      }
    }
  }
  return { both, onlyHere, onlyThere, other }
}

type Counted = Pick<EntitySide<any, any>, "emptied" | "origins" | "removed" | "total">

/** Those which a side lacks that may have been removed there. What was deleted without being removed is not told from these. */
const removable = ({ emptied, origins, removed }: Counted, lacking: ReadonlyArray<Unmatched>) =>
  removed === 0 || emptied > 0
    ? []
    : lacking.filter(({ number, origin }) => number < (origins.get(origin)?.numbers[0] ?? Infinity))

/**
 * @internal
 * Which of the events that a side lacks it has had and removed. Nothing is left of these that says which they were. But an entity's events are numbered without gaps, so each side knows how many it has had: where one has had fewer than the
 * other, beside those that have not come to it, it has lost some, and none of what it lacks is explained.
 */
export const removedOf = (
  here: Counted,
  there: Counted,
  lacking: {
    /** All that one side lacks, for whatever reason. */
    readonly all: { readonly here: number; readonly there: number }
    /** Those that nothing else explains. */
    readonly here: ReadonlyArray<Unmatched>
    readonly there: ReadonlyArray<Unmatched>
    /** Whether all is shown of the other side, so that it can be counted. */
    readonly isWhole: boolean
  }
): { readonly here: ReadonlyArray<Unmatched>; readonly there: ReadonlyArray<Unmatched> } => {
  const ofHere = removable(here, lacking.here)
  const ofThere = removable(there, lacking.there)
  const [hadHere, hadThere] = [
    here.total + lacking.all.here - ofHere.length,
    there.total + lacking.all.there - ofThere.length
  ]
  const hasLost = (events: ReadonlyArray<Unmatched>, side: Counted, had: number, hadElsewhere: number) =>
    events.length > side.removed || lacking.isWhole && had < hadElsewhere
  return {
    here: hasLost(ofHere, here, hadHere, hadThere) ? [] : ofHere,
    there: hasLost(ofThere, there, hadThere, hadHere) ? [] : ofThere
  }
}
