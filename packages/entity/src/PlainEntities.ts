/**
 * Entities of which nothing is kept in memory: each command recovers its entity.
 *
 * @since 0.1.0
 */
import type * as Layer from "effect/Layer"
import type { Entity } from "./Entity.ts"
import type { Runs } from "./EntityClient.ts"
import { plain } from "./internal/plain.ts"

/**
 * Runs the entities of a type without keeping anything of them in memory. See `EventSourced.layerPlain`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Name extends string, R>(
  entity: Entity<Name, any, R>
): Layer.Layer<Runs<Name>, never, R> => plain(entity)
