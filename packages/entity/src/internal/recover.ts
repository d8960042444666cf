import type { EntityType } from "@sluice/core/EntityType"
import type { EncodedEnvelope } from "@sluice/core/Envelope"
import type { Journal } from "@sluice/core/Journal"
import type { PersistenceId } from "@sluice/core/PersistenceId"
import * as PersistenceIds from "@sluice/core/PersistenceId"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { EncodedSnapshot, SnapshotStore } from "@sluice/core/SnapshotStore"
import type { StateType } from "@sluice/core/StateType"
import type { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import { type JournalUnavailable, RecoveryFailed } from "../EntityError.ts"
import { entityRecovered } from "../EntityMetrics.ts"
import type { Lineage } from "../Lineage.ts"
import { type InTime, unanswered, unavailable } from "./inTime.ts"
import { measuringRecoveries } from "./measuringRecoveries.ts"
import { commandOf, commandsKey, eventKey } from "./metadataKeys.ts"
import { RememberedCommands } from "./rememberedCommands.ts"

/** @internal What is held of an event sourced entity. */
export interface HeldEvents<out State> {
  readonly id: string
  readonly persistenceId: PersistenceId
  readonly state: State
  /** The number of the last event, 0 where there is none, and its time. */
  readonly sequenceNumber: number
  readonly timestamp: Timestamp | undefined
  /** The number that the last snapshot was taken at. */
  readonly snapshotAt: number
  /** The numbers of snapshots that are of other events than the journal has, until they are removed. */
  readonly wrongSnapshots: Set<number>
  /** Grows in place: after a command, only what that has led to is used. */
  readonly remembered: RememberedCommands
  /** Of an entity with a lineage, what is known of that. */
  readonly known: unknown
}

/** @internal */
export interface RecoverOptions<in out Event, in out State> {
  readonly journal: Journal["Service"]
  readonly store: SnapshotStore["Service"]
  readonly inTime: InTime
  readonly entityType: EntityType<Event>
  readonly stateType: StateType<State>
  readonly initial: (id: string) => State
  readonly evolve: (
    state: State,
    event: Event,
    place: { readonly persistenceId: PersistenceId; readonly sequenceNumber: number }
  ) => State
  readonly lineage?: Lineage<any> | undefined
  /** Whether there are snapshots as a rule. Otherwise one is looked for only where events are missing. */
  readonly hasSnapshots: boolean
  readonly recoverWithin: Duration.Duration
  /** How many events may be read. */
  readonly recoverAtMost: number
  readonly remembered: number
}

const pageSize = 500
/** @internal No event has a greater number. */
export const last = (Number.MAX_SAFE_INTEGER - 1) as SequenceNumber
const first = 1 as SequenceNumber

/** So many characters of commands and replies are remembered of an entity. */
const maxRemembered = 256 * 1024

/** After that long, and then each time again, a recovery says how far it has come. */
const progressEach = 10

/** A database that is well answers a page of events within so many seconds. */
const longestQuick = 1

/** The seconds by a clock that nobody sets. */
const seconds = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e9)

/** Why the events of an entity do not give its state. */
class Unusable {
  readonly problem: string
  readonly cause: unknown
  /** Whether an event is not there any more, so that a later snapshot may do. */
  readonly isMissing: boolean
  constructor(problem: string, isMissing: boolean, cause?: unknown) {
    this.problem = problem
    this.isMissing = isMissing
    this.cause = cause
  }
}

/** A state on its way to the newest one. */
interface Progress<State> {
  state: State
  sequenceNumber: number
  timestamp: Timestamp | undefined
  readonly snapshotAt: number
  readonly remembered: RememberedCommands
  known: unknown
}

/** What has been read from the storage. */
interface Reads {
  /** Since when it has been asked for something that it has not answered. */
  since: number | undefined
  /** The seconds that it has taken for what it should answer at once. */
  slow: number
  /** How many events it has answered. */
  events: number
}

