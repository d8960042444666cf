import type { ChangeRequest, EncodedState } from "@sluice/core/DurableStateStore"
import { DurableStateStore, Revision, RevisionConflict } from "@sluice/core/DurableStateStore"
import type { EntityType } from "@sluice/core/EntityType"
import { Journal } from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { StateType } from "@sluice/core/StateType"
import type { StorageError } from "@sluice/core/StorageError"
import { WebCrypto } from "effect/crypto/WebCrypto"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import * as Option from "effect/Option"
import type * as Rpc from "effect/rpc/Rpc"
import type * as Scope from "effect/Scope"
import type { Answer, Behaviour, Persisted } from "../Behaviour.ts"
import { Stale } from "../Behaviour.ts"
import type * as Decision from "../Decision.ts"
import type { DecisionFailed, InvalidCommand } from "../EntityError.ts"
import { InvalidDecision, JournalUnavailable, RecoveryFailed } from "../EntityError.ts"
import { type AnyPersist, type Decisions, makeDeciding } from "./deciding.ts"

/** @internal What `DurableState.make` was told, with what it was not told. */
export interface Definition<in out State, in out Event> extends Decisions {
  readonly stateType: StateType<State>
  readonly commands: ReadonlyArray<Rpc.Any>
  readonly initial: (id: string) => State
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
  readonly remembered: number
}

/** @internal What is held of a durable state. */
export interface Held<out State> {
  readonly id: string
  readonly persistenceId: PersistenceId.PersistenceId
  readonly state: State
  readonly revision: Revision
  readonly isStored: boolean
}

/** @internal A decision, with what it writes. */
type Decided<State> =
  | { readonly _tag: "Answers"; readonly answer: Answer; readonly after: Effect.Effect<void> | undefined }
  | {
    readonly _tag: "Changes"
    readonly decision: AnyPersist
    readonly state: State
    readonly reply: unknown
    readonly request: ChangeRequest
  }

