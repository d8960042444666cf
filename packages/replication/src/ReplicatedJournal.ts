/**
 * Deleting events of replicated entities once all replicas have them.
 *
 * What a replica has deleted before another one has it never comes there. So all others are asked how far they have stored the journal of this one, and nothing is deleted until
 * all of them have what is to be. `Journal.prune` and `Journal.deleteEvents` ask nobody, and refuse these events.
 *
 * @since 0.1.0
 */
import * as ExpectedError from "@sluice/core/ExpectedError"
import * as InvalidInput from "@sluice/core/InvalidInput"
import * as Journal from "@sluice/core/Journal"
import type * as LogsIdentity from "@sluice/core/LogsIdentity"
import type { Offsets } from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import type { Timestamp } from "@sluice/core/Timestamp"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { isOfOthers, type Other, othersOf } from "./internal/asking.ts"
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
 * A replica that does not have all events that are to be deleted, as far as is known.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Lacking = Schema.Struct({
  replica: Schema.String,
  /** How many events of the journal of this replica it has yet to come to before it has all that are to be deleted; undefined where that is not known. */
  behind: Schema.UndefinedOr(Schema.Int),
  /** How many events it has put aside, as their entities do not take them; undefined where that is not known. */
  waiting: Schema.UndefinedOr(Schema.Int),
  /** Why it is not known, if it is not. */
  problem: Schema.UndefinedOr(Schema.String)
})

/**
 * A replica that does not have all events that are to be deleted, as far as is known.
 *
 * @category models
 * @since 0.1.0
 */
export type Lacking = typeof Lacking.Type

/**
 * Replicas do not have all events that were to be deleted, or cannot be asked. Nothing was deleted.
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

const saying = ({ behind, problem, replica, waiting }: Lacking): string =>
  `'${replica}' ${
    problem !== undefined
      ? `cannot tell (${problem})`
      : behind !== undefined && behind > 0
      ? `is ${eventsOf(behind)} behind`
      : `has put ${eventsOf(waiting)} aside, to be taken there first`
  }`

/** How often those are asked that lack something, in milliseconds. */
const askEvery = 500

/** How a replica stands to what is to be deleted; undefined where it has everything. */
const lackingOf = (
  other: Other,
  target: Offsets,
  logs: LogsIdentity.Logs
): Effect.Effect<{ readonly lacking: Lacking | undefined; readonly others: ReadonlyArray<string> }> => {
  const unknown = (problem: string) => ({
    lacking: { replica: other.id, behind: undefined, waiting: undefined, problem },
    others: []
  })
  return Effect.match(other.progress, {
    onFailure: unknown,
    onSuccess: (progress) => {
      if (progress === undefined) {
        return unknown("it does not say what it has stored, as a replica on Akka, or of an earlier release")
      }
      const { incomplete, offsets, others, waiting } = progress
      if (isOfOthers(progress, logs)) {
        return unknown("it has read another journal than this one, at least in part")
      }
      let behind = 0
      let isIncomplete = false
      for (const [slice, { position }] of target) {
        const stored = offsets.get(slice)?.position ?? 0
        behind += Math.max(0, position - stored)
        isIncomplete ||= incomplete.has(slice)
      }
      return {
        lacking: behind === 0 && !isIncomplete ? undefined : { replica: other.id, behind, waiting, problem: undefined },
        others
      }
    }
  })
}

