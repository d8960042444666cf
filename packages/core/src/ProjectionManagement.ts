/**
 * Commands to projections, wherever they run: to pause, to resume, to rewind, to scale. And their dead letters, the events that
 * they have put aside.
 *
 * A command is stored, with who gives it and why, next to the offsets. Running workers follow it: those of this process at once, others within a
 * second.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { EncodedEnvelope, Place } from "./Envelope.ts"
import * as ExpectedError from "./ExpectedError.ts"
import type { Start } from "./Feed.ts"
import { Heartbeat } from "./HeartbeatStore.ts"
import * as Check from "./internal/checkInput.ts"
import { InvalidInput, textProblem } from "./InvalidInput.ts"
import * as Offset from "./Offset.ts"
import type { OffsetKey } from "./OffsetStore.ts"
import type { PersistenceId } from "./PersistenceId.ts"
import type { Position } from "./Position.ts"
import { keysOf, nameOf, type ProjectionRef, sourceOf } from "./ProjectionRef.ts"
import { ProjectionRegistry } from "./ProjectionRegistry.ts"
import {
  isAtWork,
  nameOf as versionName,
  type Phase,
  type StoredVersion,
  type SwitchTooSlow,
  type VersionId
} from "./ProjectionVersion.ts"
import { forgottenSince, isJumped, type Rewind, type StoredNumber } from "./Rewind.ts"
import type { SequenceNumber } from "./SequenceNumber.ts"
import { Slice } from "./Slice.ts"
import type { SliceRange } from "./SliceRange.ts"
import type { StorageError } from "./StorageError.ts"
import * as Timestamp from "./Timestamp.ts"
import type { Transaction } from "./Transaction.ts"

/**
 * The command to a projection. The revision grows by 1 with every command, a rewind included, and with every change of the filter of its stream.
 *
 * @category models
 * @since 0.1.0
 */
export interface Command {
  readonly paused: boolean
  readonly revision: number
  /** How many workers it is to have; undefined for as many as its code says. */
  readonly workers: number | undefined
  /** Whether the projection itself has found that number, by its lag, and nobody has commanded one since. */
  readonly automatic: boolean
  /** How many of the commands until the revision were not for its workers: such as to {@link scale}, and to discard dead letters. They have nothing to read in those. */
  readonly notForWorkers: number
  /** What has become of the version that it is to. A projection without versions is live. */
  readonly phase: Phase
}

/**
 * To a projection that nobody has commanded anything.
 *
 * @category constants
 * @since 0.1.0
 */
export const noCommand: Command = {
  paused: false,
  revision: 0,
  workers: undefined,
  automatic: false,
  notForWorkers: 0,
  phase: "Live"
}

/**
 * Who gives a command, and why.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommandOptions {
  /** A person, or a program; by default the name of this process, as in `HeartbeatStore.Heartbeat`. */
  readonly by?: string | undefined
  readonly reason?: string | undefined
}

/**
 * What is kept of a command beside its effect.
 *
 * @category models
 * @since 0.1.0
 */
export interface Issue {
  readonly by: string
  readonly reason: string
  /** Where a projection is to go on, on how many workers, past which event, or without which letters, as text for a person. */
  readonly target?: string | undefined
}

/**
 * A command that was given to a projection.
 *
 * @category models
 * @since 0.1.0
 */
export interface IssuedCommand {
  readonly projection: string
  /** Undefined for a command to the projection in all of its sources. */
  readonly source: string | undefined
  readonly command:
    | "Pause"
    | "Resume"
    | "Rewind"
    | "Clear"
    | "Scale"
    | "Skip"
    | "Discard"
    | "Repair"
    | "Build"
    | "Switch"
    | "Cancel"
    | "Drop"
  /** Its number: each command to the projection, and each change of the filter of its stream, gets the next one. */
  readonly revision: number
  /**
   * Where it was to go on, after a rewind: `beginning`, `since` a time, or how many positions in. How many workers it was to have, after it was scaled.
   * Which version took its place, or became live, after a switch.
   * Which event it was to skip. Which dead letters were discarded.
   * How many slices it was to look through, after a repair.
   */
  readonly target: string | undefined
  readonly by: string
  readonly reason: string
  /** When it was stored, by the clock of the database. */
  readonly at: Timestamp.Timestamp
}

/**
 * So many commands to a projection are kept: the newest ones.
 *
 * @category constants
 * @since 0.1.0
 */
export const keptCommands = 1_000

/**
 * Of a command of which nothing else is known.
 *
 * @category constants
 * @since 0.1.0
 */
export const noIssue: Issue = { by: "", reason: "" }

/**
 * An event that a projection is to go past, once.
 *
 * @category models
 * @since 0.1.0
 */
export interface Skip extends DeadLetterId {
  /** Who has said so. */
  readonly by: string
  readonly reason: string
}

/**
 * So many events of a projection in a source may be waiting to be skipped.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxSkips = 100

/**
 * An event that a projection has put aside, because its handler or a stage has failed on it, or because it waits behind such an event of its entity.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetter {
  readonly key: OffsetKey
  /**
   * The event as its source has it. It has no payload if the source does not have the event any more. One that is queued has neither payload nor tags
   * nor metadata: they are only at the source.
   */
  readonly envelope: EncodedEnvelope
  /** Whether it has not failed, and waits behind an earlier event of its entity. */
  readonly isQueued: boolean
  /** What it failed with, as text for a person. */
  readonly error: string
  /**
   * By what failures are the same: the tag or the name of the error, and the first frame of the program in its trace. Empty for an event that is queued, or
   * was put aside by a version of Sluice without fingerprints.
   */
  readonly fingerprint: string
  /** When it was put aside. */
  readonly at: Timestamp.Timestamp
}

/**
 * Which of a projection's dead letters.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetterId {
  readonly persistenceId: PersistenceId
  readonly sequenceNumber: SequenceNumber
}

/**
 * A dead letter without its content.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListedLetter extends DeadLetterId {
  /** Whether its event was deleted since it was put aside, with which the letter has lost its content. */
  readonly isDeleted: boolean
  /** As that of {@link DeadLetter}. */
  readonly isQueued: boolean
  /** As that of {@link DeadLetter}. */
  readonly fingerprint: string
}

/**
 * Why an event has failed.
 *
 * @category models
 * @since 0.1.0
 */
export type LetterFailure = Pick<DeadLetter, "error" | "fingerprint">

/**
 * Some dead letters of a projection: those of an entity, those that have failed in the same way, or all if neither is given.
 *
 * @category models
 * @since 0.1.0
 */
export interface LetterSelection {
  readonly persistenceId?: string | undefined
  /** As that of {@link DeadLetter}. Events that are queued have none. */
  readonly fingerprint?: string | undefined
}

/**
 * How many dead letters a projection has.
 *
 * @category models
 * @since 0.1.0
 */
export interface LetterCounts {
  /** The entities that are parked. */
  readonly entities: number
  /** The events that have failed. */
  readonly failed: number
  /** The events that wait behind those. */
  readonly queued: number
}

/**
 * Dead letters that have failed in the same way.
 *
 * @category models
 * @since 0.1.0
 */
export interface LetterGroup {
  /** As that of {@link DeadLetter}. */
  readonly fingerprint: string
  readonly letters: number
  readonly entities: number
  /** When the first of them was put aside. */
  readonly first: Timestamp.Timestamp
  /** When the last of them was put aside. */
  readonly last: Timestamp.Timestamp
}

