/**
 * Deleting events of replicated entities once all replicas have them.
 *
 * What a replica has deleted before another one has it never comes there. So all others are asked how far they have stored the journal of this one, and nothing is deleted until
 * all of them have what is to be. What comes to an entity after its events were deleted cannot be taken by it: so one is not emptied either until what the others have of it is here. `Journal.prune` and `Journal.deleteEvents` ask nobody, and refuse these events.
 *
 * @since 0.1.0
 */
import * as ExpectedError from "@sluice/core/ExpectedError"
import type { HeartbeatStore } from "@sluice/core/HeartbeatStore"
import * as InvalidInput from "@sluice/core/InvalidInput"
import * as Journal from "@sluice/core/Journal"
import type * as LogsIdentity from "@sluice/core/LogsIdentity"
import type { Offsets } from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import type { ProjectionManagement } from "@sluice/core/ProjectionManagement"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import { SnapshotStore } from "@sluice/core/SnapshotStore"
import type { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { isOfOthers, type Other, othersOf } from "./internal/asking.ts"
import { checkReplicas } from "./internal/checkReplicas.ts"
import { filledOf } from "./internal/filledOf.ts"
import { progressOf } from "./internal/progressOf.ts"
import * as Replica from "./Replica.ts"
import type { ReplicatedEventSourced } from "./ReplicatedEventSourced.ts"
import type { ConsumerOptions } from "./Replication.ts"

/**
 * Who is asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Pick<ConsumerOptions, "replicas"> {
  /** Replicas that are no more, and are not asked. Such a one must not come back: it would never get what was deleted. */
  readonly gone?: ReadonlyArray<string> | undefined
  /** For how long it is waited for those that do not have the events yet; not at all where nothing is said. */
  readonly within?: Duration.Input | undefined
}

/**
 * Another replica, and what keeps it and this one from having the same of what is to be deleted, as far as is known.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Lacking = Schema.Struct({
  replica: Schema.String,
  /** `outgoing` where it lacks events of this replica, `incoming` where this one lacks events of it. */
  direction: Schema.Literals(["incoming", "outgoing"]),
  /** How many events of the other's journal the one that lacks them has yet to come to; undefined where that is not known. */
  behind: Schema.UndefinedOr(Schema.Int),
  /** How many events it has put aside, as their entities do not take them; undefined where that is not known. */
  waiting: Schema.UndefinedOr(Schema.Int),
  /** Why it is not known, if it is not. */
  problem: Schema.UndefinedOr(Schema.String)
})

/**
 * Another replica, and what keeps it and this one from having the same of what is to be deleted, as far as is known.
 *
 * @category models
 * @since 0.1.0
 */
export type Lacking = typeof Lacking.Type

/**
 * Replicas do not have all events that were to be deleted, or this one has not all that they have of the entity, or they cannot be asked. Nothing was deleted.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotEverywhere
  extends ExpectedError.TaggedError<NotEverywhere>("@sluice/replication/NotEverywhere")("NotEverywhere", {
    entityType: Schema.String,
    /** The replica whose journal it is. */
    self: Schema.String,
    /** Undefined where entities of the type were meant altogether. */
    id: Schema.UndefinedOr(Schema.String),
    replicas: Schema.Array(Lacking)
  })
{
  override get message(): string {
    const { entityType, id, replicas, self } = this
    const what = id === undefined ? `of '${entityType}'` : `of ${entityType} ${JSON.stringify(id)}`
    return `Nothing ${what} was deleted at '${self}', as not all replicas have the events: ${
      replicas.map(saying).join("; ")
    }. Delete again later, or wait by 'within'; a replica that is no more is to be named in 'gone'`
  }
}

const eventsOf = (count: number | undefined): string => count === 1 ? "1 event" : `${count ?? "some"} events`

const saying = ({ behind, direction, problem, replica, waiting }: Lacking): string => {
  if (problem !== undefined) return `'${replica}' cannot tell (${problem})`
  const [who, whose, where] = direction === "outgoing"
    ? [`'${replica}'`, "", "there"]
    : ["this one", ` of '${replica}'`, "here"]
  if (behind !== undefined && behind > 0) return `${who} is ${eventsOf(behind)}${whose} behind`
  return waiting === 0
    ? `${who} has not stored all${whose} yet`
    : `${who} has put ${eventsOf(waiting)}${whose} aside, to be taken ${where} first`
}

/** How often those are asked that lack something, in milliseconds. */
const askEvery = 500

const unknown = (direction: Lacking["direction"], replica: string, problem: string): Lacking => ({
  replica,
  direction,
  behind: undefined,
  waiting: undefined,
  problem
})

