/**
 * What a projection is, apart from how it is run.
 *
 * @since 0.1.0
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { Pipeable } from "effect/Pipeable"
import type { Covariant } from "effect/Types"
import type { DeliveryGuarantee } from "./DeliveryGuarantee.ts"
import type { Flow } from "./Flow.ts"
import type { Handler } from "./Handler.ts"
import type { OffsetKey } from "./OffsetStore.ts"
import type { ProjectionVersion } from "./ProjectionVersion.ts"
import type { RecoveryStrategy } from "./RecoveryStrategy.ts"
import type { Source } from "./Source.ts"
import type { Timestamp } from "./Timestamp.ts"

/**
 * Marks a projection.
 *
 * @category type IDs
 * @since 0.1.0
 */
export const TypeId = "~sluice/Projection"

/**
 * A description of a projection. Nothing runs until `Projection.layer` or `Projection.run`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Projection<out E, out R> extends Pipeable {
  readonly [TypeId]: {
    readonly _E: Covariant<E>
    readonly _R: Covariant<R>
  }
  readonly name: string
  /** What it reads, each with offsets of its own. */
  readonly sources: NonEmptyReadonlyArray<Source<any, any, any>>
  readonly handler: Handler<any, any> | Flow
  readonly delivery: DeliveryGuarantee
  readonly workers: number
  /** Set if the number of workers follows the lag: `workers` is where it begins then. */
  readonly automatic: AutomaticWorkers | undefined
  readonly recovery: RecoveryStrategy
  /** Undefined for a projection without versions, which is live from its start. */
  readonly version: ProjectionVersion | undefined
  /** The events that are older do not belong to it; undefined for one that begins where its sources do. */
  readonly beginsAt: Timestamp | undefined
}

/**
 * The bounds of a number of workers that follows the lag.
 *
 * @category models
 * @since 0.1.0
 */
export interface AutomaticWorkers {
  /** A power of two. */
  readonly min: number
  /** A power of two. */
  readonly max: number
  /** A lag that takes longer than so many seconds to be gone needs more workers. */
  readonly catchUpWithin: number
}

/**
 * A projection as far as it reads one of its sources, which is what a worker runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface SourceProjection<out E, out R> extends Projection<E, R> {
  readonly source: Source<any, any, any>
}

/**
 * The projection once for each of its sources.
 *
 * @category getters
 * @since 0.1.0
 */
export const bySource = <E, R>(self: Projection<E, R>): ReadonlyArray<SourceProjection<E, R>> =>
  self.sources.map((source) =>
    Object.assign(Object.create(Object.getPrototypeOf(self)), self, { sources: [source], source })
  )

/**
 * The keys under which the offset store has the projection's offsets, one for each of its sources.
 *
 * @category getters
 * @since 0.1.0
 */
export const offsetKeys = (self: Projection<any, any>): ReadonlyArray<OffsetKey> =>
  self.sources.map(({ provider: { key } }) => ({ projection: self.name, source: key }))

/**
 * The key under which the offset store has the projection's offsets. Throws a `RangeError` if it has several sources: see {@link offsetKeys}.
 *
 * @category getters
 * @since 0.1.0
 */
export const offsetKey = (self: Projection<any, any>): OffsetKey => {
  const [key, ...others] = offsetKeys(self)
  if (others.length > 0) {
    throw new RangeError(`Projection '${self.name}' has offsets in several sources: see offsetKeys`)
  }
  return key!
}
