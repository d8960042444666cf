/**
 * Certificates and keys, as PEM.
 *
 * @since 0.1.0
 */
import type * as Redacted from "effect/Redacted"

/**
 * The certificate that a server presents, and what it asks of its clients.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerTls {
  readonly certificate: string
  readonly key: Redacted.Redacted
  /** Accepts only clients with a certificate of this authority (mutual TLS). */
  readonly clientAuthority?: string | undefined
}

/**
 * The authorities that a client trusts, the well-known ones by default, and the certificate that it presents.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClientTls {
  readonly authority?: string | undefined
  readonly certificate?: string | undefined
  readonly key?: Redacted.Redacted | undefined
}

/**
 * What a client has presented, and an authority of the server has signed.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClientCertificate {
  /** The parts of its subject by their names, such as `CN`; of several with one name the first, and undefined where there is none. */
  readonly subject: Readonly<Record<string, string | undefined>>
  /** Its alternative names, as in `DNS:analytics.internal`. */
  readonly alternativeNames: ReadonlyArray<string>
  /** SHA-256, in hexadecimal with colons. */
  readonly fingerprint: string
}
