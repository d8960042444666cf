import * as Clock from "effect/Clock"
import { makeChannels } from "./channel.ts"
import { listen } from "./listen.ts"

/** @internal Calls over sockets, by the library of gRPC. */
export const makeSockets = () => ({
  clock: Clock.Clock.defaultValue(),
  connect: makeChannels(),
  listen
})
