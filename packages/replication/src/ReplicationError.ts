/**
 * Why an event of another replica is not stored, and why a replica does not start. None of the former is the event's fault, so that it comes again until the cause is
 * gone.
 *
 * @since 0.1.0
 */
import * as ExpectedError from "@sluice/core/ExpectedError"
import * as Timestamp from "@sluice/core/Timestamp"
import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"

const About = {
  entityType: Schema.String,
  id: Schema.String,
  /** The replica that the event was written at first, and its number there. */
  origin: Schema.String,
  originSequenceNumber: Schema.Int
}

const eventOf = (
  { entityType, id, origin, originSequenceNumber }: {
    readonly entityType: string
    readonly id: string
    readonly origin: string
    readonly originSequenceNumber: number
  }
): string => `Event ${originSequenceNumber} of replica '${origin}' of ${entityType} ${JSON.stringify(id)}`

/**
 * An event is of a replica that the entity type does not have here. Name it among `replicas` in all regions, before it is written in the new one.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnknownReplica
  extends ExpectedError.TaggedError<UnknownReplica>("@sluice/replication/UnknownReplica")("UnknownReplica", {
    ...About,
    replicas: Schema.Array(Schema.String)
  })
{
  readonly isRetryable = true
  override get message(): string {
    return `${eventOf(this)} is refused, as there is no such replica among '${
      this.replicas.join("', '")
    }': name it among the replicas of the entity type here as well`
  }
}

/**
 * An event says of itself what no replica writes: its time is after the year 2100, or with it the entity would have seen more than 1,000 replicas. Nothing could be written to the entity any more.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidArrival
  extends ExpectedError.TaggedError<InvalidArrival>("@sluice/replication/InvalidArrival")("InvalidArrival", {
    ...About,
    problem: Schema.String
  })
{
  readonly isRetryable = true
  override get message(): string {
    return `${
      eventOf(this)
    } is refused: ${this.problem}. Find out what '${this.origin}' has written, and discard it here`
  }
}

/**
 * An event has seen more of this replica's events than its journal has: a backup was restored here, or commits were lost. What was written since would have numbers that
 * others know as those of lost events, and would never reach them.
 *
 * @category errors
 * @since 0.1.0
 */
export class EventsLost extends ExpectedError.TaggedError<EventsLost>("@sluice/replication/EventsLost")("EventsLost", {
  ...About,
  self: Schema.String,
  /** The number of the last event of this replica that the other one has seen, and of the last one that was written here. */
  seen: Schema.Int,
  last: Schema.Int
}) {
  readonly isRetryable = true
  override get message(): string {
    return `${eventOf(this)} is refused: it has seen event ${this.seen} of this replica, '${this.self}', where ${
      this.last === 0 ? "none was written" : `event ${this.last} is the last one that was written`
    }. ` +
      "Events were lost here, as by a backup that was restored: restore a later one, or have this replica begin anew under another id"
  }
}

/**
 * The event of the same origin that came before was stored here, and is not any more: the database has lost commits, as in a failover. The projection goes on from the offsets that are left, so that what
 * was lost comes again. Where the event waits nevertheless, give it up by `ProjectionManagement.discardLetters`: then `ReplicaVerification.repair` stores it, and what was lost.
 *
 * @category errors
 * @since 0.1.0
 */
export class ArrivalsLost
  extends ExpectedError.TaggedError<ArrivalsLost>("@sluice/replication/ArrivalsLost")("ArrivalsLost", {
    ...About,
    self: Schema.String,
    /** The number of the event that came before, and of the last one of its origin that is here. */
    previous: Schema.Int,
    last: Schema.Int
  })
{
  readonly isRetryable = true
  override get message(): string {
    const { last, previous, self } = this
    return `${
      eventOf(this)
    } is refused: event ${previous} had come before it, and is not in the journal of '${self}' any more, where ${
      last === 0 ? "none" : `event ${last}`
    } is the last one of this origin. The database of '${self}' has lost commits. What was lost comes again with the offsets that are left. Where this event waits nevertheless, give it up by ProjectionManagement.discardLetters, and store all that is missing by ReplicaVerification.repair`
  }
}