/** How a replica stands to what is to be deleted; undefined where it has everything. */
const lackingOf = (
  other: Other,
  target: Offsets,
  logs: LogsIdentity.Logs
): Effect.Effect<{ readonly lacking: Lacking | undefined; readonly others: ReadonlyArray<string> }> => {
  const untold = (problem: string) => ({
    lacking: unknown("outgoing", other.id, problem),
    others: []
  })
  return Effect.match(other.progress, {
    onFailure: untold,
    onSuccess: (progress) => {
      if (progress === undefined) {
        return untold("it does not say what it has stored, as a replica on Akka, or of an earlier release")
      }
      const { incomplete, offsets, others, waiting } = progress
      if (isOfOthers(progress, logs)) {
        return untold("it has read another journal than this one, at least in part")
      }
      let behind = 0
      let isIncomplete = false
      for (const [slice, { position }] of target) {
        const stored = offsets.get(slice)?.position ?? 0
        behind += Math.max(0, position - stored)
        isIncomplete ||= incomplete.has(slice)
      }
      return {
        lacking: behind === 0 && !isIncomplete
          ? undefined
          : { replica: other.id, direction: "outgoing" as const, behind, waiting, problem: undefined },
        others
      }
    }
  })
}

/** Those that are asked, and a wait of at most `within` altogether, from now on, until nothing is lacking. */
const asking = (
  entity: ReplicatedEventSourced<any, any, any, any, any>,
  id: string | undefined,
  options: Options
) =>
  Effect.gen(function*() {
    const { id: self } = yield* Replica.Replica
    const gone = new Set(options.gone)
    checkReplicas(entity, gone)
    const asked = othersOf(entity, self, options).filter(({ id }) => !gone.has(id))
    const unaddressed = entity.replicas.filter((id) =>
      id !== self && !gone.has(id) && options.replicas[id] === undefined
    )
    const clock = yield* Clock.Clock
    const patience = Duration.toMillis(Duration.fromInputUnsafe(options.within ?? 0))
    // the time of day may be set meanwhile
    const began = clock.monotonicTimeNanosUnsafe()
    const wait = <E, R>(looking: Effect.Effect<ReadonlyArray<Lacking>, E, R>) =>
      Effect.gen(function*() {
        while (true) {
          const lacking = yield* looking
          if (lacking.length === 0) return
          const waited = Number(clock.monotonicTimeNanosUnsafe() - began) / 1e6
          if (waited >= patience) {
            return yield* new NotEverywhere({ entityType: entity.name, self, id, replicas: [...lacking] })
          }
          yield* Effect.sleep(Math.min(askEvery, patience - waited))
        }
      })
    return { self, asked, unaddressed, wait }
  })

type Asking = Effect.Success<ReturnType<typeof asking>>

/** Waits until every replica has the events of the logs up to there. */
const everywhere = (
  { name }: ReplicatedEventSourced<any, any, any, any, any>,
  { asked, unaddressed, wait }: Asking,
  target: Offsets
): Effect.Effect<void, NotEverywhere, Journal.Journal> =>
  Effect.gen(function*() {
    const { identity } = yield* Journal.Journal
    const logs: LogsIdentity.Logs = { journal: identity, log: "events", entityType: name }
    yield* wait(Effect.gen(function*() {
      const answers = yield* Effect.forEach(asked, (other) => lackingOf(other, target, logs), {
        concurrency: "unbounded"
      })
      // what another one has is kept there until those have it that get it from there
      const passedOn = new Set(answers.flatMap(({ lacking, others }) => lacking === undefined ? others : []))
      return [
        ...answers.flatMap(({ lacking }) => lacking === undefined ? [] : [lacking]),
        ...unaddressed.filter((id) => !passedOn.has(id)).map((replica) =>
          unknown("outgoing", replica, "its address is not said, and none that has all passes the events on to it")
        )
      ]
    }))
  })

/** Waits until this replica has what each of the others had of the entity when it was first asked. */
const here = (
  { name }: ReplicatedEventSourced<any, any, any, any, any>,
  { asked, self, wait }: Asking,
  id: string
): Effect.Effect<void, NotEverywhere | StorageError, ProjectionManagement | HeartbeatStore> => {
  const known = new Map<string, Offsets>()
  const missingOf = ({ heads, id: replica }: Other) =>
    Effect.gen(function*() {
      const answer = known.has(replica) ? undefined : yield* Effect.result(heads)
      if (answer?._tag === "Failure") return [unknown("incoming", replica, answer.failure)]
      // all replicas have their events of it in slices of their own
      const slice = Slice.ofPersistenceId(PersistenceId.parse(`${name}|${id}|${replica}`))
      const head = answer?.success.get(slice)
      if (answer !== undefined) known.set(replica, new Map(head && [[slice, head]]))
      const own = yield* progressOf(name, self, replica)
      const { all, isFilled, passed } = filledOf(known.get(replica)!, own)
      return isFilled
        ? []
        : [{
          replica,
          direction: "incoming" as const,
          behind: all - passed,
          waiting: own.waiting,
          problem: undefined
        }]
    })
  return wait(Effect.map(Effect.forEach(asked, missingOf, { concurrency: "unbounded" }), (all) => all.flat()))
}