/** @internal The state of an entity from its newest usable snapshot, and the events after that. */
export const recovering = <Event, State>(
  options: RecoverOptions<Event, State>
) => {
  const { entityType, evolve, hasSnapshots, initial, journal, recoverAtMost, recoverWithin, remembered } = options
  const { inTime, lineage, stateType, store } = options
  const events = Metric.withAttributes(entityRecovered, { entity_type: entityType.name })
  const measured = measuringRecoveries(entityType.name)

  const failed = (id: string, reads: Reads, problem: string, cause?: unknown) =>
    new RecoveryFailed({ entityType: entityType.name, id, problem, events: reads.events, cause })

  const within = Duration.toSeconds(recoverWithin)
  /** The seconds that a read may take at most, where the database is well. */
  const quick = Math.min(longestQuick, within / 4)
  const note = (reads: Reads, now: number) => {
    const took = reads.since === undefined ? 0 : now - reads.since
    if (took > quick) reads.slow += took
    reads.since = undefined
  }

  /** Reads from the storage, and notes meanwhile that it does. */
  const reading = <A>(id: string, reads: Reads, read: Effect.Effect<A, StorageError>) =>
    Effect.gen(function*() {
      reads.since = yield* seconds
      const result = yield* Effect.mapError(
        read,
        (cause) => unavailable({ entityType: entityType.name, id }, false, cause)
      )
      note(reads, yield* seconds)
      return result
    })

  const emptyUnsafe = (id: string): Progress<State> => ({
    state: initial(id),
    sequenceNumber: 0,
    timestamp: undefined,
    snapshotAt: 0,
    remembered: new RememberedCommands(remembered, maxRemembered),
    known: lineage?.initial
  })

  const ofSnapshotUnsafe = (snapshot: EncodedSnapshot): Progress<State> => {
    const commands = new RememberedCommands(remembered, maxRemembered)
    const text = snapshot.metadata[commandsKey]
    if (text !== undefined) commands.decode(text)
    return {
      state: stateType.codec.decodeUnsafe(snapshot.payload),
      sequenceNumber: snapshot.sequenceNumber,
      timestamp: undefined,
      snapshotAt: snapshot.sequenceNumber,
      remembered: commands,
      known: lineage?.decode(snapshot.metadata, snapshot.sequenceNumber)
    }
  }

  /** Goes on to the last event of a page; answers why it cannot. */
  const fold = (
    progress: Progress<State>,
    persistenceId: PersistenceId,
    page: ReadonlyArray<EncodedEnvelope>
  ): Unusable | undefined => {
    for (const envelope of page) {
      const { metadata, payload, sequenceNumber } = envelope
      const expected = progress.sequenceNumber + 1
      if (sequenceNumber !== expected) {
        return new Unusable(`event ${expected} was removed, and there is no snapshot of it or a later one`, true)
      }
      if (payload === undefined) {
        return new Unusable(`event ${expected} was deleted, and there is no snapshot of it or a later one`, true)
      }
      let event: Event
      try {
        event = entityType.codec.decodeUnsafe(payload)
      } catch (cause) {
        return new Unusable(`event ${expected}, manifest '${payload.manifest}', cannot be decoded`, false, cause)
      }
      const replication = lineage?.stored(envelope)
      try {
        const place = { persistenceId, sequenceNumber }
        progress.state = evolve(
          progress.state,
          event,
          replication === undefined ? place : { ...place, ...lineage!.place(replication, true) }
        )
      } catch (cause) {
        return new Unusable(`\`evolve\` throws at event ${expected}, manifest '${payload.manifest}'`, false, cause)
      }
      progress.sequenceNumber = sequenceNumber
      progress.timestamp = envelope.timestamp
      if (replication !== undefined) progress.known = lineage!.after(progress.known, replication)
      const command = commandOf(metadata)
      if (command !== undefined) {
        progress.remembered.add({
          ...command,
          sequenceNumber,
          position: envelope.position!,
          timestamp: envelope.timestamp
        })
      }
    }
    return undefined
  }

  /** Goes on to the last event of the journal. */
  const foldAll = Effect.fnUntraced(function*(
    id: string,
    persistenceId: PersistenceId,
    reads: Reads,
    progress: Progress<State>,
    first?: ReadonlyArray<EncodedEnvelope>
  ) {
    // what was read in vain, before the snapshot was looked for, is not part of it
    const before = reads.events
    let page = first ?? []
    let told = yield* seconds
    for (let isFirst = first !== undefined;; isFirst = false) {
      if (!isFirst) {
        const next = (progress.sequenceNumber + 1) as SequenceNumber
        // with one more than there may be, which tells that there are too many
        const limit = Math.min(pageSize, recoverAtMost - (reads.events - before) + 1)
        page = yield* reading(id, reads, journal.entity(persistenceId, next, last, limit))
        // what is left of a page before it is of no use any more
        if (page.length === 0) return undefined
      }
      reads.events += page.length
      yield* Metric.update(events, page.length)
      const unusable = fold(progress, persistenceId, page)
      if (reads.events - before > recoverAtMost && unusable?.isMissing !== true) {
        return new Unusable(
          `it takes more than ${recoverAtMost} events: save snapshots, or raise \`recoverAtMost\``,
          false
        )
      }
      if (unusable !== undefined) return unusable
      const now = yield* seconds
      if (now - told >= progressEach) {
        told = now
        yield* Effect.logInfo(
          `Recovers ${persistenceId}: ${reads.events} events were read so far, up to number ${progress.sequenceNumber}`
        )
      }
    }
  })

  /** The newest snapshot that can be read and is of the events of this journal, and the first of them from there. */
  const fromSnapshot = Effect.fnUntraced(function*(id: string, persistenceId: PersistenceId, reads: Reads) {
    const wrong: Array<number> = []
    let maxSequenceNumber: number | undefined
    while (true) {
      const found = yield* reading(
        id,
        reads,
        store.load(persistenceId, maxSequenceNumber === undefined ? {} : { maxSequenceNumber })
      )
      if (Option.isNone(found)) return { progress: undefined, first: undefined, wrong }
      const snapshot = found.value
      const { sequenceNumber } = snapshot
      maxSequenceNumber = sequenceNumber - 1
      const passOver = (problem: string, cause?: unknown) =>
        Effect.logWarning(
          `The snapshot of ${persistenceId} after event ${sequenceNumber} is passed over, as ${problem}`,
          ...(cause === undefined ? [] : [cause])
        )
      let progress: Progress<State>
      try {
        progress = ofSnapshotUnsafe(snapshot)
      } catch (cause) {
        yield* passOver("it cannot be read. The state is computed from an older one, or from all events", cause)
        continue
      }
      // with the last of the events that it includes, which tells whether it is of this journal
      const page = yield* reading(id, reads, journal.entity(persistenceId, sequenceNumber, last, pageSize))
      const [event] = page
      if (event === undefined) {
        wrong.push(sequenceNumber)
        yield* passOver("the journal has no such event: a backup was restored, or it is another journal")
        continue
      }
      const taken = snapshot.metadata[eventKey]
      // it was not saved by an entity, so that it knows of no commands
      if (taken === undefined) progress.remembered.forget(event.timestamp)
      if (event.sequenceNumber === sequenceNumber) {
        if (taken !== undefined && taken !== String(event.timestamp)) {
          wrong.push(sequenceNumber)
          yield* passOver(
            "the journal has another event in that place: a backup was restored, or it is another journal"
          )
          continue
        }
        progress.timestamp = event.timestamp
        return { progress, first: page.slice(1), wrong }
      }
      return { progress, first: page, wrong }
    }
  })

  /** An entity that has events from before it had a lineage is not to begin anew as if there were none. */
  const refuseEarlier = Effect.fnUntraced(function*(id: string, persistenceId: PersistenceId, reads: Reads) {
    const earlier = PersistenceIds.make(entityType.name, id)
    const [event] = yield* reading(id, reads, journal.entity(earlier, first, last, 1))
    // what was emptied is not needed any more
    if (event?.payload !== undefined) {
      return yield* failed(
        id,
        reads,
        `it has events as '${earlier}', from before it was replicated, and none as '${persistenceId}': append them there first, in one replica`
      )
    }
  })

  const recover = Effect.fnUntraced(function*(
    id: string,
    persistenceId: PersistenceId,
    reads: Reads
  ): Effect.fn.Return<HeldEvents<State>, RecoveryFailed | JournalUnavailable> {
    let progress: Progress<State> | undefined
    let first: ReadonlyArray<EncodedEnvelope> | undefined
    let wrongSnapshots = new Set<number>()
    const useSnapshot = Effect.map(fromSnapshot(id, persistenceId, reads), (found) => {
      progress = found.progress
      first = found.first
      wrongSnapshots = new Set(found.wrong)
    })
    const start = Effect.try({
      try: () => emptyUnsafe(id),
      catch: (cause) => failed(id, reads, "`initial` throws", cause)
    })
    if (hasSnapshots) yield* useSnapshot
    let current = progress ?? (yield* start)
    let unusable = yield* foldAll(id, persistenceId, reads, current, first)
    if (unusable?.isMissing === true && !hasSnapshots) {
      yield* useSnapshot
      if (progress !== undefined) {
        current = progress
        unusable = yield* foldAll(id, persistenceId, reads, current, first)
      }
    }
    if (unusable !== undefined) return yield* failed(id, reads, unusable.problem, unusable.cause)
    const { known, remembered, sequenceNumber, snapshotAt, state, timestamp } = current
    if (lineage !== undefined && sequenceNumber === 0) yield* refuseEarlier(id, persistenceId, reads)
    return { id, persistenceId, state, sequenceNumber, timestamp, snapshotAt, wrongSnapshots, remembered, known }
  })

  const tooSlow = (id: string, reads: Reads) =>
    Effect.flatMap(seconds, (now): Effect.Effect<never, RecoveryFailed | JournalUnavailable> => {
      note(reads, now)
      // where most of the time is that of slow reads, it is the database that is slow, and not the entity that is large
      return Effect.fail(
        reads.slow > within / 2
          ? unanswered({ entityType: entityType.name, id }, false, recoverWithin)
          : failed(
            id,
            reads,
            `it takes longer than ${Duration.format(recoverWithin)}: save snapshots, or raise \`recoverWithin\``
          )
      )
    })

  return (
    id: string,
    persistenceId: PersistenceId
  ): Effect.Effect<HeldEvents<State>, RecoveryFailed | JournalUnavailable> =>
    Effect.suspend(() => {
      const reads: Reads = { since: undefined, slow: 0, events: 0 }
      return Effect.flatMap(
        measured(inTime(recover(id, persistenceId, reads), recoverWithin)),
        (exit): Effect.Effect<HeldEvents<State>, RecoveryFailed | JournalUnavailable> => exit ?? tooSlow(id, reads)
      )
    })
}
