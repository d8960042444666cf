import type { EntityType } from "@sluice/core/EntityType"
import type { Metadata } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"
import { SequenceConflict } from "@sluice/core/JournalError"
import type { Payload } from "@sluice/core/Payload"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { Receipt } from "@sluice/core/Receipt"
import type { ReplicationMetadata } from "@sluice/core/ReplicationMetadata"
import type * as SequenceNumber from "@sluice/core/SequenceNumber"
import { SnapshotStore } from "@sluice/core/SnapshotStore"
import type { StateType } from "@sluice/core/StateType"
import * as Timestamp from "@sluice/core/Timestamp"
import { traced, withTraceContext } from "@sluice/core/Tracing"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import { WebCrypto } from "effect/crypto/WebCrypto"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Scope from "effect/Scope"
import { type Behaviour, type Command, type Persisted, type Rejected, Stale } from "../Behaviour.ts"
import type * as Decision from "../Decision.ts"
import { DecisionFailed, InvalidCommand, InvalidDecision, type JournalUnavailable } from "../EntityError.ts"
import type { Arrived, Lineage } from "../Lineage.ts"
import type { SnapshotPolicy } from "../SnapshotPolicy.ts"
import { makeCommandMemory } from "./commandMemory.ts"
import { type About, computing, encoding, makeDecisions, unwritten } from "./deciding.ts"
import { entityIdProblem } from "./ids.ts"
import { makeInTime, readInTime, writeInTime } from "./inTime.ts"
import { type CommandOfEvent, commandsKey, eventKey, metadataOf } from "./metadataKeys.ts"
import { type HeldEvents, last, recovering } from "./recover.ts"
import { makeSnapshotSaver } from "./snapshots.ts"

/** @internal What `EventSourced.make` was told, with what it was not told. */
export interface Definition<in out Event, in out State> {
  readonly entityType: EntityType<Event>
  readonly stateType: StateType<State>
  readonly commands: ReadonlyArray<Rpc.Any>
  readonly initial: (id: string) => State
  readonly decide: Readonly<
    Record<
      string,
      (request: {
        readonly id: string
        readonly payload: any
        readonly state: State
        readonly sequenceNumber: number
        readonly commandId: string | undefined
      }) => unknown
    >
  >
  readonly evolve: (
    state: State,
    event: Event,
    place: { readonly persistenceId: PersistenceId.PersistenceId; readonly sequenceNumber: number }
  ) => State
  readonly tags: (state: State, event: Event) => ReadonlyArray<string>
  readonly snapshots: SnapshotPolicy<State> | undefined
  readonly decideWithin: Duration.Duration
  readonly recoverWithin: Duration.Duration
  readonly recoverAtMost: number
  readonly maxEvents: number
  readonly remembered: number
  /** Where some of the events may be none of the entity's own. */
  readonly lineage?: Lineage<any> | undefined
}

const noMetadata: Metadata = {}
const nothingArrived: ReadonlyArray<Arrived> = []
const noTime = Timestamp.make(0)
/** Where a database that has lost commits ends. */
const unknown = 0 as SequenceNumber.SequenceNumber

/** What has come is a part of a larger message, which would stay in memory for as long as the event does. */
const copied = (payload: Payload | undefined): Payload | undefined =>
  payload && { manifest: payload.manifest, bytes: new Uint8Array(payload.bytes) }

/** The state after the events of a decision, and what is to be stored with each of them. */
interface Evolved<out State> {
  readonly state: State
  readonly tags: ReadonlyArray<ReadonlyArray<string>>
  readonly known: unknown
  readonly replications: ReadonlyArray<ReplicationMetadata>
}

/** What was decided, and may be persisted. */
type Decided<Event, State> =
  | Rejected
  | {
    readonly _tag: "Accepted"
    readonly events: ReadonlyArray<Event>
    /** The tags of each event. */
    readonly tags: ReadonlyArray<ReadonlyArray<string>>
    /** Where each comes from, of an entity with a lineage. */
    readonly replications: ReadonlyArray<ReplicationMetadata>
    /** The events as they have come, if they were written elsewhere. */
    readonly arrived: ReadonlyArray<Arrived>
    readonly state: State
    readonly known: unknown
    readonly reply: unknown
    /** What the last event says of the command, if that has an id. */
    readonly command: CommandOfEvent | undefined
    readonly after: ReadonlyArray<Decision.After<State, any>>
  }