/**
 * A dead letter that somebody handles. Nobody else does until the claim is released or has run out.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClaimedLetter extends DeadLetter {
  /** When it was claimed, earlier by what the claim holds less than {@link claimTime}. No other claim on the letter has this time. */
  readonly claimedAt: Timestamp.Timestamp
  /** Whether somebody had claimed it before, and has not released it: a process that has ended meanwhile, in the middle of its handler perhaps. */
  readonly wasAbandoned: boolean
}

/**
 * How many dead letters were handled, have failed again (and stay), were obsolete and discarded (their event was
 * deleted, a stage drops it now, or a newer state has superseded it), or are excluded (and stay): by the filter of their stream, or by its producer, which
 * shows nothing of their entity now. Those that wait behind one that stays are not counted.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandledLetters {
  readonly handled: number
  readonly failed: number
  readonly obsolete: number
  readonly excluded: number
}

/**
 * How far a projection has come in one slice. An offset at position 0 is before the first event.
 *
 * @category models
 * @since 0.1.0
 */
export interface SliceProgress {
  readonly offset: Offset.Offset
  /** The identity of the journal that the offset was taken in, where it is known. */
  readonly journal: string | undefined
  /** As that of `StoredOffsets`, if the slice is in the mode per entity. */
  readonly completeUpTo: Position | undefined
  /** As those of `StoredOffsets`. */
  readonly rewinds: ReadonlyArray<Rewind>
  /** How many events its workers have yet to look through once more, in whatever process, as a filter includes more of them now, or for a repair. */
  readonly pastLag: number
}

/**
 * How far a projection has come in one source.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  readonly source: string
  readonly isPaused: boolean
  /** What has become of the version that it is. A projection without versions is live. */
  readonly phase: Phase
  readonly hasDeadLetters: boolean
  /** The journal that the offsets of all slices past position 0 were taken in; undefined if it is not known, or if there are several. */
  readonly journal: string | undefined
  readonly slices: ReadonlyMap<Slice, SliceProgress>
}

/**
 * Whether a projection is past an event, by how far it has come in its slice, and by the last number that is stored of its entity. Where nobody knows
 * where the event stands, only the number tells.
 *
 * **Example** (An event at an offset, and the one after it)
 *
 * ```ts
 * import { Offset, ProjectionManagement } from "@sluice/core"
 *
 * const slice = { offset: Offset.make(7, 7000), completeUpTo: undefined, rewinds: [] }
 * ProjectionManagement.isPast({ sequenceNumber: 3, position: 7, timestamp: 7000 }, slice, undefined) // => true
 * ProjectionManagement.isPast({ sequenceNumber: 4, position: 8, timestamp: 8000 }, slice, undefined) // => false
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const isPast = (
  { position, sequenceNumber, timestamp }: {
    readonly sequenceNumber: number
    readonly position?: number | undefined
    readonly timestamp?: number | undefined
  },
  { completeUpTo, offset, rewinds }: Pick<SliceProgress, "offset" | "completeUpTo" | "rewinds">,
  last: StoredNumber | undefined
): boolean => {
  if (completeUpTo !== undefined && last !== undefined && last.sequenceNumber >= sequenceNumber) {
    const since = forgottenSince(rewinds, last)
    if (since === undefined || timestamp !== undefined && timestamp < since) return true
  }
  if (position === undefined || timestamp === undefined) return false
  // of another history it says nothing
  const isBehind = position <= offset.position && timestamp <= offset.timestamp
  return isBehind &&
    (completeUpTo === undefined || position <= completeUpTo || isJumped(rewinds, timestamp as Timestamp.Timestamp))
}

/**
 * Stores the commands to projections. Storage adapters provide it, beside the offset store and in its transactions.
 *
 * @category services
 * @since 0.1.0
 */
