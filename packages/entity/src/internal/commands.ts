import type * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"

/** @internal What types rule out, but a program may ignore them. Throws a `TypeError`. */
export const checkCommands = (
  name: string,
  commands: ReadonlyArray<Rpc.Any>,
  decide: object
): void => {
  const tags = new Set<string>()
  for (const command of commands) {
    const { _tag: tag, middlewares, successSchema } = command as Rpc.AnyWithProps
    if (tags.has(tag)) throw new TypeError(`Two commands of '${name}' are named '${tag}'`)
    if (RpcSchema.isStreamSchema(successSchema)) {
      throw new TypeError(`The command '${tag}' of '${name}' replies with a stream: an entity replies with a value`)
    }
    if (middlewares.size > 0) {
      throw new TypeError(`The command '${tag}' of '${name}' has a middleware: entities have none`)
    }
    if (typeof (decide as Record<string, unknown>)[tag] !== "function") {
      throw new TypeError(`'decide' of '${name}' has no function for the command '${tag}'`)
    }
    tags.add(tag)
  }
  for (const tag of Object.keys(decide)) {
    if (!tags.has(tag)) throw new TypeError(`'decide' of '${name}' has a function for '${tag}', which is no command`)
  }
}

/** @internal Throws a `RangeError` where an option is no integer from 0. */
export const checkNatural = (option: string, value: number | undefined): void => {
  if (value === undefined || Number.isSafeInteger(value) && value >= 0) return
  throw new RangeError(`\`${option}\` is ${value}: an integer from 0`)
}
