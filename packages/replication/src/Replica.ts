/**
 * Which replica a process belongs to: the same program runs in every region, and this is what differs.
 *
 * @since 0.1.0
 */
import * as ExpectedError from "@sluice/core/ExpectedError"
import { textProblem } from "@sluice/core/InvalidInput"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

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

/**
 * The setting that says which replica a process belongs to is missing, or cannot be read.
 *
 * @category errors
 * @since 0.1.0
 */
export class ReplicaNotSaid
  extends ExpectedError.TaggedError<ReplicaNotSaid>("@sluice/replication/ReplicaNotSaid")("ReplicaNotSaid", {
    /** What is wrong with the setting. */
    problem: Schema.String
  })
{
  override get message(): string {
    return `Which replica this process belongs to is not said: set it to the id of its region, one of the 'replicas' of its entities. ${this.problem}`
  }
}

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
 * This process belongs to the replica that a setting names. Fails with {@link ReplicaNotSaid} where it is missing, and dies with a `RangeError` for an id that cannot be one.
 *
 * **Example** (A variable of the environment)
 *
 * ```ts
 * import { Replica } from "@sluice/replication"
 * import { Config, ConfigProvider, Effect, Layer } from "effect"
 *
 * const Region = Replica.layerConfig(Config.String("REGION"))
 *
 * const settings = (env: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnv({ env }))
 * const id = Effect.map(Replica.Replica, ({ id }) => id)
 * await Effect.runPromise(Effect.provide(id, Layer.provide(Region, settings({ REGION: "eu" })))) // => "eu"
 *
 * const error = await Effect.runPromise(Effect.flip(Effect.provide(id, Layer.provide(Region, settings({})))))
 * error._tag // => "ReplicaNotSaid"
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (id: Config.Config<string>): Layer.Layer<Replica, ReplicaNotSaid> =>
  Layer.effect(
    Replica,
    Effect.mapBoth(id, {
      onFailure: ({ message }) => new ReplicaNotSaid({ problem: message }),
      onSuccess: (id) => ({ id: checkId(id) })
    })
  )
