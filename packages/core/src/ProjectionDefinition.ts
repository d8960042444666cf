/**
 * What a projection is, apart from how it is run.
 *
 * @since 0.1.0
 */
import type { Pipeable } from "effect/Pipeable"
import type { Covariant } from "effect/Types"
import type { DeliveryGuarantee } from "./DeliveryGuarantee.ts"
import type { Handler } from "./Handler.ts"
import type { OffsetKey } from "./OffsetStore.ts"
import type { RecoveryStrategy } from "./RecoveryStrategy.ts"
import type { Source } from "./Source.ts"

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
  readonly source: Source<any, any, any>
  readonly handler: Handler<any, any>
  readonly delivery: DeliveryGuarantee
  readonly workers: number
  readonly recovery: RecoveryStrategy
}

/**
 * The key under which the offset store has the projection's offsets.
 *
 * @category getters
 * @since 0.1.0
 */
export const offsetKey = (self: Projection<any, any>): OffsetKey => ({
  projection: self.name,
  source: self.source.provider.key
})
