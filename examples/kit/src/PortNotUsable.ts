/**
 * What a service says whose port is taken.
 */
import { Effect, Layer, Schema } from "effect"

export class PortNotUsable extends Schema.TaggedError<PortNotUsable>()("PortNotUsable", {
  port: Schema.Int,
  flag: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    const reason = /EADDRINUSE/.test(String(this.cause)) ? "somebody else does" : String(this.cause)
    return `It cannot listen on port ${this.port}, as ${reason}. Choose another one with ${this.flag}`
  }
}

const isOfServer = (error: { readonly _tag: string }): error is { readonly _tag: string; readonly cause: unknown } =>
  error._tag === "ServerError" || error._tag === "ServeError"

/** Where a server does not come up. */
export const otherwise =
  (port: number, flag: string) =>
  <A, E extends { readonly _tag: string }, R>(server: Layer.Layer<A, E, R>): Layer.Layer<A, E | PortNotUsable, R> =>
    Layer.catch(server, (error) =>
      Layer.effectContext(
        Effect.fail(isOfServer(error) ? new PortNotUsable({ port, flag, cause: error.cause }) : error)
      ))
