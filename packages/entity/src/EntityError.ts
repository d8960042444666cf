/**
 * What goes wrong between a caller and an entity. Each says whether the command may have been executed, and what to do. All are schemas, so that they
 * travel between processes.
 *
 * @since 0.1.0
 */
import * as ExpectedError from "@sluice/core/ExpectedError"
import * as Formatter from "effect/Formatter"
import * as Schema from "effect/Schema"

const Entity = {
  entityType: Schema.String,
  /** The id of the entity, as the caller gave it. */
  id: Schema.String
}

const Command = {
  ...Entity,
  /** The name of the command. */
  command: Schema.String
}

/** Ids may be anything, and long. */
const nameOf = ({ entityType, id }: { readonly entityType: string; readonly id: string }): string =>
  `${entityType} ${JSON.stringify(id.length > 100 ? `${id.slice(0, 100)}…` : id)}`

const textOf = (cause: unknown): string => {
  // one that is undefined is null after it has travelled
  if (cause === undefined || cause === null) return ""
  const text = typeof cause === "string" ? cause : cause instanceof Error ? cause.message : Formatter.format(cause)
  return text === "" ? "" : `: ${text}`
}

/**
 * The state of the entity cannot be computed from what is stored of it, or not in time. Commands of this entity fail until it is repaired, or, where it took too
 * long, until a recovery is quick enough; those of others do not. The command was not executed.
 *
 * @category errors
 * @since 0.1.0
 */
export class RecoveryFailed extends ExpectedError.TaggedError<RecoveryFailed>("@sluice/entity/RecoveryFailed")(
  "RecoveryFailed",
  {
    ...Entity,
    problem: Schema.String,
    /** How many events were read before. */
    events: Schema.optional(Schema.Int),
    cause: Schema.optional(Schema.Defect())
  },
  { httpApiStatus: 500 }
) {
  readonly isUnknown = false
  readonly isRetryable = false
  override get message(): string {
    const events = this.events === undefined ? "" : ` (${this.events} events were read)`
    return `The state of ${nameOf(this)} cannot be recovered: ${this.problem}${textOf(this.cause)}${events}`
  }
}

/**
 * The database below the journal fails. Where `isUnknown`, the events of the command may have been written nevertheless: repeat it with a command id,
 * and it happens once. Otherwise nothing was written.
 *
 * @category errors
 * @since 0.1.0
 */
export class JournalUnavailable
  extends ExpectedError.TaggedError<JournalUnavailable>("@sluice/entity/JournalUnavailable")(
    "JournalUnavailable",
    { ...Entity, isUnknown: Schema.Boolean, cause: Schema.Defect() },
    { httpApiStatus: 503 }
  )
{
  readonly isRetryable = true
  override get message(): string {
    return `The journal of ${nameOf(this)} is not available, and ${
      this.isUnknown
        ? "it is not known whether the command was executed: repeat it with the same command id"
        : "the command was not executed: try again"
    }${textOf(this.cause)}`
  }
}

/**
 * Others have written to the entity each time that this command was about to. The command was not executed: try again.
 *
 * @category errors
 * @since 0.1.0
 */
export class EntityConflict extends ExpectedError.TaggedError<EntityConflict>("@sluice/entity/EntityConflict")(
  "EntityConflict",
  { ...Entity, attempts: Schema.Int, cause: Schema.optional(Schema.Defect()) },
  { httpApiStatus: 409 }
) {
  readonly isUnknown = false
  readonly isRetryable = true
  override get message(): string {
    return `Others wrote to ${
      nameOf(this)
    } in each of ${this.attempts} attempts; the command was not executed: try again`
  }
}

const full = {
  mailbox: (error: Overloaded) => `${error.limit} commands wait for ${nameOf(error)}`,
  activations: (error: Overloaded) =>
    `${error.limit} entities are active and busy, so that there is no room for ${nameOf(error)}`,
  memory: (error: Overloaded) =>
    `The commands that are not answered yet take the ${error.limit} bytes that there are for them, so that there is no room for one more for ${
      nameOf(error)
    }`,
  time: (error: Overloaded) => `${nameOf(error)} has not come to it within ${error.limit} ms`,
  process: (error: Overloaded) =>
    `The process that runs ${
      nameOf(error)
    } has no room for another command of this one: it takes ${error.limit} at a time, and so many bytes of them, of all that send it any`
}

/**
 * More is asked of the entity, or of the process that runs it, than there is room for. The command was not executed: try again later.
 *
 * @category errors
 * @since 0.1.0
 */