/** Waits until every replica has the events of the logs up to there. */
const everywhere = (
  entity: ReplicatedEventSourced<any, any, any, any, any>,
  id: string | undefined,
  target: Offsets,
  options: Options
): Effect.Effect<void, NotEverywhere, Replica.Replica | Journal.Journal> =>
  Effect.gen(function*() {
    const { id: self } = yield* Replica.Replica
    const { identity } = yield* Journal.Journal
    const logs: LogsIdentity.Logs = { journal: identity, log: "events", entityType: entity.name }
    const gone = new Set(options.gone)
    for (const id of [...Object.keys(options.replicas), ...gone]) {
      if (!entity.replicas.includes(id)) {
        return yield* Effect.die(
          new RangeError(`'${id}' is none of the replicas of '${entity.name}': '${entity.replicas.join("', '")}'`)
        )
      }
    }
    const asked = othersOf(entity, self, options).filter(({ id }) => !gone.has(id))
    const unaddressed = entity.replicas.filter((id) =>
      id !== self && !gone.has(id) && options.replicas[id] === undefined
    )
    const clock = yield* Clock.Clock
    const patience = Duration.toMillis(Duration.fromInputUnsafe(options.within ?? 0))
    const began = clock.currentTimeNanosUnsafe()
    while (true) {
      const answers = yield* Effect.forEach(asked, (other) => lackingOf(other, target, logs), {
        concurrency: "unbounded"
      })
      // what another one has is kept there until those have it that get it from there
      const passedOn = new Set(answers.flatMap(({ lacking, others }) => lacking === undefined ? others : []))
      const lacking = [
        ...answers.flatMap(({ lacking }) => lacking === undefined ? [] : [lacking]),
        ...unaddressed.filter((id) => !passedOn.has(id)).map((replica): Lacking => ({
          replica,
          behind: undefined,
          waiting: undefined,
          problem: "its address is not said, and none that has all passes the events on to it"
        }))
      ]
      if (lacking.length === 0) return
      const waited = Number(clock.currentTimeNanosUnsafe() - began) / 1e6
      if (waited >= patience) {
        return yield* new NotEverywhere({ entityType: entity.name, self, id, replicas: lacking })
      }
      yield* Effect.sleep(Math.min(askEvery, patience - waited))
    }
  })

/**
 * Removes events of this replica's journal that are older than a time, as `Journal.prune` does, once all other replicas have them, and returns how many that were. It fails with
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
 *
 * As everywhere, an entity needs a snapshot to be recovered without its first events.
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
  Replica.Replica | Journal.Journal
> =>
  Effect.gen(function*() {
    const { before } = options
    if (!Number.isSafeInteger(before) || before < 0) {
      return yield* new InvalidInput.InvalidInput({ input: "before", problem: "it is no safe integer from 0" })
    }
    const journal = yield* Journal.Journal
    const older = yield* journal.before(entity.name, SliceRange.full, before)
    yield* everywhere(entity, undefined, older, options)
    // what has come since with an older time is not among them
    return yield* journal.prune(entity.name, before, { evenReplicated: true, upTo: older })
  }).pipe(Effect.catchTag("ReplicatedEvents", Effect.die))

/**
 * Empties the events of one entity in this replica's journal, as `Journal.deleteEvents` does, once all other replicas have them. It fails with {@link NotEverywhere}, and deletes nothing, where one does
 * not have them, or cannot be asked.
 *
 * **Details**
 *
 * The id is that of the entity, as its commands have it. It is this journal alone: what is to be forgotten everywhere is deleted in each region.
 *
 * **Gotchas**
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
  Replica.Replica | Journal.Journal
> =>
  Effect.gen(function*() {
    const { id: self } = yield* Replica.Replica
    const { to = Number.MAX_SAFE_INTEGER - 1 } = options
    if (!Number.isSafeInteger(to) || to < 0) {
      return yield* new InvalidInput.InvalidInput({ input: "to", problem: "it is no safe integer from 0" })
    }
    const text = `${entity.name}|${id}|${self}`
    if (!PersistenceId.is(text)) {
      return yield* new InvalidInput.InvalidInput({ input: "id", problem: "it is no id of an entity" })
    }
    const persistenceId = PersistenceId.parse(text)
    if (to === 0) return
    const last = Option.getOrUndefined(
      yield* Stream.runLast(Journal.readEncoded(persistenceId, { to: SequenceNumber.make(to) }))
    )
    if (last?.position === undefined) return
    yield* everywhere(
      entity,
      id,
      new Map([[last.slice, { position: last.position, timestamp: last.timestamp }]]),
      options
    )
    const journal = yield* Journal.Journal
    // what was written since is not among them
    yield* journal.deleteEvents(persistenceId, last.sequenceNumber, { evenReplicated: true })
  }).pipe(Effect.catchTag("ReplicatedEvents", Effect.die))