export class ProjectionManagement extends Context.Service<ProjectionManagement, {
  /** The command to a projection now. */
  readonly command: (projection: string) => Effect.Effect<Command, StorageError>
  /** The commands to several projections, of those that are registered. */
  readonly commands: (
    projections: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyMap<string, Command>, StorageError>
  /** A number that grows with each command to any projection, once that is committed. */
  readonly commanded: Effect.Effect<number, StorageError>
  /** Whether other processes may use the same storage. */
  readonly isShared: boolean
  /**
   * Registers a projection, with an offset before the first event in each slice, unless it is registered, or a version that is not at work
   * any more. Workers do so when they start.
   */
  readonly register: (key: OffsetKey) => Effect.Effect<void, StorageError>
  /** Pauses or resumes a projection, raises the revision, and keeps the command. */
  readonly setPaused: (
    projection: string,
    paused: boolean,
    issue?: Issue
  ) => Effect.Effect<void, UnknownProjection | StorageError>
  /** Sets how many workers a projection has, wherever it runs; undefined for as many as its code says. Raises the revision, and keeps the command. */
  readonly setWorkers: (
    projection: string,
    workers: number | undefined,
    issue?: Issue
  ) => Effect.Effect<void, UnknownProjection | StorageError>
  /**
   * As `setWorkers`, by the projection itself: only if the revision is still the one that the number was found by. Returns whether it was.
   */
  readonly setWorkersAt: (
    projection: string,
    workers: number,
    revision: number,
    issue: Issue
  ) => Effect.Effect<boolean, StorageError>
  /** Up to `limit` commands that were given to a projection, newest first, before a revision. The last {@link keptCommands} are kept. */
  readonly history: (
    projection: string,
    before: number | undefined,
    limit: number
  ) => Effect.Effect<ReadonlyArray<IssuedCommand>, StorageError>
  /** Ends when this process has stored a command to the projection, or another one may have. */
  readonly changes: (projection: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
  /**
   * Sets where a projection goes on, in one transaction. It waits for whoever is handling events, and keeps all others
   * out. It runs the effect, and sets the offsets of all slices; those that `start` does not have go to the beginning.
   * What was left out before the new offsets is still known to be.
   * It discards the dead letters of events that come again, and what was to be skipped, keeps the command, and raises the revision, so that workers
   * with the revision before are fenced. A transaction that the database refuses, as for a deadlock, is tried again. A time in the future
   * is refused, unless events are known to be as new: those of this storage, those that were read, or others up to
   * `newest`.
   */
  readonly rewind: <E, R>(
    key: OffsetKey,
    start: Start,
    undo: Effect.Effect<unknown, E, R>,
    newest?: Timestamp.Timestamp,
    issue?: Issue
  ) => Effect.Effect<
    void,
    E | UnknownProjection | SinceInFuture | TooManyRewinds | StorageError,
    Exclude<R, Transaction>
  >
  /**
   * Has the workers of a projection begin anew from the stored offsets, in one transaction. It waits for whoever is handling events, and
   * raises the revision, so that workers with the revision before are fenced. If it is a command to repair the projection, that is kept.
   */
  readonly restart: (key: OffsetKey, repair?: Issue) => Effect.Effect<void, UnknownProjection | StorageError>
  /** Deletes the offsets and dead letters of a projection in a source, and what it was to skip, keeps the command, and raises the revision. */
  readonly clear: (key: OffsetKey, issue?: Issue) => Effect.Effect<void, UnknownProjection | StorageError>
  /** Stores a version of a projection, unless it is stored: in the phase in which it begins. */
  readonly declare: (id: VersionId, issue?: Issue) => Effect.Effect<void, VersionNameTaken | StorageError>
  /** The versions of a projection, which is given by the name of any of them, by their numbers. One without versions is its own first. */
  readonly versions: (projection: string) => Effect.Effect<ReadonlyArray<StoredVersion>, StorageError>
  /**
   * Makes a version live that is building, in one transaction, if it is complete: it waits for whoever is handling events of it or of those before it, keeps
   * all others out, and asks `isComplete` for how far it has come then. If so it runs the effect, and retires the versions before, whose workers are
   * fenced. Returns whether it has. An effect that leaves the transaction idle for about a minute, or for as long as the storage lets handlers do so, is
   * interrupted, and fails with `SwitchTooSlow` once it lets itself be: who builds a version gives it five seconds to. In memory it has a minute altogether.
   */
  readonly complete: <E, R>(
    id: VersionId,
    isComplete: (progress: ReadonlyArray<Progress>) => boolean,
    switching: Effect.Effect<unknown, E, R>,
    issue?: Issue
  ) => Effect.Effect<boolean, E | SwitchTooSlow | StorageError, Exclude<R, Transaction>>
  /** Retires a version that is building, whose workers are fenced, and keeps the command. Returns whether it was building. */
  readonly cancel: (id: VersionId, issue?: Issue) => Effect.Effect<boolean, StorageError>
  /** Deletes the offsets and dead letters of a version that is retired, for good, and keeps the command. */
  readonly drop: (id: VersionId, issue?: Issue) => Effect.Effect<void, StorageError>
  /** The projections that are registered, by name and source. */
  readonly list: Effect.Effect<ReadonlyArray<OffsetKey>, StorageError>
  /**
   * How far a projection has come in the slices, source by source, as one look at the storage shows it; nothing if it is not registered. A
   * slice without an offset is left out.
   */
  readonly progress: (
    projection: string,
    slices: ReadonlyArray<Slice>
  ) => Effect.Effect<ReadonlyArray<Progress>, StorageError>
  /**
   * Has a projection go past an event when it comes to it, keeps the command, and raises the revision. Fails if the projection is past it, or has put it
   * aside, as far as this storage knows where it stands.
   */
  readonly skip: (
    key: OffsetKey,
    event: DeadLetterId,
    issue?: Issue
  ) => Effect.Effect<void, UnknownProjection | SkipRefused | StorageError>
  /** The events in a range of slices that are still to be skipped. */
  readonly skips: (key: OffsetKey, range: SliceRange) => Effect.Effect<ReadonlyArray<Skip>, StorageError>
  /** An event need not be skipped any more. Returns whether it was to be until now. */
  readonly endSkip: (key: OffsetKey, event: DeadLetterId) => Effect.Effect<boolean, StorageError>
  /** Keeps the dead letter of an event that has failed, in place of one of the same event. */
  readonly putAside: (letter: Omit<DeadLetter, "at" | "isQueued">) => Effect.Effect<void, StorageError>
  /** The entities in a range of slices that have dead letters. */
  readonly parked: (key: OffsetKey, range: SliceRange) => Effect.Effect<ReadonlyArray<PersistenceId>, StorageError>
  /**
   * Which of the entities have dead letters. Those keep some until the end of the transaction: whoever would handle or discard the last one of an entity
   * waits for it.
   */
  readonly holdParked: (
    key: OffsetKey,
    persistenceIds: ReadonlyArray<PersistenceId>
  ) => Effect.Effect<ReadonlySet<PersistenceId>, StorageError>
  /** Keeps events as dead letters that wait behind those of their entities, unless they are dead letters already. */
  readonly queue: (key: OffsetKey, events: ReadonlyArray<Place>) => Effect.Effect<void, StorageError>
  /** How many dead letters there are. */
  readonly letterCounts: (key: OffsetKey) => Effect.Effect<LetterCounts, StorageError>
  /** The dead letters that have failed, by how, up to `limit` groups, those with most letters first. */
  readonly letterGroups: (key: OffsetKey, limit: number) => Effect.Effect<ReadonlyArray<LetterGroup>, StorageError>
  /** Keeps the command, raises the revision, then discards some dead letters, and returns how many. */
  readonly discardAll: (
    key: OffsetKey,
    which: LetterSelection,
    issue?: Issue
  ) => Effect.Effect<number, UnknownProjection | StorageError>
  /** Up to `limit` dead letters of a projection, in the order of their persistence ids and sequence numbers, after one of them. */
  readonly deadLetters: (
    key: OffsetKey,
    after: DeadLetterId | undefined,
    limit: number
  ) => Effect.Effect<ReadonlyArray<DeadLetter>, StorageError>
  /** The same without their content, however large that is. */
  readonly listLetters: (
    key: OffsetKey,
    after: DeadLetterId | undefined,
    limit: number
  ) => Effect.Effect<ReadonlyArray<ListedLetter>, StorageError>
  /** Discards a dead letter, and returns it; none if it is not there. With a claim, only while that claim holds. */
  readonly discard: (
    key: OffsetKey,
    letter: DeadLetterId,
    claimedAt?: Timestamp.Timestamp
  ) => Effect.Effect<DeadLetter | undefined, StorageError>
  /** Discards a dead letter because somebody has said so, and returns it; none if it is not there. It keeps the command, and raises the revision. */
  readonly discardAsTold: (
    key: OffsetKey,
    letter: DeadLetterId,
    issue?: Issue
  ) => Effect.Effect<DeadLetter | undefined, UnknownProjection | StorageError>
  /** Discards the dead letters of events that come again by the offsets. */
  readonly discardAhead: (key: OffsetKey) => Effect.Effect<void, StorageError>
  /**
   * Claims a dead letter for so many milliseconds, {@link claimTime} by default and at most, and returns it; none if it is not there, or somebody else has
   * claimed it.
   */
  readonly claim: (
    key: OffsetKey,
    letter: DeadLetterId,
    claimFor?: number
  ) => Effect.Effect<ClaimedLetter | undefined, StorageError>
  /** Renews a claim for so many milliseconds, as `claim` does, and returns the new claim; none if it is lost. */
  readonly renew: (
    key: OffsetKey,
    letter: DeadLetterId,
    claimedAt: Timestamp.Timestamp,
    claimFor?: number
  ) => Effect.Effect<Timestamp.Timestamp | undefined, StorageError>
  /**
   * Releases a claim, unless it is lost, and stores the new failure if there is one. Without a claim it only stores the
   * failure, if nobody has claimed the letter. A letter whose event was deleted keeps its text.
   */
  readonly release: (
    key: OffsetKey,
    letter: DeadLetterId,
    claimedAt: Timestamp.Timestamp | undefined,
    failure: LetterFailure | undefined
  ) => Effect.Effect<void, StorageError>
}>()("@sluice/core/ProjectionManagement") {}

/**
 * No projection of this name, or none that reads this source, was ever started on this storage, or it is a version that does not run any more
 * (`isRetired`): then `live` is the name of the one to command, if any is live. Correct the name; a projection is known once it has been started.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnknownProjection
  extends ExpectedError.TaggedError<UnknownProjection>("@sluice/core/UnknownProjection")("UnknownProjection", {
    projection: Schema.String,
    source: Schema.UndefinedOr(Schema.String),
    /** The name of the version that is live, if the projection is one that does not run any more. */
    live: Schema.optional(Schema.String),
    /** Whether the projection is a version that does not run any more. */
    isRetired: Schema.optional(Schema.Boolean)
  })
{
  override get message(): string {
    if (this.isRetired === true) {
      return `Projection '${this.projection}' is a version that does not run any more${
        this.live === undefined
          ? ", and none is live: start one with the next number, or name one that is being built"
          : `: '${this.live}' is live, name that one`
      }`
    }
    const what = this.source === undefined ? "" : ` that reads '${this.source}'`
    return `No projection '${this.projection}'${what} was ever started on this storage: correct the name, or start it first`
  }
}

