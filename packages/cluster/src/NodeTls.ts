/**
 * How the processes of a cluster know each other.
 *
 * @since 0.1.0
 */
import * as ExpectedError from "@sluice/core/ExpectedError"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/**
 * The certificate that a process presents to the others, be it called or calling, and the authority that theirs have to be of: all as PEM.
 *
 * **Details**
 *
 * Whoever has a certificate of the authority may send commands to all entities. So it should be an authority for this cluster alone. The certificate has to
 * name the `host` of the process, as a DNS name or an IP address. Those between it and the authority follow it, if there are any.
 *
 * @category models
 * @since 0.1.0
 */
export interface NodeTls {
  readonly authority: string
  readonly certificate: string
  readonly key: Redacted.Redacted
}

/**
 * With this certificate no other process could be called, or would call this one.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidCertificate
  extends ExpectedError.TaggedError<InvalidCertificate>("@sluice/cluster/InvalidCertificate")("InvalidCertificate", {
    problem: Schema.String
  })
{
  override get message(): string {
    return `The certificate of this process is of no use in its cluster: ${this.problem}`
  }
}
