/**
 * Addresses of this machine that no other machine can reach.
 *
 * @since 0.1.0
 */

/**
 * Whether what is sent to the host stays on this machine.
 *
 * **Example** (Three hosts)
 *
 * ```ts
 * import { Loopback } from "@sluice/core"
 *
 * const answers = ["localhost", "127.0.0.1", "db.example.org"].map(Loopback.isLoopback)
 * answers // => [true, true, false]
 * ```
 *
 * @category predicates
 * @since 0.1.0
 */
export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host)