/**
 * A version of a projection has a name that another projection has on this storage, which was started without versions. Nothing was changed.
 *
 * @category errors
 * @since 0.1.0
 */
export class VersionNameTaken
  extends ExpectedError.TaggedError<VersionNameTaken>("@sluice/core/VersionNameTaken")("VersionNameTaken", {
    of: Schema.String,
    version: Schema.Int
  })
{
  override get message(): string {
    return `Version ${this.version} of projection '${this.of}' cannot begin, as a projection '${
      versionName(this)
    }' without versions was started on this storage: ` +
      "give the version another number"
  }
}

/**
 * A projection was to go on at a time that is later than now, and later than its events. All events until then would be
 * left out. Nothing was changed.
 *
 * @category errors
 * @since 0.1.0
 */
export class SinceInFuture
  extends ExpectedError.TaggedError<SinceInFuture>("@sluice/core/SinceInFuture")("SinceInFuture", {
    projection: Schema.String,
    since: Timestamp.Timestamp,
    now: Timestamp.Timestamp
  })
{
  override get message(): string {
    return `Projection '${this.projection}' cannot go on at ${isoOf(this.since)}, as it is ${isoOf(this.now)}: ` +
      "the events until then would be passed over. Give a time that is past, in microseconds, as Timestamp.fromMillis makes them"
  }
}

/**
 * A projection whose filter has left something out was led forwards too often: all that these rewinds have jumped over has to be remembered. Nothing was
 * changed. Rewind it to a place before them, after which it reads what they have jumped over, or to the beginning.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooManyRewinds
  extends ExpectedError.TaggedError<TooManyRewinds>("@sluice/core/TooManyRewinds")("TooManyRewinds", {
    projection: Schema.String,
    source: Schema.String,
    slice: Slice
  })
{
  override get message(): string {
    return `Projection '${this.projection}' cannot be rewound to there in '${this.source}': slice ${this.slice} was led forwards too often, ` +
      "and what was jumped over cannot be remembered. Rewind to a place before those rewinds, or to the beginning"
  }
}

/**
 * An event was not skipped: the projection is past it (`Past`), as it has handled or skipped it, or read it before a rewind led it on; it has put the event aside (`PutAside`),
 * and `discard` gives that up; or {@link maxSkips} others are still to be skipped (`TooMany`). Nothing was changed.
 *
 * @category errors
 * @since 0.1.0
 */
export class SkipRefused extends ExpectedError.TaggedError<SkipRefused>("@sluice/core/SkipRefused")("SkipRefused", {
  projection: Schema.String,
  source: Schema.String,
  persistenceId: Schema.String,
  sequenceNumber: Schema.Number,
  reason: Schema.Literals(["Past", "PutAside", "TooMany"])
}) {
  override get message(): string {
    const { persistenceId, projection, reason, sequenceNumber, source } = this
    return `Projection '${projection}' does not skip event ${sequenceNumber} of '${persistenceId}' in '${source}': ${
      because[reason]
    }`
  }
}

const because: Record<SkipRefused["reason"], string> = {
  Past: "it is past it already. To have an event handled in another way, rewind the projection to a place before it",
  PutAside: "it has put it aside as a dead letter. Discard that, or handle it again",
  TooMany:
    `${maxSkips} other events are still to be skipped. Wait until it has come to them, or rewind it, which withdraws them`
}

/**
 * A projection reads several sources, and it is not said which are meant: it is named by its name alone, or is given as a whole. Nothing was
 * changed. Say which, with a row of {@link list}.
 *
 * @category errors
 * @since 0.1.0
 */
export class AmbiguousProjection
  extends ExpectedError.TaggedError<AmbiguousProjection>("@sluice/core/AmbiguousProjection")("AmbiguousProjection", {
    projection: Schema.String,
    sources: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    const sources = this.sources.map((source) => `'${source}'`).join(", ")
    return `Projection '${this.projection}' reads several sources, or has read them, ${sources}: ` +
      "say which, as { projection, source }"
  }
}

/**
 * Fails if the projection is a version that does not run any more, and says which one is live, if any is.
 *
 * @category checking
 * @since 0.1.0
 */
export const checkAtWork = (
  { versions }: ProjectionManagement["Service"],
  projection: string
): Effect.Effect<void, UnknownProjection | StorageError> =>
  Effect.flatMap(versions(projection), (found) => {
    const own = found.find((version) => version.projection === projection)
    if (own === undefined || isAtWork(own.phase)) return Effect.void
    const live = found.find(({ phase }) => phase === "Live")?.projection
    return Effect.fail(new UnknownProjection({ projection, source: undefined, live, isRetired: true }))
  })

/**
 * The key of a projection; where only its name is given, that of the one that is known by it. If it runs in this process, it is known which sources it reads,
 * also while some of them are not registered yet.
 *
 * @category getters
 * @since 0.1.0
 */
export const resolve = Effect.fnUntraced(function*(
  management: ProjectionManagement["Service"],
  ref: ProjectionRef
): Effect.fn.Return<OffsetKey, CommandError> {
  const projection = nameOf(ref)
  const given = keysOf(ref)
  const keys = given.length > 0 ? given : (yield* management.list).filter((key) => key.projection === projection)
  const [key] = keys
  if (key === undefined) yield* checkAtWork(management, projection)
  if (key === undefined) return yield* new UnknownProjection({ projection, source: undefined })
  const running = given.length > 0 ? [] : (yield* ProjectionRegistry).workers(projection)
  const sources = new Set([...keys.map(({ source }) => source), ...running.flatMap(({ sources }) => sources)])
  if (sources.size === 1) return key
  return yield* new AmbiguousProjection({ projection, sources: [...sources] })
})

/**
 * Fails if no projection of this name, and of this source if the reference says one, is registered.
 *
 * @category checking
 * @since 0.1.0
 */
export const checkKnown = (
  management: ProjectionManagement["Service"],
  ref: ProjectionRef
): Effect.Effect<void, UnknownProjection | StorageError> => {
  const projection = nameOf(ref)
  const source = sourceOf(ref)
  return Effect.flatMap(
    management.progress(projection, []),
    (found) =>
      found.some((progress) => source === undefined || progress.source === source)
        ? Effect.void
        : Effect.andThen(
          checkAtWork(management, projection),
          Effect.fail(new UnknownProjection({ projection, source }))
        )
  )
}

/**
 * What goes wrong when a projection is commanded.
 *
 * @category errors
 * @since 0.1.0
 */
export type CommandError = UnknownProjection | AmbiguousProjection | StorageError