/** @internal How a durable state is run. */
export const durableStateBehaviour = <State, Event>(
  definition: Definition<State, Event>
): Effect.Effect<Behaviour<Held<State>, Decided<State>>, never, Journal | DurableStateStore | Scope.Scope> =>
  Effect.gen(function*() {
    const { changeEvent, initial, name, stateType, tags } = definition
    const store = yield* DurableStateStore
    const journal = yield* Journal
    const crypto = yield* WebCrypto
    const deciding = makeDeciding(definition, yield* Effect.context<any>())

    const recoveryFailed = (id: string, problem: string, cause: unknown) =>
      new RecoveryFailed({ entityType: name, id, problem, cause })
    const first = (id: string) =>
      Effect.try({
        try: () => initial(id),
        catch: (cause) => recoveryFailed(id, "the function for the state at first threw", cause)
      })
    const decoded = (id: string, { payload, revision }: EncodedState) =>
      payload === undefined ? first(id) : Effect.try({
        try: () => stateType.codec.decodeUnsafe(payload),
        catch: (cause) =>
          recoveryFailed(id, `revision ${revision}, manifest '${payload.manifest}', cannot be decoded`, cause)
      })

    return {
      name,
      state: ({ state }) => state,
      recover: (id) =>
        Effect.gen(function*() {
          const persistenceId = PersistenceId.make(name, id)
          const found = yield* Effect.mapError(store.get(persistenceId), unavailable(name, id, false))
          return {
            id,
            persistenceId,
            state: Option.isNone(found) ? yield* first(id) : yield* decoded(id, found.value),
            revision: Option.isNone(found) ? none : found.value.revision,
            isStored: Option.isSome(found) && found.value.payload !== undefined
          }
        }),
      remembered: () => Effect.succeed(undefined),
      decide: (held, command) =>
        Effect.gen(function*(): Effect.fn.Return<Decided<State>, InvalidCommand | DecisionFailed | InvalidDecision> {
          const { id, persistenceId, revision, state: before } = held
          const { commandId, payload, tag } = command
          const decision = yield* deciding.decide(id, command, { id, payload, state: before, revision, commandId })
          if (decision._tag === "Fail") {
            return { _tag: "Answers", answer: { _tag: "Rejected", error: decision.error }, after: undefined }
          }
          const change = yield* changeOf(name, id, tag, decision)
          const state = change === undefined
            ? before
            : change._tag === "Updated"
            ? change.state as State
            : yield* deciding.attempt(id, command, "the function for the state at first", () => initial(id))
          const reply = yield* deciding.attempt(id, command, "the reply", () => decision.reply(state))
          if (change === undefined || change._tag === "Removed" && !held.isStored) {
            return {
              _tag: "Answers",
              answer: { _tag: "Replied", reply, receipt: undefined },
              after: deciding.after(id, command, decision, state, undefined)
            }
          }
          const isUpdated = change._tag === "Updated"
          const stateTags = yield* deciding.attempt(id, command, "'tags'", () => tags(isUpdated ? state : before))
          const event = changeEvent && (yield* deciding.attempt(id, command, "'changeEvent'", () =>
            changeEvent[1]({
              id,
              before,
              after: isUpdated ? Option.some(state) : Option.none(),
              command: { tag, payload }
            })))
          return {
            _tag: "Changes",
            decision,
            state,
            reply,
            request: {
              entityType: name,
              persistenceId,
              expected: revision,
              payload: isUpdated
                ? yield* deciding.encode(id, command, "the state", () => stateType.codec.encodeUnsafe(state))
                : undefined,
              tags: stateTags,
              metadata: {},
              event: event === undefined ? undefined : {
                id: crypto.randomUUID(),
                payload: yield* deciding.encode(
                  id,
                  command,
                  "the change event",
                  () => changeEvent![0].codec.encodeUnsafe(event)
                ),
                tags: stateTags,
                metadata: {}
              }
            }
          }
        }),
      persist: (held, command, decided) => {
        if (decided._tag === "Answers") {
          return Effect.succeed({ held, answer: decided.answer, after: decided.after })
        }
        const { decision, reply, request, state } = decided
        const { id } = held
        return change(journal, store, request).pipe(
          Effect.map((receipt): Persisted<Held<State>> => ({
            held: {
              ...held,
              state,
              revision: receipt.sequenceNumber as number as Revision,
              isStored: request.payload !== undefined
            },
            answer: { _tag: "Replied", reply, receipt },
            after: deciding.after(id, command, decision, state, receipt)
          })),
          Effect.mapError((error) => {
            switch (error._tag) {
              case "RevisionConflict":
              case "SequenceConflict":
                return new Stale({ cause: error })
              case "StorageError":
                return unavailable(name, id, true)(error)
              default:
                return new InvalidDecision({
                  entityType: name,
                  id,
                  command: command.tag,
                  problem: "the storage refuses it",
                  cause: error
                })
            }
          })
        )
      }
    }
  })

/** What the decision changes, if it changes anything. */
const changeOf = (
  entityType: string,
  id: string,
  command: string,
  { events }: AnyPersist
): Effect.Effect<Decision.Change<unknown> | undefined, InvalidDecision> => {
  const [change] = events
  if (events.length === 0) return Effect.succeed(undefined)
  if (events.length === 1 && (change._tag === "Updated" || change._tag === "Removed")) return Effect.succeed(change)
  const problem = `a durable state is updated or removed, and has no events: ${Formatter.format(events)}`
  return Effect.fail(new InvalidDecision({ entityType, id, command, problem }))
}

/**
 * Changes the state if its revision is the one that was held. With 0 the store is content as well where the state was made and deleted meanwhile; then
 * it is undone.
 */
const change = (journal: Journal["Service"], store: DurableStateStore["Service"], request: ChangeRequest) => {
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

/** The error of a storage that has failed, on a read or a write. */
const unavailable = (entityType: string, id: string, isWrite: boolean) => (cause: StorageError) =>
  new JournalUnavailable({ entityType, id, isUnknown: isWrite && cause.reason === "Unavailable", cause })

const none = Revision.make(0)