/**
 * An event has a number and a time that do not go with those of its origin which are stored here: the origin's database was restored from a backup, or emptied, and it has given the numbers
 * of lost events again.
 *
 * **Details**
 *
 * Both histories exist now, and no replica can tell which is right, so that none of the events that follow is stored either, however often they come. The origin has to begin anew under
 * another id.
 *
 * @category errors
 * @since 0.1.0
 */
export class HistoryForked
  extends ExpectedError.TaggedError<HistoryForked>("@sluice/replication/HistoryForked")("HistoryForked", {
    ...About,
    time: Timestamp.Timestamp,
    /** The number and the time of the last event of the origin that is stored here. */
    last: Schema.Int,
    lastTime: Timestamp.Timestamp
  })
{
  readonly isRetryable = true
  override get message(): string {
    const { last, lastTime, origin, time } = this
    return `${eventOf(this)}, of ${timeOf(time)}, is refused: its event ${last}, of ${
      timeOf(lastTime)
    }, is stored here, and the two are not of one history. ` +
      `The database of '${origin}' was restored from a backup or emptied, and the numbers of lost events were given again. Rewinding does not help: ` +
      `have '${origin}' take no more commands, and begin anew under another id with an empty database`
  }
}

const timeOf = (time: Timestamp.Timestamp): string => DateTime.formatIso(DateTime.makeUnsafe(Math.floor(time / 1000)))

/**
 * What `intercept` of the entity has failed with, or that it took too long.
 *
 * @category errors
 * @since 0.1.0
 */
export class Intercepted
  extends ExpectedError.TaggedError<Intercepted>("@sluice/replication/Intercepted")("Intercepted", {
    ...About,
    problem: Schema.String
  })
{
  readonly isRetryable = true
  override get message(): string {
    return `${eventOf(this)} is held up by 'intercept': ${this.problem}`
  }
}

/**
 * An entity cannot take an event now, for a reason that is this entity's alone, so that the event and those behind it are put aside, and come again.
 *
 * @category errors
 * @since 0.1.0
 */
export class EntityHeldUp
  extends ExpectedError.TaggedError<EntityHeldUp>("@sluice/replication/EntityHeldUp")("EntityHeldUp", {
    ...About,
    /** The tag of the error that the entity has failed with, by which dead letters are told apart. */
    code: Schema.String,
    problem: Schema.String
  })
{
  override get message(): string {
    return `${eventOf(this)} waits, with those behind it, until the entity can take it: ${this.problem}`
  }
}

/**
 * The journal of a process has entities of another replica than the process is of. It does not start: entities would begin without their events, and the
 * other replicas would take what it writes for the other one's. The layer of the entities dies with it.
 *
 * @category errors
 * @since 0.1.0
 */
export class ForeignJournal
  extends ExpectedError.TaggedError<ForeignJournal>("@sluice/replication/ForeignJournal")("ForeignJournal", {
    entityType: Schema.String,
    /** One of those entities. */
    persistenceId: Schema.String,
    replica: Schema.String
  })
{
  override get message(): string {
    const { persistenceId, replica } = this
    return `This process is of replica '${replica}', and its database is of another one, as it has '${persistenceId}'. ` +
      "Start it as the replica that the database is of, or with a database of its own, which the others fill"
  }
}

/**
 * Why an arriving event is not stored, as a schema.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ArrivalError = Schema.Union([
  UnknownReplica,
  InvalidArrival,
  EventsLost,
  ArrivalsLost,
  HistoryForked,
  Intercepted
])

/**
 * Why an arriving event is not stored.
 *
 * @category errors
 * @since 0.1.0
 */
export type ArrivalError = typeof ArrivalError.Type
