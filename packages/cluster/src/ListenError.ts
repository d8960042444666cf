/**
 * What goes wrong when a process of a cluster begins.
 *
 * @since 0.1.0
 */
import * as ExpectedError from "@sluice/core/ExpectedError"
import * as Schema from "effect/Schema"

/**
 * Others cannot connect to this process: its port is taken, or its host is not of this machine.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends ExpectedError.TaggedError<ListenError>("@sluice/cluster/ListenError")("ListenError", {
  host: Schema.String,
  port: Schema.Int,
  cause: Schema.Defect()
}) {
  override get message(): string {
    const why = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `This process cannot listen at ${this.host}:${this.port} for the other processes of its cluster: ${why}. ` +
      `Choose a free port, 0 for any, and an address of this machine`
  }
}
