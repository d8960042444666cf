/**
 * The errors of asking for the status of a process's projections, and of starting them.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as ExpectedError from "./ExpectedError.ts"
import { messageOf } from "./internal/messageOf.ts"

/**
 * No projection of this name runs in this process.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProjectionNotRunning
  extends ExpectedError.TaggedError<ProjectionNotRunning>("@sluice/core/ProjectionNotRunning")("ProjectionNotRunning", {
    projection: Schema.String
  })
{
  override get message(): string {
    return `No projection '${this.projection}' runs in this process: correct the name, or start it first. ` +
      "ProjectionStatus.everywhere knows those of other processes"
  }
}

/**
 * The source of a projection could not be asked how far it is.
 *
 * @category errors
 * @since 0.1.0
 */
export class SourceFailed extends ExpectedError.TaggedError<SourceFailed>("@sluice/core/SourceFailed")("SourceFailed", {
  projection: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `The source of projection '${this.projection}' cannot be asked how far it is: ${messageOf(this.cause)}`
  }
}

/**
 * The newest command to a projection that its storage has is older than the one that set where it is in a source: rows of the storage were deleted, or restored,
 * by hand. Its workers do not begin; they look again and again.
 *
 * @category errors
 * @since 0.1.0
 */
export class CommandsLost extends ExpectedError.TaggedError<CommandsLost>("@sluice/core/CommandsLost")("CommandsLost", {
  projection: Schema.String,
  source: Schema.String,
  /** The revision of the command that its offsets were set by. */
  revision: Schema.Int,
  /** That of the newest command. */
  newest: Schema.Int
}) {
  override get message(): string {
    return `The offsets of projection '${this.projection}' in '${this.source}' were set by a command of revision ${this.revision}, and its newest command has ` +
      `revision ${this.newest}, as if rows of the storage were deleted or restored by hand: restore that of its commands, or rewind it`
  }
}

/**
 * The lag of a projection was asked for in a unit that its source does not have: events can be counted where a source has positions, and a
 * plain Akka producer has times alone.
 *
 * @category errors
 * @since 0.1.0
 */
export class OtherLag extends ExpectedError.TaggedError<OtherLag>("@sluice/core/OtherLag")("OtherLag", {
  projection: Schema.String,
  /** The lag that is known. */
  known: Schema.Literals(["lag", "timeLag"])
}) {
  override get message(): string {
    return this.known === "timeLag"
      ? `The source of projection '${this.projection}' has no positions, so nobody can count how many events it is behind: ` +
        "ask ProjectionStatus.timeLag for how long it is behind"
      : `The source of projection '${this.projection}' has positions: ask ProjectionStatus.lag for how many events it is behind, exactly`
  }
}

/**
 * A worker of the projection has stopped, and no restart helps. `event` is the one that it has stopped at, if an event
 * is the reason. `cause` says why.
 *
 * @category errors
 * @since 0.1.0
 */
export class WorkerStopped
  extends ExpectedError.TaggedError<WorkerStopped>("@sluice/core/WorkerStopped")("WorkerStopped", {
    projection: Schema.String,
    range: Schema.Struct({ min: Schema.Int, max: Schema.Int }),
    event: Schema.UndefinedOr(Schema.Struct({ persistenceId: Schema.String, sequenceNumber: Schema.Int })),
    cause: Schema.Defect()
  })
{
  override get message(): string {
    const at = this.event === undefined ? "" : ` at event ${this.event.sequenceNumber} of '${this.event.persistenceId}'`
    return `The worker of projection '${this.projection}' for the slices ${this.range.min}-${this.range.max} has stopped${at}: ` +
      messageOf(this.cause)
  }
}

/**
 * A worker of this process works on some of the slices already, or reads another source for a projection of the same
 * name. Stop that one first, or give one of the two projections another name. If they are of different storages, give
 * each a `ProjectionRegistry` of its own. It is a defect, because the program is wrong.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProjectionAlreadyRuns
  extends Schema.TaggedError<ProjectionAlreadyRuns>("@sluice/core/ProjectionAlreadyRuns")(
    "ProjectionAlreadyRuns",
    {
      projection: Schema.String,
      range: Schema.Struct({ min: Schema.Int, max: Schema.Int })
    }
  )
{
  override get message(): string {
    return `A projection '${this.projection}' runs in this process already, for the slices ${this.range.min}-${this.range.max}: ` +
      "the two would have the same offsets. Give each a name of its own"
  }
}