/**
 * Removes events of this replica's journal that are older than a time, and that a snapshot of their entity includes, once all other replicas have them, and returns how many that were. It fails with
 * {@link NotEverywhere}, and removes nothing, where one does not have them, or cannot be asked.
 *
 * **Details**
 *
 * Each of `replicas` is asked, and so are none of those in `gone`. A replica whose address is not said has the events once another one has them which consumes it, and so passes them on to it.
 *
 * Removed are the events of all origins, also those that this replica passes on. It is this journal alone: call it in each region.
 *
 * **Gotchas**
 *
 * A replica that is added later, or begins anew, does not get what was removed: its projections stop with `OffsetBelowFloor`. So do those of one whose backup is restored that is older than the
 * removal, also where it was asked right before, and of one that is to reach others than before, or gets another `order`, as it reads the journals from their beginnings then.
 * These last two lack nothing: `ProjectionManagement.rewind` to `{ since: before }` lets them go on.
 *
 * An entity keeps the events that no snapshot of it includes, as with `EventSourced.prune`: it is recovered from them. So one without snapshots keeps all.
 *
 * @category operations
 * @since 0.1.0
 */
export const prune = (
  entity: ReplicatedEventSourced<any, any, any, any, any>,
  options: Options & { readonly before: Timestamp }
): Effect.Effect<
  number,
  NotEverywhere | InvalidInput.InvalidInput | StorageError,
  Replica.Replica | Journal.Journal | SnapshotStore
> =>
  Effect.gen(function*() {
    const { before } = options
    if (!Number.isSafeInteger(before) || before < 0) {
      return yield* new InvalidInput.InvalidInput({ input: "before", problem: "it is no safe integer from 0" })
    }
    const journal = yield* Journal.Journal
    const { newest } = yield* SnapshotStore
    const older = yield* journal.before(entity.name, SliceRange.full, before)
    yield* everywhere(entity, yield* asking(entity, undefined, options), older)
    // what has come since with an older time is not among them
    return yield* journal.prune(entity.name, before, { evenReplicated: true, upTo: older, included: newest })
  }).pipe(Effect.catchTag("ReplicatedEvents", Effect.die))

/**
 * Empties the events of one entity in this replica's journal, as `Journal.deleteEvents` does, once all other replicas have them, and this one has what they have of it. It fails with
 * {@link NotEverywhere}, and deletes nothing, where that is not so, or one cannot be asked.
 *
 * **Details**
 *
 * The id is that of the entity, as its commands have it. It is this journal alone: what is to be forgotten everywhere is deleted in each region.
 *
 * **Gotchas**
 *
 * Have the entity take no commands anywhere from before the first region deletes it. An event that comes to a region after that is put aside there with `RecoveryFailed`, as the entity has no events to
 * compute its state from, and the region that has written it cannot delete it. `ProjectionManagement.discardLetters` gives such events up, and deleting goes on. What replicas without an address have
 * written is known once it comes by way of others.
 *
 * A replica that is added later, or whose backup is restored that is older than the deletion, gets placeholders for the events, and does not miss them. Where a part of an entity is deleted, its state differs
 * there.
 *
 * @category operations
 * @since 0.1.0
 */
export const deleteEvents = (
  entity: ReplicatedEventSourced<any, any, any, any, any>,
  id: string,
  options: Options & {
    /** The last sequence number to be emptied, by the journal of this replica; the newest by default. */
    readonly to?: number | undefined
  }
): Effect.Effect<
  void,
  NotEverywhere | InvalidInput.InvalidInput | StorageError,
  Replica.Replica | Journal.Journal | ProjectionManagement | HeartbeatStore
> =>
  Effect.gen(function*() {
    const { id: self } = yield* Replica.Replica
    const { to = Number.MAX_SAFE_INTEGER - 1 } = options
    if (!Number.isSafeInteger(to) || to < 0) {
      return yield* new InvalidInput.InvalidInput({ input: "to", problem: "it is no safe integer from 0" })
    }
    const inJournalOf = (replica: string) => `${entity.name}|${id}|${replica}`
    if (![self, ...entity.replicas].every((replica) => PersistenceId.is(inJournalOf(replica)))) {
      return yield* new InvalidInput.InvalidInput({ input: "id", problem: "it is no id of an entity" })
    }
    if (to === 0) return
    const persistenceId = PersistenceId.parse(inJournalOf(self))
    const others = yield* asking(entity, id, options)
    yield* here(entity, others, id)
    // only now, so that what has come meanwhile is deleted as well
    const last = Option.getOrUndefined(
      yield* Stream.runLast(Journal.readEncoded(persistenceId, { to: SequenceNumber.make(to) }))
    )
    if (last?.position === undefined) return
    const { position, sequenceNumber, slice, timestamp } = last
    yield* everywhere(entity, others, new Map([[slice, { position, timestamp }]]))
    const journal = yield* Journal.Journal
    // what was written since is not among them
    yield* journal.deleteEvents(persistenceId, sequenceNumber, { evenReplicated: true })
  }).pipe(Effect.catchTag("ReplicatedEvents", Effect.die))