/**
 * What is to be kept of a command.
 *
 * @category constructors
 * @since 0.1.0
 */
export const issueOf = (options: CommandOptions | undefined, to?: Target): Effect.Effect<Issue, InvalidInput> =>
  Effect.flatMap(Effect.all([Heartbeat, Clock.currentTimeMillis]), ([{ name }, now]) => {
    const { by = name, reason = "" } = options ?? {}
    const invalid = Check.author(by, reason) ??
      (typeof to === "object" && "since" in to ? sinceProblem(to.since, now) : undefined)
    return invalid === undefined
      ? Effect.succeed({ by, reason, target: to && targetText(to) })
      : Effect.fail(invalid)
  })

/** The beginning of the year 2000, in milliseconds. */
const millennium = 946_684_800_000

/** Milliseconds that are taken for microseconds are in January 1970. A test's clock may be there as well. */
const sinceProblem = (since: Timestamp.Timestamp, now: number): InvalidInput | undefined =>
  now < millennium || Timestamp.toMillis(since) >= millennium ? undefined : new InvalidInput({
    input: "since",
    problem:
      `it is ${isoOf(since)}, before the year 2000. It takes microseconds: make them with Timestamp.fromMillis. ` +
      "For all events, rewind to \"beginning\""
  })

const isoOf = (time: Timestamp.Timestamp): string => DateTime.formatIso(DateTime.makeUnsafe(Timestamp.toMillis(time)))

const targetText = (to: Target): string => {
  if (to === "beginning") return to
  if ("since" in to) return `since ${isoOf(to.since)}`
  let positions = 0
  for (const { position } of to.offsets.values()) positions += position
  return `${positions} positions in`
}

const withKey = <A, E>(
  ref: ProjectionRef,
  command: (management: ProjectionManagement["Service"], key: OffsetKey) => Effect.Effect<A, E>
): Effect.Effect<A, E | CommandError, ProjectionManagement> =>
  ProjectionManagement.use((management) => Effect.flatMap(resolve(management, ref), (key) => command(management, key)))

/** As {@link withKey}, unless the projection is a version that does not run any more, which may be cleared only. */
const withKeyAtWork = <A, E>(
  ref: ProjectionRef,
  command: (management: ProjectionManagement["Service"], key: OffsetKey) => Effect.Effect<A, E>
): Effect.Effect<A, E | CommandError, ProjectionManagement> =>
  withKey(ref, (management, key) => Effect.andThen(checkAtWork(management, key.projection), command(management, key)))

/**
 * Pauses a projection: its workers finish what they are handling and wait, also when they are started again. Like every command it is told
 * which projection by what is at hand: the projection, its name, or a row of {@link list}.
 *
 * **Example** (Pausing, and going on)
 *
 * ```ts
 * import { EntityType, EventCodec, MemoryStorage, Projection, ProjectionManagement, ProjectionStatus, Source } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Lengths = Source.journal(Note).pipe(Projection.exactlyOnce("lengths", () => Effect.void))
 *
 * const program = Effect.gen(function*() {
 *   yield* Layer.build(Projection.layer(Lengths))
 *   yield* ProjectionStatus.caughtUp("lengths")
 *   yield* ProjectionManagement.pause("lengths")
 *   const paused = yield* ProjectionManagement.isPaused("lengths")
 *   yield* ProjectionManagement.resume("lengths")
 *   return [paused, yield* ProjectionManagement.isPaused("lengths")]
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer))) // => [true, false]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const pause = (
  projection: ProjectionRef,
  options?: CommandOptions
): Effect.Effect<void, UnknownProjection | InvalidInput | StorageError, ProjectionManagement> =>
  setPaused(projection, true, options)

const setPaused = (projection: ProjectionRef, paused: boolean, options: CommandOptions | undefined) =>
  Effect.flatMap(
    issueOf(options),
    (issue) =>
      ProjectionManagement.use((management) =>
        Effect.andThen(
          checkAtWork(management, nameOf(projection)),
          management.setPaused(nameOf(projection), paused, issue)
        )
      )
  )

/**
 * Resumes a projection that was paused, or that has stopped at an event.
 *
 * @category operations
 * @since 0.1.0
 */
export const resume = (
  projection: ProjectionRef,
  options?: CommandOptions
): Effect.Effect<void, UnknownProjection | InvalidInput | StorageError, ProjectionManagement> =>
  setPaused(projection, false, options)

/**
 * Whether a projection is paused.
 *
 * @category getters
 * @since 0.1.0
 */
export const isPaused = (projection: ProjectionRef): Effect.Effect<boolean, StorageError, ProjectionManagement> =>
  Effect.map(ProjectionManagement.use((management) => management.command(nameOf(projection))), ({ paused }) => paused)

/**
 * Sets how many workers a projection has, 1 to 1024, also while it runs: in all of its processes within a second, and when it is started again. With
 * `"asInCode"` it has as many as `Projection.workers` says, as before it was scaled for the first time.
 *
 * **Details**
 *
 * The slices are divided anew. Workers whose slices stay as they are go on. Of the others each finishes what its handler has in hand, and stores
 * its offsets, and then those begin that have its slices now. So nothing is left out or repeated in a process. What overlaps in several processes
 * fences each other, as their workers do not learn of the command at the same moment: nothing is handled twice exactly once.
 *
 * Workers that were started with `ProjectionWorker` keep their slices.
 *
 * **Example** (More workers, and as many as before)
 *
 * ```ts
 * import { EntityType, EventCodec, MemoryStorage, Projection, ProjectionManagement, ProjectionStatus, Source } from "@sluice/core"
 * import { Effect, Layer, Schedule } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Lengths = Source.journal(Note).pipe(Projection.exactlyOnce("lengths", () => Effect.void), Projection.workers(2))
 *
 * const workers = (n: number) =>
 *   ProjectionStatus.status("lengths").pipe(
 *     Effect.repeat({ until: ({ length }) => length === n, schedule: Schedule.spaced("10 millis") }),
 *     Effect.map((workers) => workers.map(({ range }) => `${range.min}-${range.max}`))
 *   )
 * const program = Effect.gen(function*() {
 *   yield* Layer.build(Projection.layer(Lengths))
 *   yield* ProjectionManagement.scale("lengths", 4, { by: "ada", reason: "the sale begins" })
 *   const more = yield* workers(4)
 *   yield* ProjectionManagement.scale("lengths", "asInCode")
 *   return [more, yield* workers(2)]
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer)))
 * // => [["0-255", "256-511", "512-767", "768-1023"], ["0-511", "512-1023"]]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const scale = (
  projection: ProjectionRef,
  workers: number | "asInCode",
  options?: CommandOptions
): Effect.Effect<void, UnknownProjection | InvalidInput | StorageError, ProjectionManagement> => {
  const invalid = workers === "asInCode" ? undefined : Check.workers(workers)
  if (invalid !== undefined) return Effect.fail(invalid)
  const count = workers === "asInCode" ? undefined : workers
  const target = count === undefined ? "as in code" : count === 1 ? "1 worker" : `${count} workers`
  return Effect.flatMap(
    issueOf(options),
    (issue) =>
      ProjectionManagement.use((management) =>
        Effect.andThen(
          checkAtWork(management, nameOf(projection)),
          management.setWorkers(nameOf(projection), count, { ...issue, target })
        )
      )
  )
}

/**
 * How many workers a projection has by the last command to {@link scale} it.
 *
 * @category getters
 * @since 0.1.0
 */
