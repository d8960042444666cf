/**
 * Who makes a call.
 *
 * @since 0.1.0
 */
import type { Headers } from "./Call.ts"
import type { ReplicaInfo } from "./ReplicaInfo.ts"
import type { ClientCertificate } from "./Tls.ts"

/**
 * Who makes a call, as far as the call tells.
 *
 * @category models
 * @since 0.1.0
 */
export interface Caller {
  /** What came with the call, by names in lower case. The caller says it, so that only what can be verified, such as a signed token, proves anything. */
  readonly headers: Headers
  /** The `host:port` that the connection comes from, which may be that of a proxy. */
  readonly address: string
  /** Undefined where the server asks for none: with `clientAuthority` it is that of every caller. */
  readonly certificate: ClientCertificate | undefined
  /** The replica that it says to be, where it consumes replicated entities. Nothing proves it: what one may see is not to go by this alone. */
  readonly replica?: ReplicaInfo | undefined
}