/** @internal How an event sourced entity is run. */
export const eventSourcedBehaviour = <Event, State>(
  definition: Definition<Event, State>
): Effect.Effect<
  Behaviour<HeldEvents<State>, Decided<Event, State>>,
  never,
  Journal.Journal | SnapshotStore | Scope.Scope
> =>
  Effect.gen(function*() {
    const { decideWithin, entityType, evolve, lineage, maxEvents, snapshots, stateType, tags } = definition
    const journal = yield* Journal.Journal
    const crypto = yield* WebCrypto
    const clock = yield* Clock.Clock
    const commands = lineage === undefined ? definition.commands : [...definition.commands, lineage.arrival]
    const memory = makeCommandMemory(commands, journal.identity, "events")
    const isArrival = ({ tag }: Command) => lineage !== undefined && tag === lineage.arrival._tag
    /** In microseconds. Only where events come from is told by it. */
    const now = () => Timestamp.fromMillis(clock.currentTimeMillisUnsafe())
    const inTime = yield* makeInTime
    const recover = recovering({
      ...definition,
      inTime,
      journal,
      store: yield* SnapshotStore,
      hasSnapshots: snapshots !== undefined
    })
    const saver = snapshots && (yield* makeSnapshotSaver(stateType, snapshots.retention, inTime))
    const { deciding, runAfter } = yield* makeDecisions(inTime, decideWithin)

    const aboutOf = ({ id }: HeldEvents<State>, { tag }: Command): About => ({
      entityType: entityType.name,
      id,
      command: tag
    })

    /** The state after the events, and what is to be stored with each. */
    const evolved = (
      held: HeldEvents<State>,
      about: About,
      events: ReadonlyArray<Event>,
      arrived: ReadonlyArray<Arrived>,
      time: Timestamp.Timestamp
    ): Effect.Effect<Evolved<State>, DecisionFailed> => {
      let { known, sequenceNumber, state } = held
      const { persistenceId } = held
      const tagged: Array<ReadonlyArray<string>> = []
      const replications: Array<ReplicationMetadata> = []
      for (const [index, event] of events.entries()) {
        sequenceNumber++
        const next = arrived[index]?.replication ??
          lineage?.written(known, sequenceNumber as SequenceNumber.SequenceNumber, time)
        try {
          const place = { persistenceId, sequenceNumber }
          state = evolve(
            state,
            event,
            next === undefined ? place : { ...place, ...lineage!.place(next, false) }
          )
        } catch (cause) {
          return Effect.fail(new DecisionFailed({ ...about, problem: "`evolve` throws", cause }))
        }
        try {
          tagged.push(tags(state, event))
        } catch (cause) {
          return Effect.fail(new DecisionFailed({ ...about, problem: "`tags` throws", cause }))
        }
        if (next === undefined) continue
        known = lineage!.after(known, next)
        replications.push(next)
      }
      return Effect.succeed({ state, tags: tagged, known, replications })
    }

    /** What is harmless to repeat is not remembered. */
    const withoutId = (command: Command): Command => isArrival(command) ? { ...command, commandId: undefined } : command

    const accepted = (
      held: HeldEvents<State>,
      about: About,
      command: Command,
      { after, events: decided, reply: replyOf }: Decision.Persist<Event, State, unknown, any>,
      time: Timestamp.Timestamp
    ): Effect.Effect<Decided<Event, State>, DecisionFailed | InvalidDecision> => {
      if (!Array.isArray(decided)) {
        return Effect.fail(new InvalidDecision({ ...about, problem: "its events are no array" }))
      }
      if (decided.length > maxEvents) {
        const problem = `it has ${decided.length} events, more than \`maxEvents\`, which is ${maxEvents}`
        return Effect.fail(new InvalidDecision({ ...about, problem }))
      }
      const arrived = isArrival(command) ? decided as ReadonlyArray<Arrived> : nothingArrived
      const events = isArrival(command) ? arrived.map(({ event }) => event as Event) : decided
      return Effect.flatMapEager(evolved(held, about, events, arrived, time), (evolved) =>
        Effect.flatMapEager(
          computing(about, "reply", () => replyOf(evolved.state)),
          (reply) =>
            Effect.mapEager(
              memory.keep(about, withoutId(command), reply, events.length),
              (command): Decided<Event, State> => ({
                _tag: "Accepted",
                events,
                arrived,
                ...evolved,
                reply,
                command,
                after
              })
            )
        ))
    }

    const append = (
      held: HeldEvents<State>,
      about: About,
      metadata: Metadata | undefined,
      decided: Extract<Decided<Event, State>, { readonly _tag: "Accepted" }>,
      events: NonEmptyReadonlyArray<Event>
    ): Effect.Effect<Receipt, Stale | InvalidDecision | JournalUnavailable> => {
      const { arrived, command, replications, tags } = decided
      const { id, persistenceId, sequenceNumber: expected } = held
      const { name } = entityType
      const last = events.length - 1
      return traced(
        { name: "sluice.append", attributes: { entityType: name, id } },
        Effect.flatMap(withTraceContext(metadata ?? noMetadata), (common) =>
          Effect.flatMapEager(
            encoding(about, "an event", () =>
              Arr.map(events, (event, index): Journal.NewEvent => ({
                id: crypto.randomUUID(),
                payload: copied(arrived[index]?.payload) ?? entityType.codec.encodeUnsafe(event),
                tags: tags[index]!,
                metadata: command !== undefined && index === last
                  ? { ...common, ...metadataOf(command) }
                  : arrived.length === 0
                  ? common
                  : { ...common, ...arrived[index]!.metadata },
                replication: replications[index]
              }))),
            (encoded) => {
              // by the journal itself, as metadata of Sluice's own is refused elsewhere
              const request = { entityType: name, persistenceId, expected, events: encoded, recheck: false }
              const append = journal.append(request)
              return Effect.mapError(writeInTime(inTime, about, journal.inTransaction, append), (error) =>
                error._tag === "SequenceConflict"
                  ? new Stale({ cause: error })
                  : error._tag === "JournalUnavailable"
                  ? error
                  : unwritten(about, error))
            }
          ))
      )
    }

    /** What comes again is known by what is held. A database that has lost commits does not have that any more, and is to be given it anew. */
    const stillThere = ({ id, persistenceId, sequenceNumber, timestamp }: HeldEvents<State>) => {
      if (sequenceNumber === 0) return Effect.void
      const number = sequenceNumber as SequenceNumber.SequenceNumber
      const about = { entityType: entityType.name, id }
      const has = Journal.has(journal, { persistenceId, sequenceNumber: number, timestamp })
      return Effect.flatMap(
        readInTime(inTime, about, has, definition.recoverWithin),
        (has) =>
          has
            ? Effect.void
            : Effect.fail(
              new Stale({ cause: new SequenceConflict({ persistenceId, expected: number, actual: unknown }) })
            )
      )
    }

    /** Begins to save a snapshot once the events are committed, and answers whether it has. */
    const snapshot = (held: HeldEvents<State>): Effect.Effect<boolean> => {
      if (saver === undefined) return Effect.succeed(false)
      const { persistenceId, sequenceNumber, snapshotAt, state, timestamp } = held
      const failed = (cause: Cause.Cause<never>) =>
        Effect.as(Effect.logWarning(`The snapshot policy of ${persistenceId} throws`, cause), false)
      try {
        if (!snapshots!.isDue({ state, sequenceNumber, since: sequenceNumber - snapshotAt })) {
          return Effect.succeed(false)
        }
      } catch (cause) {
        return failed(Cause.die(cause))
      }
      let hasBegun = false
      const begin = Effect.sync(() => {
        hasBegun = saver.beginUnsafe({
          id: PersistenceId.entityId(persistenceId),
          persistenceId,
          sequenceNumber: sequenceNumber as SequenceNumber.SequenceNumber,
          state,
          metadata: () => {
            const commands = held.remembered.encode()
            return {
              [eventKey]: String(timestamp),
              ...(commands === undefined ? undefined : { [commandsKey]: commands }),
              ...lineage?.encode(held.known)
            }
          },
          wrong: held.wrongSnapshots
        })
      })
      return Effect.catchCause(Effect.map(journal.afterCommit(begin), () => hasBegun), failed)
    }

    return {
      name: entityType.name,
      inTransaction: journal.inTransaction,
      state: (held) => held.state,
      recover: (id) => {
        const problem = entityIdProblem(entityType.name, id) ?? lineage?.idProblem(id)
        return problem === undefined
          ? recover(id, PersistenceId.make(entityType.name, lineage === undefined ? id : lineage.journalId(id)))
          : Effect.fail(new InvalidCommand({ entityType: entityType.name, id, command: "", problem }))
      },
      forgottenAt: ({ remembered }) => remembered.forgottenAt,
      rememberedBytes: ({ remembered }) => remembered.size,
      remembered: (held, command) =>
        memory.answer(aboutOf(held, command), held.persistenceId, held.remembered, withoutId(command)),
      decide: (held, command) => {
        const about = aboutOf(held, command)
        const { id, known, sequenceNumber, state } = held
        const { commandId, payload, tag } = command
        const request = { id, payload, state, sequenceNumber, commandId }
        const time = lineage === undefined ? noTime : now()
        return Effect.flatMapEager(
          deciding(about, () =>
            lineage === undefined
              ? definition.decide[tag]!(request)
              : isArrival(command)
              ? lineage.arrive(request, known, time)
              : definition.decide[tag]!({ ...request, ...lineage.request(known, time) })),
          (decided): Effect.Effect<Decided<Event, State>, DecisionFailed | InvalidDecision> =>
            decided._tag === "Rejected"
              ? memory.reject(about, decided)
              : accepted(held, about, command, decided.decision, time)
        )
      },
      persist: (held, command, decided) => {
        if (decided._tag === "Rejected") return Effect.succeed({ held, answer: decided, after: undefined })
        const about = aboutOf(held, command)
        const { after, events, known, reply, state } = decided
        const persisted = (held: HeldEvents<State>, receipt: Receipt | undefined): Persisted<HeldEvents<State>> => ({
          held,
          answer: { _tag: "Replied", reply, receipt },
          after: after.length === 0 ? undefined : journal.afterCommit(runAfter(about, after, state, receipt))
        })
        if (!Arr.isReadonlyArrayNonEmpty(events)) {
          const done = persisted(held, undefined)
          return isArrival(command) ? Effect.as(stillThere(held), done) : Effect.succeed(done)
        }
        return Effect.flatMap(append(held, about, command.metadata, decided, events), (receipt) => {
          const { position, sequenceNumber, timestamp } = receipt
          if (decided.command !== undefined) {
            held.remembered.add({ ...decided.command, sequenceNumber, position, timestamp })
          }
          const appended = { ...held, state, sequenceNumber, timestamp, known }
          return Effect.mapEager(
            snapshot(appended),
            (hasBegun) => persisted(hasBegun ? { ...appended, snapshotAt: sequenceNumber } : appended, receipt)
          )
        })
      },
      verify: ({ id, persistenceId, sequenceNumber }) => {
        const next = (sequenceNumber + 1) as SequenceNumber.SequenceNumber
        const about = { entityType: entityType.name, id }
        return Effect.flatMap(
          readInTime(inTime, about, journal.entity(persistenceId, next, last, 1), definition.recoverWithin),
          ([event]) =>
            event === undefined ? Effect.void : new Stale({
              cause: new SequenceConflict({ persistenceId, expected: sequenceNumber, actual: event.sequenceNumber })
            })
        )
      }
    }
  })