export const scaledTo = (
  projection: ProjectionRef
): Effect.Effect<number | "asInCode", StorageError, ProjectionManagement> =>
  Effect.map(
    ProjectionManagement.use((management) => management.command(nameOf(projection))),
    ({ automatic, workers }) => automatic ? "asInCode" : workers ?? "asInCode"
  )

/**
 * No version of a projection is being built: none was, or it is live by now, or was cancelled before. Nothing was changed.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotBuilding extends ExpectedError.TaggedError<NotBuilding>("@sluice/core/NotBuilding")("NotBuilding", {
  projection: Schema.String
}) {
  override get message(): string {
    return `No version of projection '${this.projection}' is being built: ProjectionStatus.versions tells which are, and which one is live`
  }
}

/**
 * Cancels the building of a version of a projection, which is given by the name of that version; by the name that all versions have in common it is that
 * of each that is building. Its workers rest, in all processes within a second, and what it has written is dropped as `Projection.version` says. The
 * version that is live is left alone. A version that was cancelled is never built again: the next one has another number.
 *
 * @category operations
 * @since 0.1.0
 */
export const cancelRebuild = (
  projection: ProjectionRef,
  options?: CommandOptions
): Effect.Effect<void, NotBuilding | UnknownProjection | InvalidInput | StorageError, ProjectionManagement> =>
  Effect.gen(function*() {
    const issue = yield* issueOf(options)
    const management = yield* ProjectionManagement
    const name = nameOf(projection)
    const versions = yield* management.versions(name)
    if (versions.length === 0) return yield* new UnknownProjection({ projection: name, source: undefined })
    const meant = versions.filter((version) =>
      version.phase === "Building" && (version.of === name || version.projection === name)
    )
    const cancelled = yield* Effect.forEach(meant, (version) => management.cancel(version, issue))
    if (!cancelled.includes(true)) return yield* new NotBuilding({ projection: name })
  })

/**
 * Has a projection go on after an event that it has stopped at, or tries again and again, without handling it: exactly this event, and once. It is effective
 * within a second, wherever the projection runs; if it does not run, once it starts.
 *
 * **Details**
 *
 * The worker goes past the event in a transaction of its own, in which the skip ends. A group is divided: what comes before the event, and after it, is
 * handled. It works for an event that cannot be decoded as well. Which one a worker has stopped at is the `event` of its `failure` in `ProjectionStatus.status`.
 * The log says that it was skipped, who has said so and why; and the event counts as `skipped`.
 *
 * An event that the projection has yet to come to is skipped when it does so. A paused projection stays paused. A rewind, or `clear`, withdraws what was not skipped yet.
 *
 * Fails with {@link SkipRefused} if the projection is past the event, as it has handled it, or has put it aside. The storage may not know where an
 * event of another service stands, and a handler may succeed before its worker learns that it is to skip: then nothing is skipped, and the log says so.
 *
 * **Example** (Going past what cannot be handled)
 *
 * ```ts
 * import { EntityType, EventCodec, Journal, MemoryStorage, Projection, ProjectionManagement, ProjectionStatus, RecoveryStrategy, Source } from "@sluice/core"
 * import { Effect, Layer, References } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const seen: Array<string> = []
 * const Notes = Source.journal(Note).pipe(
 *   Projection.exactlyOnce("notes", ({ event }) =>
 *     event === "bad" ? Effect.fail("broken") : Effect.sync(() => void seen.push(event))),
 *   Projection.recovery(RecoveryStrategy.fail)
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["a", "bad", "c"] })
 *   yield* Layer.build(Projection.layer(Notes))
 *   const event = { persistenceId: "note|n-1", sequenceNumber: 2 }
 *   yield* ProjectionManagement.skip("notes", event, { by: "ada", reason: "was sent by mistake" })
 *   yield* ProjectionStatus.caughtUp("notes")
 *   return seen
 * }).pipe(
 *   Effect.scoped,
 *   Effect.provide(MemoryStorage.layer),
 *   Effect.provideService(References.MinimumLogLevel, "None")
 * )
 * await Effect.runPromise(program) // => ["a", "c"]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const skip = (
  projection: ProjectionRef,
  event: EventRef,
  options?: CommandOptions
): Effect.Effect<void, CommandError | SkipRefused | InvalidInput, ProjectionManagement> => {
  const invalid = Check.persistenceId(event.persistenceId)
  if (invalid !== undefined) return Effect.fail(invalid)
  return Effect.flatMap(
    Effect.all([eventId(event), issueOf(options)]),
    ([id, issue]) =>
      withKeyAtWork(projection, (management, key) => management.skip(key, id, { ...issue, target: eventText(id) }))
  )
}

/** The column of MySQL has room for 255 characters. */
const eventText = ({ persistenceId, sequenceNumber }: DeadLetterId): string =>
  `event ${sequenceNumber} of '${persistenceId}'`.slice(0, 255)

/**
 * How many workers a projection is to have, and why.
 *
 * @category models
 * @since 0.1.0
 */
export interface ScaleReason extends Pick<IssuedCommand, "by" | "reason" | "at"> {
  /** Undefined for as many as its code says: where that has bounds, as many as the lag asks for, from the smallest number on. */
  readonly workers: number | undefined
  /** Whether the projection itself has found this number, by its lag. After `"asInCode"` it has yet to find one. */
  readonly isAutomatic: boolean
}

/**
 * How many workers a projection is to have, who has said so last, when and why: a person, a program, or `automatic`, the projection itself. Undefined if nobody
 * has, so that its code decides, or if that is not among the last {@link keptCommands} commands.
 *
 * @category getters
 * @since 0.1.0
 */
export const scaling = (
  projection: ProjectionRef
): Effect.Effect<ScaleReason | undefined, StorageError, ProjectionManagement> =>
  Effect.gen(function*() {
    const management = yield* ProjectionManagement
    const { automatic: isAutomatic, workers } = yield* management.command(nameOf(projection))
    const issued = yield* management.history(nameOf(projection), undefined, keptCommands)
    const newest = issued.find(({ command }) => command === "Scale")
    if (newest === undefined) return undefined
    const { at, by, reason } = newest
    return { workers, isAutomatic, by, reason, at }
  })

/**
 * Where a projection is to go on: at the beginning, at the first events that are not older than a time, or after offsets.
 *
 * @category models
 * @since 0.1.0
 */
export type Target = "beginning" | { readonly since: Timestamp.Timestamp } | Start

/**
 * Offsets for where a projection is to go on.
 *
 * @category constructors
 * @since 0.1.0
 */
export const startOf = (to: Target): Start =>
  to === "beginning"
    ? { journal: undefined, offsets: Offset.none }
    : "since" in to
    ? { journal: undefined, offsets: Offset.since(to.since) }
    : to

/**
 * Fails if the offsets begin at a time that is later than now and than `newest`, the newest time that events are known
 * to have. After a clock was set back, events are later than now. `newest` is only asked for if the time is later than
 * now.
 *
 * @category constructors
 * @since 0.1.0
 */
