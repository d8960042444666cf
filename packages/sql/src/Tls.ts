/**
 * How connections to a database server are encrypted.
 *
 * @since 0.1.0
 */
import { isLoopback } from "@sluice/core/Loopback"
import type * as Redacted from "effect/Redacted"

/**
 * Which authorities to trust, the well-known ones by default, and which certificate to present, as PEM.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tls {
  readonly authority?: string | undefined
  readonly certificate?: string | undefined
  readonly key?: Redacted.Redacted | undefined
}

/**
 * Whether connections to the host are encrypted by default: they are, unless they stay on this machine.
 *
 * **Example** (Two servers)
 *
 * ```ts
 * import { Tls } from "@sluice/sql"
 *
 * const answers = ["127.0.0.1", "/var/run/postgresql", "db.example.org"].map(Tls.isDefaultFor)
 * answers // => [false, false, true]
 * ```
 *
 * @category predicates
 * @since 0.1.0
 */
export const isDefaultFor = (host: string): boolean => !(isLoopback(host) || host === "[::1]" || host.startsWith("/"))
