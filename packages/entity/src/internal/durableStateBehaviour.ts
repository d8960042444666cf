import type { ChangeRequest } from "@sluice/core/DurableStateStore"
import { DurableStateStore, Revision, RevisionConflict } from "@sluice/core/DurableStateStore"
import type { EntityType } from "@sluice/core/EntityType"
import type { Metadata } from "@sluice/core/Envelope"
import { Journal } from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { Position } from "@sluice/core/Position"
import type { SequenceNumber } from "@sluice/core/SequenceNumber"
import type { StateType } from "@sluice/core/StateType"
import type { Timestamp } from "@sluice/core/Timestamp"
import { withTraceContext } from "@sluice/core/Tracing"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Scope from "effect/Scope"
import { type Behaviour, type Command, type Persisted, type Rejected, Stale } from "../Behaviour.ts"
import type * as Decision from "../Decision.ts"
import { type DecisionFailed, InvalidCommand, InvalidDecision, RecoveryFailed } from "../EntityError.ts"
import { makeCommandMemory } from "./commandMemory.ts"
import { type About, computing, encoding, makeDecisions, unwritten } from "./deciding.ts"
import { entityIdProblem } from "./ids.ts"
import { makeInTime, readInTime, writeInTime } from "./inTime.ts"
import { measuringRecoveries } from "./measuringRecoveries.ts"
import { type CommandOfEvent, commandsKey } from "./metadataKeys.ts"
import { RememberedCommands } from "./rememberedCommands.ts"

/** @internal What `DurableState.make` was told, with what it was not told. */
export interface Definition<in out State, in out Event> {
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
        readonly revision: number
        readonly commandId: string | undefined
      }) => unknown
    >
  >
  readonly tags: (state: State) => ReadonlyArray<string>
  readonly changeEvent:
    | readonly [
      entityType: EntityType<Event>,
      event: (change: {
        readonly id: string
        readonly before: State
        readonly after: Option.Option<State>
        readonly command: any
      }) => Event | undefined
    ]
    | undefined
  readonly decideWithin: Duration.Duration
  readonly remembered: number
}

/** @internal What is held of a durable state. */
export interface HeldState<out State> {
  readonly id: string
  readonly persistenceId: PersistenceId.PersistenceId
  readonly state: State
  readonly revision: Revision
  /** Whether there is a state: otherwise this is the one at first. */
  readonly isStored: boolean
  /** It is never changed: each command makes another. */
  readonly remembered: RememberedCommands
}

/** What was decided, and may be persisted. */
type Decided<State> =
  | Rejected
  | {
    readonly _tag: "Accepted"
    readonly state: State
    readonly reply: unknown
    readonly after: ReadonlyArray<Decision.After<State, any>>
    readonly change: Change | undefined
    /** What is to be remembered of the command, if it has an id. */
    readonly command: CommandOfEvent | undefined
  }

/** What replaces the state, but for the commands that are remembered. */
type Change = Pick<ChangeRequest, "payload" | "tags" | "event">

/** So many characters of commands and replies are remembered of a state, as each change writes all of them. */
const maxRemembered = 16 * 1024

/** How long the database may take to answer what the state is. */
const getWithin = Duration.seconds(30)

const none = Revision.make(0)

/** Where a change stands is known once it is written. */
const notYet = 0 as Position & Timestamp

const sequenceNumberOf = (revision: number): SequenceNumber => revision as SequenceNumber

/** @internal How a durable state is run. */
export const durableStateBehaviour = <State, Event>(
  definition: Definition<State, Event>
): Effect.Effect<
  Behaviour<HeldState<State>, Decided<State>>,
  never,
  Journal | DurableStateStore | Scope.Scope