export const checkSince = <E, R>(
  { projection }: OffsetKey,
  { offsets }: Start,
  now: Timestamp.Timestamp,
  newest: Effect.Effect<number, E, R>
): Effect.Effect<void, SinceInFuture | E, R> => {
  let since = now
  for (const { position, timestamp } of offsets.values()) if (position === 0 && timestamp > since) since = timestamp
  return since === now ? Effect.void : Effect.flatMap(
    newest,
    (newest) => since <= newest ? Effect.void : Effect.fail(new SinceInFuture({ projection, since, now }))
  )
}

/**
 * The error of a dead letter whose event was deleted.
 *
 * @category constants
 * @since 0.1.0
 */
export const deletedError = "The event was deleted from its journal"

/**
 * What is said of an event in place of an error that waits behind another one.
 *
 * @category constants
 * @since 0.1.0
 */
export const queuedError = "Waits behind an earlier event of its entity that has failed"

/**
 * For how long a claim on a dead letter holds at most, and by default, in milliseconds. After a crash others can claim the letter then.
 *
 * @category constants
 * @since 0.1.0
 */
export const claimTime = 5 * 60_000

/**
 * A new claim on a dead letter, as a time in microseconds: one that holds for less than {@link claimTime} is as old already as it needs to be to run out sooner, for
 * everybody. It differs from the one before even if the clock was set back.
 *
 * @category constructors
 * @since 0.1.0
 */
export const claimAfter = (
  before: number | null | undefined,
  now: number,
  claimFor: number = claimTime
): Timestamp.Timestamp =>
  Timestamp.make(Math.max(now - Math.round(Math.max(0, claimTime - claimFor) * 1000), (before ?? 0) + 1))

/**
 * The error of a dead letter after another try. A new error may quote the event, which may have been deleted meanwhile.
 *
 * @category getters
 * @since 0.1.0
 */
export const errorAfter = (before: string, error: string | undefined): string =>
  before === deletedError ? before : error ?? before

/**
 * Sets where a projection goes on in its source, also while it runs somewhere else. Handlers then see events again, or
 * miss some. What they have written stays. Dead letters of events that come again are discarded.
 *
 * **When to use**
 *
 * If the projection itself is not at hand, but its name, or a row of {@link list}. If it is, `Projection.rewind` can
 * undo what its handler has written in the same transaction.
 *
 * **Gotchas**
 *
 * A time, `since`, is one of events' timestamps. Where it stands in the source is found out by the worker that goes on there, a moment later. What is written until then
 * with an older timestamp, as the clock of the database was set back, counts as older, and does not come. `Projection.rewind` asks the source at once.
 *
 * **Example** (Everything again)
 *
 * ```ts
 * import { MemoryStorage, ProjectionManagement } from "@sluice/core"
 * import { Effect } from "effect"
 *
 * // it was never started
 * const program = Effect.flip(ProjectionManagement.rewind("lengths", "beginning"))
 * const { message } = await Effect.runPromise(Effect.provide(program, MemoryStorage.layer))
 * message // => "No projection 'lengths' was ever started on this storage: correct the name, or start it first"
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const rewind = (
  projection: ProjectionRef,
  to: Target,
  options?: CommandOptions
): Effect.Effect<void, CommandError | SinceInFuture | TooManyRewinds | InvalidInput, ProjectionManagement> =>
  Effect.flatMap(issueOf(options, to), (issue) =>
    withKeyAtWork(
      projection,
      // it may be retired meanwhile, and is not once it is locked
      (management, key) =>
        management.rewind(key, startOf(to), checkAtWork(management, key.projection), undefined, issue)
    ))

/**
 * Deletes the offsets and dead letters of a projection in a source. It is meant for a projection that is not used any
 * more: a running one begins again.
 *
 * @category operations
 * @since 0.1.0
 */
export const clear = (
  projection: ProjectionRef,
  options?: CommandOptions
): Effect.Effect<void, CommandError | InvalidInput, ProjectionManagement> =>
  Effect.flatMap(
    issueOf(options),
    (issue) => withKey(projection, (management, key) => management.clear(key, issue))
  )

/**
 * Up to `limit` (100) commands that were given to a projection, newest first: who has given them, when, and why. With `before`, those before a
 * revision, such as that of the last one of the page before. The newest {@link keptCommands} are kept, also if the projection is cleared. Fails with
 * `UnknownProjection` if the projection was never started on this storage.
 *
 * **Details**
 *
 * Changes of a stream's filter are in the history of `ConsumerFilter`.
 *
 * **Example** (Who has paused it)
 *
 * ```ts
 * import { EntityType, EventCodec, MemoryStorage, Projection, ProjectionManagement, Source } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Lengths = Source.journal(Note).pipe(Projection.exactlyOnce("lengths", () => Effect.void))
 *
 * const program = Effect.gen(function*() {
 *   yield* Layer.build(Projection.layer(Lengths))
 *   yield* ProjectionManagement.pause("lengths", { by: "ada", reason: "the table is migrated" })
 *   yield* ProjectionManagement.rewind("lengths", "beginning", { by: "ada" })
 *   const commands = yield* ProjectionManagement.history("lengths")
 *   return commands.map(({ by, command, reason, target }) => [command, target, by, reason])
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer)))
 * // => [["Rewind", "beginning", "ada", ""], ["Pause", undefined, "ada", "the table is migrated"]]
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const history = (projection: ProjectionRef, options?: {
  readonly before?: number | undefined
  readonly limit?: number | undefined
}): Effect.Effect<
  ReadonlyArray<IssuedCommand>,
  UnknownProjection | InvalidInput | StorageError,
  ProjectionManagement
> => {
  const { before, limit = 100 } = options ?? {}
  const invalid = Check.safeInteger("limit", limit) ??
    (before === undefined ? undefined : Check.safeInteger("before", before))
  if (invalid !== undefined) return Effect.fail(invalid)
  const name = nameOf(projection)
  return ProjectionManagement.use((management) =>
    Effect.tap(
      management.history(name, before, limit),
      // the commands to one that was cleared are kept
      ([found]) =>
        found !== undefined ? Effect.void : Effect.flatMap(
          management.history(name, undefined, 1),
          ([newest]) => newest === undefined ? checkKnown(management, name) : Effect.void
        )
    )
  )
}

/**
 * The projections that were started on this storage, and not cleared since, by name and source.
 *
 * @category getters
 * @since 0.1.0
 */
export const list: Effect.Effect<ReadonlyArray<OffsetKey>, StorageError, ProjectionManagement> = ProjectionManagement
  .use((management) => management.list)

/**
 * Which event of a projection's source.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventRef {
  readonly persistenceId: string
  readonly sequenceNumber: number
}

/**
 * Which dead letter of a projection: as {@link deadLetters} gives it, or by its event alone.
 *
 * @category models
 * @since 0.1.0
 */
export type DeadLetterRef = Pick<DeadLetter, "envelope"> | EventRef

/**
 * Up to `limit` (100) dead letters of a projection in the order of their persistence ids and sequence numbers, after one of them, such as the last
 * one of the page before.
 *
 * @category getters
 * @since 0.1.0
 */
