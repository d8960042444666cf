import type { EntityType } from "@sluice/core/EntityType"
import type { Metadata } from "@sluice/core/Envelope"
import * as Journal from "@sluice/core/Journal"
import { SequenceConflict } from "@sluice/core/JournalError"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { Receipt } from "@sluice/core/Receipt"
import type * as SequenceNumber from "@sluice/core/SequenceNumber"
import { SnapshotStore } from "@sluice/core/SnapshotStore"
import type { StateType } from "@sluice/core/StateType"
import { traced, withTraceContext } from "@sluice/core/Tracing"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import { WebCrypto } from "effect/crypto/WebCrypto"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Scope from "effect/Scope"
import { type Behaviour, type Command, type Persisted, type Rejected, Stale } from "../Behaviour.ts"
import type * as Decision from "../Decision.ts"
import { DecisionFailed, InvalidCommand, InvalidDecision, JournalUnavailable } from "../EntityError.ts"
import type { SnapshotPolicy } from "../SnapshotPolicy.ts"
import { makeCommandMemory } from "./commandMemory.ts"
import { type About, computing, deciding, encoding, ofDecisions, runAfter, unwritten } from "./deciding.ts"
import { entityIdProblem } from "./ids.ts"
import { readInTime } from "./inTime.ts"
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
}

const noMetadata: Metadata = {}

