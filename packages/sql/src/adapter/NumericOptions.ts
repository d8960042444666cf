/**
 * Numbers among the options of a storage.
 *
 * @since 0.1.0
 */
import { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"

/** In milliseconds: timers, and the settings of servers, hold no more. */
const longest = 2 ** 31 - 1

const largest = {
  port: 65_535,
  poolSize: Number.MAX_SAFE_INTEGER,
  lanes: Number.MAX_SAFE_INTEGER,
  connectTimeout: longest,
  statementTimeout: longest,
  lockTimeout: longest,
  transactionTimeout: longest,
  maxEventBytes: Number.MAX_SAFE_INTEGER
}

/**
 * The options that are numbers; a storage has those that its database has a use for.
 *
 * @category models
 * @since 0.1.0
 */
export type NumericOptions = { readonly [Name in keyof typeof largest]?: number | undefined }

/**
 * Fails for the first that is no integer from 1 to the largest of its kind, such as the `NaN` that an unset variable of the environment
 * becomes.
 *
 * **Example** (A pool without connections)
 *
 * ```ts
 * import * as NumericOptions from "@sluice/sql/adapter/NumericOptions"
 * import { Effect } from "effect"
 *
 * const { message } = await Effect.runPromise(Effect.flip(NumericOptions.check({ poolSize: 0 })))
 * message // => "connect: 'poolSize' has to be an integer from 1 (it is 0)"
 * ```
 *
 * @category validation
 * @since 0.1.0
 */
export const check = (options: NumericOptions): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => {
    for (const [name, max] of Object.entries(largest)) {
      const value = options[name as keyof NumericOptions]
      if (value === undefined || Number.isSafeInteger(value) && value >= 1 && value <= max) continue
      const end = max === Number.MAX_SAFE_INTEGER ? "" : ` to ${max}`
      return Effect.fail(
        new StorageError({
          operation: "connect",
          reason: "Misconfigured",
          advice: `'${name}' has to be an integer from 1${end}`,
          cause: new RangeError(`it is ${value}`)
        })
      )
    }
    return Effect.void
  })