export const deadLetters = (projection: ProjectionRef, options?: {
  readonly after?: DeadLetterRef | undefined
  readonly limit?: number | undefined
}): Effect.Effect<ReadonlyArray<DeadLetter>, CommandError | InvalidInput, ProjectionManagement> => {
  const { after, limit = 100 } = options ?? {}
  const invalid = Check.safeInteger("limit", limit)
  if (invalid !== undefined) return Effect.fail(invalid)
  return Effect.flatMap(
    after === undefined ? Effect.undefined : letterId(after),
    (after) => withKey(projection, (management, key) => management.deadLetters(key, after, limit))
  )
}

/**
 * Discards a dead letter, and returns it; none if it is not there, which is no command then. If it is the only one of its entity, that is not parked any more.
 *
 * @category operations
 * @since 0.1.0
 */
export const discard = (
  projection: ProjectionRef,
  letter: DeadLetterRef,
  options?: CommandOptions
): Effect.Effect<DeadLetter | undefined, CommandError | InvalidInput, ProjectionManagement> =>
  Effect.flatMap(Effect.all([letterId(letter), issueOf(options)]), ([id, issue]) =>
    withKey(
      projection,
      (management, key) => management.discardAsTold(key, id, { ...issue, target: eventText(id) })
    ))

/**
 * Discards the dead letters of an entity, those that have failed in the same way, or all of a projection, and returns how many. The {@link history} keeps who has
 * done so, when, and why. Their events are not handled. Events that wait behind some that are discarded still wait for `Projection.handleDeadLetters`, unless they are discarded as well, as those of an
 * entity are.
 *
 * **Example** (Giving up an entity)
 *
 * ```ts
 * import {
 *   EntityType,
 *   EventCodec,
 *   Journal,
 *   MemoryStorage,
 *   Projection,
 *   ProjectionManagement,
 *   ProjectionStatus,
 *   RecoveryStrategy,
 *   Source
 * } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = Source.journal(Note).pipe(
 *   Projection.exactlyOnce("notes", () => Effect.fail("broken")),
 *   Projection.recovery(RecoveryStrategy.deadLetter)
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["a", "b"] })
 *   yield* Layer.build(Projection.layer(Notes))
 *   yield* ProjectionStatus.caughtUp("notes")
 *   const which = { persistenceId: "note|n-1" }
 *   return yield* ProjectionManagement.discardLetters("notes", which, { by: "ada", reason: "a test" })
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer))) // => 2
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const discardLetters = (
  projection: ProjectionRef,
  which: "all" | { readonly persistenceId: string; readonly fingerprint?: string } | { readonly fingerprint: string },
  options?: CommandOptions
): Effect.Effect<number, CommandError | InvalidInput, ProjectionManagement> => {
  const discarding = (which: LetterSelection) =>
    Effect.flatMap(issueOf(options), (issue) =>
      withKey(
        projection,
        (management, key) => management.discardAll(key, which, { ...issue, target: lettersText(which) })
      ))
  if (which === "all") return discarding({})
  for (const [input, text] of Object.entries(which)) {
    // a program without types must not throw everything away for a group that is gone
    const problem = text === undefined ? "is undefined: \"all\" discards all of them" : textProblem(text)
    if (problem !== undefined) return Effect.fail(new InvalidInput({ input, problem: `it ${problem}` }))
  }
  return discarding(which)
}

const lettersText = ({ fingerprint, persistenceId }: LetterSelection): string => {
  const those = [
    ...fingerprint === undefined ? [] : [`that have failed as ${fingerprint}`],
    ...persistenceId === undefined ? [] : [`of '${persistenceId}'`]
  ]
  return those.length === 0 ? "all letters" : ["letters", ...those].join(" ").slice(0, 255)
}

/**
 * How many entities of a projection are parked, and how many of its events have failed, or wait behind those.
 *
 * **Example** (An entity that waits)
 *
 * ```ts
 * import {
 *   EntityType,
 *   EventCodec,
 *   Journal,
 *   MemoryStorage,
 *   Projection,
 *   ProjectionManagement,
 *   ProjectionStatus,
 *   RecoveryStrategy,
 *   Source
 * } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = Source.journal(Note).pipe(
 *   Projection.exactlyOnce("notes", ({ event }) => event === "bad" ? Effect.fail("broken") : Effect.void),
 *   Projection.recovery(RecoveryStrategy.deadLetter)
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["a", "bad", "c", "d"] })
 *   yield* Layer.build(Projection.layer(Notes))
 *   yield* ProjectionStatus.caughtUp("notes")
 *   return yield* ProjectionManagement.deadLetterCounts("notes")
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer)))
 * // => { entities: 1, failed: 1, queued: 2 }
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const deadLetterCounts = (
  projection: ProjectionRef
): Effect.Effect<LetterCounts, CommandError, ProjectionManagement> =>
  withKey(projection, (management, key) => management.letterCounts(key))

/**
 * The dead letters of a projection that have failed, by how they have: up to `limit` (100) groups, those with most letters first. Events that
 * wait behind them are in no group.
 *
 * **Example** (Two faults)
 *
 * ```ts
 * import {
 *   EntityType,
 *   EventCodec,
 *   Journal,
 *   MemoryStorage,
 *   Projection,
 *   ProjectionManagement,
 *   ProjectionStatus,
 *   RecoveryStrategy,
 *   Source
 * } from "@sluice/core"
 * import { Effect, Layer } from "effect"
 *
 * const Note = EntityType.make("note", { codec: EventCodec.string })
 * const Notes = Source.journal(Note).pipe(
 *   Projection.exactlyOnce("notes", ({ event }) => Effect.fail({ _tag: event })),
 *   Projection.recovery(RecoveryStrategy.deadLetter)
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* Journal.append(Note, { id: "n-1", events: ["PriceMissing"] })
 *   yield* Journal.append(Note, { id: "n-2", events: ["PriceMissing"] })
 *   yield* Journal.append(Note, { id: "n-3", events: ["NoSuchShop"] })
 *   yield* Layer.build(Projection.layer(Notes))
 *   yield* ProjectionStatus.caughtUp("notes")
 *   const groups = yield* ProjectionManagement.deadLetterGroups("notes")
 *   return groups.map(({ fingerprint, letters }) => [fingerprint, letters])
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStorage.layer)))
 * // => [["PriceMissing", 2], ["NoSuchShop", 1]]
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const deadLetterGroups = (projection: ProjectionRef, options?: {
  readonly limit?: number | undefined
}): Effect.Effect<ReadonlyArray<LetterGroup>, CommandError | InvalidInput, ProjectionManagement> => {
  const { limit = 100 } = options ?? {}
  const invalid = Check.safeInteger("limit", limit)
  if (invalid !== undefined) return Effect.fail(invalid)
  return withKey(projection, (management, key) => management.letterGroups(key, limit))
}

const letterId = (letter: DeadLetterRef): Effect.Effect<DeadLetterId, InvalidInput> =>
  eventId("envelope" in letter ? letter.envelope : letter)

const eventId = ({ persistenceId, sequenceNumber }: EventRef): Effect.Effect<DeadLetterId, InvalidInput> => {
  const problem = textProblem(persistenceId)
  const invalid = problem === undefined
    ? Check.safeInteger("sequence number", sequenceNumber)
    : new InvalidInput({ input: "persistence id", problem: `it ${problem}` })
  return invalid === undefined
    ? Effect.succeed({
      persistenceId: persistenceId as PersistenceId,
      sequenceNumber: sequenceNumber as SequenceNumber
    })
    : Effect.fail(invalid)
}