/** What was decided, and may be persisted. */
type Decided<Event, State> =
  | Rejected
  | {
    readonly _tag: "Accepted"
    readonly events: ReadonlyArray<Event>
    /** The tags of each event. */
    readonly tags: ReadonlyArray<ReadonlyArray<string>>
    readonly state: State
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
    const { decide, decideWithin, entityType, evolve, maxEvents, snapshots, stateType, tags } = definition
    const journal = yield* Journal.Journal
    const crypto = yield* WebCrypto
    const memory = makeCommandMemory(definition.commands, journal.identity, "events")
    const recover = recovering({
      ...definition,
      journal,
      store: yield* SnapshotStore,
      hasSnapshots: snapshots !== undefined
    })
    const saver = snapshots && (yield* makeSnapshotSaver(stateType, snapshots.retention))
    const withServices = yield* ofDecisions

    const aboutOf = ({ id }: HeldEvents<State>, { tag }: Command): About => ({
      entityType: entityType.name,
      id,
      command: tag
    })

    /** The state after the events, and the tags of each. */
    const evolved = (held: HeldEvents<State>, about: About, events: ReadonlyArray<Event>) =>
      Effect.suspend(() => {
        let { sequenceNumber, state } = held
        const { persistenceId } = held
        const tagged: Array<ReadonlyArray<string>> = []
        for (const event of events) {
          sequenceNumber++
          try {
            state = evolve(state, event, { persistenceId, sequenceNumber })
          } catch (cause) {
            return Effect.fail(new DecisionFailed({ ...about, problem: "`evolve` throws", cause }))
          }
          try {
            tagged.push(tags(state, event))
          } catch (cause) {
            return Effect.fail(new DecisionFailed({ ...about, problem: "`tags` throws", cause }))
          }
        }
        return Effect.succeed({ state, tags: tagged })
      })

    const accepted = Effect.fnUntraced(function*(
      held: HeldEvents<State>,
      command: Command,
      decision: Decision.Persist<Event, State, unknown, any>
    ): Effect.fn.Return<Decided<Event, State>, DecisionFailed | InvalidDecision> {
      const about = aboutOf(held, command)
      const { after, events } = decision
      if (!Array.isArray(events)) {
        return yield* new InvalidDecision({ ...about, problem: "its events are no array" })
      }
      if (events.length > maxEvents) {
        const problem = `it has ${events.length} events, more than \`maxEvents\`, which is ${maxEvents}`
        return yield* new InvalidDecision({ ...about, problem })
      }
      const { state, tags } = yield* evolved(held, about, events)
      const reply = yield* computing(about, "reply", () => decision.reply(state))
      const kept = yield* memory.keep(about, command, reply, events.length)
      return { _tag: "Accepted", events, tags, state, reply, command: kept, after }
    })

    const append = (
      held: HeldEvents<State>,
      about: About,
      decided: Extract<Decided<Event, State>, { readonly _tag: "Accepted" }>,
      events: NonEmptyReadonlyArray<Event>
    ): Effect.Effect<Receipt, Stale | InvalidDecision | JournalUnavailable> => {
      const { command, tags } = decided
      const { id, persistenceId, sequenceNumber: expected } = held
      const { name } = entityType
      const last = events.length - 1
      return traced(
        { name: "sluice.append", attributes: { entityType: name, id } },
        Effect.gen(function*() {
          const common = yield* withTraceContext(noMetadata)
          const encoded = yield* encoding(about, "an event", () =>
            Arr.map(events, (event, index): Journal.NewEvent => ({
              id: crypto.randomUUID(),
              payload: entityType.codec.encodeUnsafe(event),
              tags: tags[index]!,
              metadata: command !== undefined && index === last ? { ...common, ...metadataOf(command) } : common
            })))
          // by the journal itself, as metadata of Sluice's own is refused elsewhere
          return yield* journal.append({ entityType: name, persistenceId, expected, events: encoded, recheck: false })
            .pipe(
              Effect.mapError((error) =>
                error._tag === "SequenceConflict" ? new Stale({ cause: error }) : unwritten(about, error)
              )
            )
        })
      )
    }

    /** Begins to save a snapshot once the events are committed, and answers whether it has. */
    const snapshot = (held: HeldEvents<State>): Effect.Effect<boolean> => {
      if (saver === undefined) return Effect.succeed(false)
      const { persistenceId, sequenceNumber, snapshotAt, state, timestamp } = held
      return Effect.suspend(() => {
        if (!snapshots!.isDue({ state, sequenceNumber, since: sequenceNumber - snapshotAt })) {
          return Effect.succeed(false)
        }
        const commands = held.remembered.encode()
        let hasBegun = false
        const begin = Effect.sync(() => {
          hasBegun = saver.beginUnsafe({
            id: held.id,
            persistenceId,
            sequenceNumber: sequenceNumber as SequenceNumber.SequenceNumber,
            state,
            metadata: {
              [eventKey]: String(timestamp),
              ...(commands === undefined ? undefined : { [commandsKey]: commands })
            },
            wrong: held.wrongSnapshots
          })
        })
        return Effect.map(journal.afterCommit(begin), () => hasBegun)
      }).pipe(
        Effect.catchCause((cause) =>
          Effect.as(Effect.logWarning(`The snapshot policy of ${persistenceId} throws`, cause), false)
        )
      )
    }

    return {
      name: entityType.name,
      inTransaction: journal.inTransaction,
      state: (held) => held.state,
      recover: (id) => {
        const problem = entityIdProblem(entityType.name, id)
        return problem === undefined
          ? recover(id, PersistenceId.make(entityType.name, id))
          : Effect.fail(new InvalidCommand({ entityType: entityType.name, id, command: "", problem }))
      },
      forgottenAt: ({ remembered }) => remembered.forgottenAt,
      remembered: (held, command) =>
        memory.answer(aboutOf(held, command), held.persistenceId, held.remembered, command),
      decide: (held, command) => {
        const about = aboutOf(held, command)
        const { id, sequenceNumber, state } = held
        const { commandId, payload, tag } = command
        return Effect.flatMap(
          withServices(
            deciding(about, decideWithin, () => decide[tag]!({ id, payload, state, sequenceNumber, commandId }))
          ),
          (decided): Effect.Effect<Decided<Event, State>, DecisionFailed | InvalidDecision> =>
            decided._tag === "Rejected" ? memory.reject(about, decided) : accepted(held, command, decided.decision)
        )
      },
      persist: Effect.fnUntraced(function*(held, command, decided) {
        if (decided._tag === "Rejected") return { held, answer: decided, after: undefined }
        const about = aboutOf(held, command)
        const { after, events, reply, state } = decided
        const persisted = (held: HeldEvents<State>, receipt: Receipt | undefined): Persisted<HeldEvents<State>> => ({
          held,
          answer: { _tag: "Replied", reply, receipt },
          after: after.length === 0
            ? undefined
            : journal.afterCommit(withServices(runAfter(about, decideWithin, after, state, receipt)))
        })
        if (!Arr.isReadonlyArrayNonEmpty(events)) return persisted(held, undefined)
        const receipt = yield* append(held, about, decided, events)
        const { position, sequenceNumber, timestamp } = receipt
        if (decided.command !== undefined) {
          held.remembered.add({ ...decided.command, sequenceNumber, position, timestamp })
        }
        const appended = { ...held, state, sequenceNumber, timestamp }
        return persisted(
          (yield* snapshot(appended)) ? { ...appended, snapshotAt: sequenceNumber, wrongSnapshots: [] } : appended,
          receipt
        )
      }),
      verify: ({ id, persistenceId, sequenceNumber }) => {
        const next = (sequenceNumber + 1) as SequenceNumber.SequenceNumber
        const about = { entityType: entityType.name, id }
        return readInTime(about, journal.entity(persistenceId, next, last, 1), definition.recoverWithin).pipe(
          Effect.catchTag(
            "StorageError",
            (cause) => Effect.fail(new JournalUnavailable({ ...about, isUnknown: false, cause }))
          ),
          Effect.flatMap(([event]) =>
            event === undefined ? Effect.void : new Stale({
              cause: new SequenceConflict({ persistenceId, expected: sequenceNumber, actual: event.sequenceNumber })
            })
          )
        )
      }
    }
  })
