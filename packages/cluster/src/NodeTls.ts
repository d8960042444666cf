/**
 * How the processes of a cluster know each other.
 *
 * @since 0.1.0
 */
import type * as Redacted from "effect/Redacted"

/**
 * The certificate that a process presents to the others, be it called or calling, and the authority that theirs have to be of: all as PEM.
 *
 * **Details**
 *
 * Whoever has a certificate of the authority may send commands to all entities. So it should be an authority for this cluster alone. The certificate has to
 * name the `host` of the process, as a DNS name or an IP address.
 *
 * @category models
 * @since 0.1.0
 */
export interface NodeTls {
  readonly authority: string
  readonly certificate: string
  readonly key: Redacted.Redacted
}