> =>
  Effect.gen(function*() {
    const { changeEvent, commands, decide, decideWithin, initial, stateType, tags } = definition
    const { codec, name } = stateType
    const journal = yield* Journal
    const store = yield* DurableStateStore
    const crypto = yield* WebCrypto
    const memory = makeCommandMemory(commands, journal.identity, "states")
    const inTime = yield* makeInTime
    const { deciding, runAfter } = yield* makeDecisions(inTime, decideWithin)
    const measured = measuringRecoveries(name)

    const aboutOf = ({ id }: HeldState<State>, { tag }: Command): About => ({ entityType: name, id, command: tag })
    const emptyMemory = () => new RememberedCommands(definition.remembered, maxRemembered)
    const copyOf = (remembered: RememberedCommands) => {
      const copy = emptyMemory()
      const text = remembered.encode()
      if (text !== undefined) copy.decode(text)
      return copy
    }
    const recoveryFailed = (id: string, problem: string) => (cause: unknown) =>
      new RecoveryFailed({ entityType: name, id, problem, cause })
    const first = (id: string) =>
      Effect.try({ try: () => initial(id), catch: recoveryFailed(id, "the function for its state at first throws") })

    const get = (id: string, persistenceId: PersistenceId.PersistenceId) =>
      readInTime(inTime, { entityType: name, id }, store.get(persistenceId), getWithin)

    const accepted = Effect.fnUntraced(function*(
      held: HeldState<State>,
      command: Command,
      decision: Decision.Persist<Decision.Change<State>, State, unknown, any>
    ): Effect.fn.Return<Decided<State>, DecisionFailed | InvalidDecision> {
      const about = aboutOf(held, command)
      const { id, isStored, state: before } = held
      const changed = yield* changeOf(about, decision.events)
      const isUpdated = changed?._tag === "Updated"
      const state = changed === undefined
        ? before
        : isUpdated
        ? changed.state
        : yield* computing(about, "initial", () => initial(id))
      const reply = yield* computing(about, "reply", () => decision.reply(state))
      const { after } = decision
      // what is not there cannot be deleted
      if (changed === undefined || !isUpdated && !isStored) {
        yield* memory.keep(about, command, reply, 0)
        return { _tag: "Accepted", state, reply, after, change: undefined, command: undefined }
      }
      // whoever has chosen a state by its tags is to hear of its end
      const stateTags = yield* computing(about, "tags", () => tags(isUpdated ? state : before))
      const payload = isUpdated
        ? yield* encoding(about, "the state", () => codec.encodeUnsafe(state))
        : undefined
      const event = changeEvent && (yield* computing(about, "changeEvent", () =>
        changeEvent[1]({
          id,
          before,
          after: isUpdated ? Option.some(state) : Option.none(),
          command: { tag: command.tag, payload: command.payload }
        })))
      const change: Change = {
        payload,
        tags: stateTags,
        event: changeEvent === undefined || event === undefined ? undefined : {
          id: crypto.randomUUID(),
          payload: yield* encoding(about, "the change event", () => changeEvent[0].codec.encodeUnsafe(event)),
          tags: stateTags,
          metadata: yield* withTraceContext(command.metadata ?? {})
        }
      }
      return { _tag: "Accepted", state, reply, after, change, command: yield* memory.keep(about, command, reply, 1) }
    })

    /** Writes a change, with what is remembered from then on. */
    const write = (
      { persistenceId, remembered, revision }: HeldState<State>,
      about: About,
      metadata: Metadata | undefined,
      change: Change,
      command: CommandOfEvent | undefined
    ) => {
      const next = copyOf(remembered)
      if (command !== undefined) {
        next.add({ ...command, sequenceNumber: sequenceNumberOf(revision + 1), position: notYet, timestamp: notYet })
      }
      const text = next.encode()
      const request: ChangeRequest = {
        ...change,
        entityType: name,
        persistenceId,
        expected: revision,
        metadata: { ...metadata, ...text === undefined ? undefined : { [commandsKey]: text } }
      }
      return writeInTime(inTime, about, journal.inTransaction, changing(journal, store, request)).pipe(
        Effect.map((receipt) => {
          const { position, sequenceNumber, timestamp } = receipt
          if (command !== undefined) next.add({ ...command, sequenceNumber, position, timestamp })
          return { receipt, remembered: next }
        }),
        Effect.mapError((error) =>
          error._tag === "RevisionConflict" || error._tag === "SequenceConflict"
            ? new Stale({ cause: error })
            : error._tag === "JournalUnavailable"
            ? error
            : unwritten(about, error)
        )
      )
    }

    return {
      name,
      inTransaction: journal.inTransaction,
      state: ({ state }) => state,
      recover: Effect.fnUntraced(function*(id) {
        const problem = entityIdProblem(name, id)
        if (problem !== undefined) {
          return yield* new InvalidCommand({ entityType: name, id, command: "", problem })
        }
        const persistenceId = PersistenceId.make(name, id)
        const found = yield* measured(get(id, persistenceId))
        const remembered = emptyMemory()
        if (Option.isNone(found)) {
          return { id, persistenceId, state: yield* first(id), revision: none, isStored: false, remembered }
        }
        const { metadata, payload, position, revision, timestamp } = found.value
        const text = metadata[commandsKey]
        if (text !== undefined) {
          yield* Effect.try({
            try: () => {
              remembered.decode(text)
              // where the last command's change stands was not known when it was written: here, or before what somebody else has made of the state since, and
              // whoever has come here has come there
              const { newest } = remembered
              if (newest?.position === notYet) remembered.add({ ...newest, position, timestamp })
            },
            catch: recoveryFailed(id, `the commands that revision ${revision} remembers cannot be read`)
          })
        }
        const state = payload === undefined ? yield* first(id) : yield* Effect.try({
          try: () => codec.decodeUnsafe(payload),
          catch: recoveryFailed(id, `revision ${revision}, manifest '${payload.manifest}', cannot be decoded`)
        })
        return { id, persistenceId, state, revision, isStored: payload !== undefined, remembered }
      }),
      forgottenAt: ({ remembered }) => remembered.forgottenAt,
      rememberedBytes: ({ remembered }) => remembered.size,
      remembered: (held, command) =>
        memory.answer(aboutOf(held, command), held.persistenceId, held.remembered, command),
      decide: (held, command) => {
        const about = aboutOf(held, command)
        const { id, revision, state } = held
        const { commandId, payload, tag } = command
        return Effect.flatMapEager(
          deciding(about, () => decide[tag]!({ id, payload, state, revision, commandId })),
          (decided): Effect.Effect<Decided<State>, DecisionFailed | InvalidDecision> =>
            decided._tag === "Rejected" ? memory.reject(about, decided) : accepted(held, command, decided.decision)
        )
      },
      persist: Effect.fnUntraced(function*(held, command, decided) {
        if (decided._tag === "Rejected") return { held, answer: decided, after: undefined }
        const about = aboutOf(held, command)
        const { after, change, reply, state } = decided
        const written = change && (yield* write(held, about, command.metadata, change, decided.command))
        const receipt = written?.receipt
        const persisted: Persisted<HeldState<State>> = {
          held: written === undefined ? held : {
            ...held,
            state,
            revision: written.receipt.sequenceNumber as number as Revision,
            isStored: change!.payload !== undefined,
            remembered: written.remembered
          },
          answer: { _tag: "Replied", reply, receipt },
          after: after.length === 0
            ? undefined
            : journal.afterCommit(runAfter(about, after, state, receipt))
        }
        return persisted
      }),
      verify: ({ id, persistenceId, revision: expected }) =>
        Effect.flatMap(get(id, persistenceId), (found) => {
          const actual = Option.isNone(found) ? none : found.value.revision
          return actual === expected
            ? Effect.void
            : new Stale({ cause: new RevisionConflict({ persistenceId, expected, actual }) })
        })
    }
  })

/** What a decision changes, if it changes anything. Types rule out the rest, but a program may ignore them. */
const changeOf = <State>(
  about: About,
  changes: ReadonlyArray<Decision.Change<State>>
): Effect.Effect<Decision.Change<State> | undefined, InvalidDecision> => {
  const [change] = changes
  return !Array.isArray(changes) || changes.length > 1 ||
      change !== undefined && change._tag !== "Updated" && change._tag !== "Removed"
    ? Effect.fail(
      new InvalidDecision({ ...about, problem: "a durable state is updated or removed, and has no events" })
    )
    : Effect.succeed(change)
}

/**
 * Changes the state if its revision is the expected one. With 0, the store is content as well where the state was made and deleted meanwhile: then the
 * change is undone.
 */
const changing = (journal: Journal["Service"], store: DurableStateStore["Service"], request: ChangeRequest) => {
  const { expected, persistenceId } = request
  const changed = store.change(request)
  if (expected !== none) return changed
  return journal.transaction(Effect.flatMap(changed, (receipt) => {
    const actual = Revision.make(receipt.sequenceNumber - 1)
    return actual === none
      ? Effect.succeed(receipt)
      : Effect.fail(new RevisionConflict({ persistenceId, expected, actual }))
  }))
}