export class Overloaded extends ExpectedError.TaggedError<Overloaded>("@sluice/entity/Overloaded")(
  "Overloaded",
  {
    ...Entity,
    /**
     * What is full: the mailbox of the entity, the room for active entities, the memory for commands, the time that the caller gives the commands before it, or what a process
     * takes of commands of others.
     */
    full: Schema.Literals(["mailbox", "activations", "memory", "time", "process"]),
    limit: Schema.Int
  },
  { httpApiStatus: 503 }
) {
  readonly isUnknown = false
  readonly isRetryable = true
  override get message(): string {
    return `${full[this.full](this)}; the command was not executed: try again later`
  }
}

/**
 * The command is none: its name is unknown, its payload is not what it declares, the id is no id of an entity, or the command id is no command id, or
 * was used for another command. Or it was sent in a transaction that it cannot be part of. Nothing was done. Correct it: trying again does not help.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidCommand extends ExpectedError.TaggedError<InvalidCommand>("@sluice/entity/InvalidCommand")(
  "InvalidCommand",
  { ...Command, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  readonly isUnknown = false
  readonly isRetryable = false
  override get message(): string {
    return `Invalid command ${JSON.stringify(this.command)} for ${nameOf(this)}: ${this.problem}`
  }
}

/**
 * `decide`, or what belongs to it, has thrown or died, or took too long. It is a bug of the entity. The command was not executed.
 *
 * @category errors
 * @since 0.1.0
 */
export class DecisionFailed extends ExpectedError.TaggedError<DecisionFailed>("@sluice/entity/DecisionFailed")(
  "DecisionFailed",
  { ...Command, problem: Schema.String, cause: Schema.optional(Schema.Defect()) },
  { httpApiStatus: 500 }
) {
  readonly isUnknown = false
  readonly isRetryable = false
  override get message(): string {
    return `${nameOf(this)} could not decide on ${JSON.stringify(this.command)}: ${this.problem}${textOf(this.cause)}`
  }
}

/**
 * What the entity has decided is not valid: an event, the reply or the error does not fit its schema, or there is too much of it. It is a bug of the entity.
 * The command was not executed, unless it says `wasExecuted`: then it is a repetition, whose first reply cannot be given any more.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidDecision extends ExpectedError.TaggedError<InvalidDecision>("@sluice/entity/InvalidDecision")(
  "InvalidDecision",
  {
    ...Command,
    problem: Schema.String,
    /** Whether the command was executed, when it was sent before. */
    wasExecuted: Schema.optional(Schema.Boolean),
    cause: Schema.optional(Schema.Defect())
  },
  { httpApiStatus: 500 }
) {
  readonly isRetryable = false
  get isUnknown(): boolean {
    return this.wasExecuted === true
  }
  override get message(): string {
    const command = JSON.stringify(this.command)
    return `${
      this.wasExecuted === true
        ? `${nameOf(this)} has executed ${command} before, and cannot give its reply any more`
        : `What ${nameOf(this)} decided on ${command} is not valid`
    }: ${this.problem}${textOf(this.cause)}`
  }
}

/**
 * The process that runs the entity is not reached, or is about to end. Where `isUnknown`, the command may have been executed and its answer was lost:
 * repeat it with a command id, and it happens once. Otherwise it was not begun: try again.
 *
 * @category errors
 * @since 0.1.0
 */
export class EntityUnreachable extends ExpectedError.TaggedError<EntityUnreachable>("@sluice/entity/EntityUnreachable")(
  "EntityUnreachable",
  { ...Entity, isUnknown: Schema.Boolean, problem: Schema.String, cause: Schema.optional(Schema.Defect()) },
  { httpApiStatus: 503 }
) {
  readonly isRetryable = true
  override get message(): string {
    return `${nameOf(this)} is not reached, and ${
      this.isUnknown
        ? "it is not known whether the command was executed: repeat it with the same command id"
        : "the command was not begun: try again"
    }: ${this.problem}${textOf(this.cause)}`
  }
}

/**
 * What goes wrong between a caller and an entity, as a schema.
 *
 * @category schemas
 * @since 0.1.0
 */
export const EntityError = Schema.Union([
  RecoveryFailed,
  JournalUnavailable,
  EntityConflict,
  Overloaded,
  InvalidCommand,
  DecisionFailed,
  InvalidDecision,
  EntityUnreachable
])

/**
 * What goes wrong between a caller and an entity.
 *
 * @category errors
 * @since 0.1.0
 */
export type EntityError = typeof EntityError.Type
