import type { EncodedEnvelope } from "@sluice/core/Envelope"
import * as EventFilter from "@sluice/core/EventFilter"
import type { Replay } from "@sluice/core/Feed"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { Selection } from "@sluice/core/Selection"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import type { FilterCriteria, ReplayReq } from "../generated/akka/projection/grpc/event_producer_pb.ts"
import { withCriteria } from "../wire/criteria.ts"
import { integer } from "../wire/integer.ts"

/** Of so many entities a call remembers at most up to where their replays pass. */
const maxReplays = 1_000

/** Of so many events it is remembered that they are replayed, until they are written: more than a page has. */
const maxReplayed = 1_000

/**
 * @internal
 * What the consumer of a call has selected, and asked for again. Pure but for what it remembers.
 */
export class CallFilter implements Selection {
  #filter = EventFilter.passAll
  #options: EventFilter.Options = {}
  #passes: (subject: EventFilter.Subject) => boolean = () => true
  /** From which sequence number on the replay of an entity is filtered like what comes with the logs. */
  readonly #filterFrom = new Map<PersistenceId.PersistenceId, number>()

  #hasReplays = false
  readonly #replayed = new Set<string>()

  /** Whether everything passes, and nothing is replayed. */
  get isOpen(): boolean {
    return this.#filter === EventFilter.passAll && !this.#hasReplays
  }

  /** Goes by what is known of the stream, once it is. */
  for(options: EventFilter.Options): this {
    this.#options = options
    this.#passes = EventFilter.compile(this.#filter, options)
    return this
  }

  /** Takes criteria, and returns the entities that are to be replayed because of them. Throws a `RangeError` and stays as it was if they are wrong. */
  change(criteria: ReadonlyArray<FilterCriteria>): ReadonlyArray<EventFilter.IncludedEntity> {
    const before = this.#filter
    this.#filter = withCriteria(before, criteria)
    if (this.#filter === before) return []
    this.#passes = EventFilter.compile(this.#filter, this.#options)
    const replays = replayedBy(criteria, before, this.#filter)
    this.#hasReplays ||= replays.length > 0
    return replays
  }

  /** What is to be replayed for a request. Throws a `RangeError` where it is wrong. */
  replay({ persistenceIdOffset, replayPersistenceIds }: ReplayReq): ReadonlyArray<Replay> {
    this.#hasReplays = true
    const requests = replayPersistenceIds.length > 0
      ? replayPersistenceIds.map(({ filterAfterSeqNr, fromPersistenceIdOffset }) => ({
        from: fromPersistenceIdOffset,
        // the JVM says with the largest number of all that it is never filtered
        filterFrom: filterAfterSeqNr > Number.MAX_SAFE_INTEGER ? 0 : integer(filterAfterSeqNr)
      }))
      // what older consumers send, and newer ones as well
      : persistenceIdOffset.map((from) => ({ from, filterFrom: 0 }))
    return requests.flatMap(({ filterFrom, from }) => {
      if (from === undefined) throw new RangeError("a replay of no entity")
      const persistenceId = PersistenceId.parse(from.persistenceId)
      const number = integer(from.seqNr)
      // as an Akka producer does
      if (number < 1) return []
      this.#filterFrom.delete(persistenceId)
      if (this.#filterFrom.size === maxReplays) this.#filterFrom.delete(this.#filterFrom.keys().next().value!)
      if (filterFrom > 0) this.#filterFrom.set(persistenceId, filterFrom)
      return [{ persistenceId, from: SequenceNumber.make(number) }]
    })
  }

  readonly isSelected = (envelope: EncodedEnvelope, isReplayed: boolean): boolean => {
    if (!isReplayed) return this.#passes(envelope)
    const { persistenceId, sequenceNumber } = envelope
    if (!this.#passes(envelope) && sequenceNumber >= (this.#filterFrom.get(persistenceId) ?? Infinity)) return false
    if (this.#replayed.size === maxReplayed) this.#replayed.delete(this.#replayed.values().next().value!)
    this.#replayed.add(keyOf(envelope))
    return true
  }

  /** Whether an event that was selected, and has passed the stages of the source since, was replayed. */
  isReplayed(envelope: EncodedEnvelope): boolean {
    return this.#hasReplays && this.#replayed.has(keyOf(envelope))
  }
}

/** The entities that criteria include from a number on, or from a higher one than before. Most change nothing of the kind. */
const replayedBy = (
  criteria: ReadonlyArray<FilterCriteria>,
  before: EventFilter.EventFilter,
  after: EventFilter.EventFilter
): ReadonlyArray<EventFilter.IncludedEntity> => {
  const named = new Set<string>()
  for (const { message } of criteria) {
    if (message.case !== "includeEntityIds") continue
    for (const { entityId, seqNr } of message.value.entityIdOffset) if (seqNr > 0) named.add(entityId)
  }
  if (named.size === 0) return []
  const known = new Map<string, number>()
  for (const { entityId, from } of before.includeEntityIds) if (named.has(entityId)) known.set(entityId, from)
  return after.includeEntityIds.filter(({ entityId, from }) => named.has(entityId) && from > (known.get(entityId) ?? 0))
}

const keyOf = ({ persistenceId, sequenceNumber }: EncodedEnvelope): string => `${sequenceNumber} ${persistenceId}`
