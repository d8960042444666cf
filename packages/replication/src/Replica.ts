/**
 * Which replica a process belongs to: the same program runs in every region, and this is what differs.
 *
 * @since 0.1.0
 */
import { textProblem } from "@sluice/core/InvalidInput"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * The replica that the entities of this process are of.
 *
 * @category services
 * @since 0.1.0
 */
export class Replica extends Context.Service<Replica, {
  /** It is in every persistence id and in every event, and never changes. */
  readonly id: string
}>()("@sluice/replication/Replica") {}

/** The longest id, in bytes of UTF-8: it takes room from the ids of entities. */
const maxBytes = 64

/**
 * Checks the id of a replica: a text of 1 to 64 bytes without `|`, U+0000 and half a surrogate pair. Throws a `RangeError`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const checkId = (id: string): string => {
  const problem = textProblem(id) ??
    (id === ""
      ? "is empty"
      : id.includes("|")
      ? "contains '|', which separates the parts of a persistence id"
      : Buffer.byteLength(id) > maxBytes
      ? `is longer than ${maxBytes} bytes of UTF-8`
      : undefined)
  if (problem !== undefined) throw new RangeError(`The id of a replica ${problem}`)
  return id
}

/**
 * This process belongs to that replica. Throws a `RangeError` for an id that cannot be one.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (id: string): Layer.Layer<Replica> => Layer.succeed(Replica, { id: checkId(id) })

/**
 * This process belongs to the replica that the configuration names, such as `Config.String("REGION")`. Dies with a `RangeError` for an id that cannot be one.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (id: Config.Config<string>): Layer.Layer<Replica, Config.ConfigError> =>
  Layer.effect(Replica, Effect.map(id, (id) => ({ id: checkId(id) })))
