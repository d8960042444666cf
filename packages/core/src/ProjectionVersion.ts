/**
 * Versions of a projection: a new one is built beside the one that is live, takes its place at one moment, and then the old one is dropped.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as ExpectedError from "./ExpectedError.ts"

/**
 * What has become of a version:
 *
 * - `Building`: it handles the events from the beginning, beside the version that is live.
 * - `Live`: it is what readers see.
 * - `Retired`: another version has taken its place, or its building was cancelled. Its workers rest, and what it has written is to be dropped.
 * - `Dropped`: what it has written is gone, and so are its offsets and dead letters. It never runs again: its successor has the next number.
 *
 * @category models
 * @since 0.1.0
 */
export type Phase = "Building" | "Live" | "Retired" | "Dropped"

/**
 * Whether workers of a version have something to do.
 *
 * @category guards
 * @since 0.1.0
 */
export const isAtWork = (phase: Phase): boolean => phase === "Building" || phase === "Live"

/**
 * Which version of which projection.
 *
 * @category models
 * @since 0.1.0
 */
export interface VersionId {
  /** The name that all versions of the projection have in common. */
  readonly of: string
  /** From 1. */
  readonly version: number
}

/**
 * A version as it is stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredVersion extends VersionId {
  /** The name under which its offsets are kept: see {@link nameOf}. */
  readonly projection: string
  readonly phase: Phase
}

/**
 * A version as the program has it: see `Projection.version`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProjectionVersion extends VersionId {
  /** Has readers see this version, in the transaction that makes it live. */
  readonly switch: Effect.Effect<unknown, any, any>
  /** Drops what a version has written, this one or another. */
  readonly drop: (version: number) => Effect.Effect<unknown, any, any>
  /** How many events it may be behind when it takes the place of the one before. */
  readonly lag: number
  /** How long a version that was retired is kept at least. */
  readonly dropAfter: Duration.Duration
}

/**
 * The name under which a version is known wherever a projection is named. The first one has the name without a number, as a projection without versions
 * has, so that its successor may be the first one to speak of versions.
 *
 * **Example** (Two versions)
 *
 * ```ts
 * import { ProjectionVersion } from "@sluice/core"
 *
 * ProjectionVersion.nameOf({ of: "popularity", version: 1 }) // => "popularity"
 * ProjectionVersion.nameOf({ of: "popularity", version: 2 }) // => "popularity@2"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const nameOf = ({ of, version }: VersionId): string => version === 1 ? of : `${of}@${version}`

const isBelowLive = (versions: ReadonlyArray<StoredVersion>, { version }: VersionId): boolean =>
  versions.some((other) => other.phase === "Live" && other.version > version)

/**
 * The phase in which a version begins that is not stored yet. Where a later one is live, an earlier one never begins.
 *
 * @category getters
 * @since 0.1.0
 */
export const initialPhase = (versions: ReadonlyArray<StoredVersion>, id: VersionId): Phase =>
  isBelowLive(versions, id) ? "Dropped" : "Building"

/**
 * What changes when a version is complete: it is live, and those before it are retired. A later one that is live already retires this one in its
 * place. Nothing changes unless the version is building.
 *
 * @category combinators
 * @since 0.1.0
 */
export const completed = (
  versions: ReadonlyArray<StoredVersion>,
  id: VersionId
): ReadonlyArray<StoredVersion> => {
  if (!versions.some(({ phase, version }) => version === id.version && phase === "Building")) return []
  const isLate = isBelowLive(versions, id)
  return versions.flatMap((other): ReadonlyArray<StoredVersion> => {
    if (other.version === id.version) return [{ ...other, phase: isLate ? "Retired" : "Live" }]
    return !isLate && other.version < id.version && isAtWork(other.phase) ? [{ ...other, phase: "Retired" }] : []
  })
}

/**
 * The `switch` of a version did something else than to run statements in its transaction for too long (in memory, whatever it did), and was interrupted, as nobody can handle events of
 * the version or of the one before meanwhile. It is tried again by itself. Let it do nothing but what leads readers to the version.
 *
 * @category errors
 * @since 0.1.0
 */
export class SwitchTooSlow
  extends ExpectedError.TaggedError<SwitchTooSlow>("@sluice/core/SwitchTooSlow")("SwitchTooSlow", {
    of: Schema.String,
    version: Schema.Int,
    /** In milliseconds. */
    limit: Schema.Finite
  })
{
  override get message(): string {
    return `The switch to version ${this.version} of projection '${this.of}' was interrupted: ${this.limit} ms have gone by ` +
      "without a statement in its transaction, or in memory altogether, and it held up whoever handles events. Let it do nothing but what leads " +
      "readers to the version"
  }
}
