/**
 * Certificates and keys, as PEM.
 *
 * @since 0.1.0
 */
import * as Grpc from "@grpc/grpc-js"
import * as Redacted from "effect/Redacted"

/**
 * What a server shows, and what it asks of its clients.
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
 * Whom a client trusts, the well-known authorities by default, and what it shows.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClientTls {
  readonly authority?: string | undefined
  readonly certificate?: string | undefined
  readonly key?: Redacted.Redacted | undefined
}

/** @internal */
export const serverCredentials = (tls: ServerTls | undefined): Grpc.ServerCredentials =>
  tls === undefined ? Grpc.ServerCredentials.createInsecure() : Grpc.ServerCredentials.createSsl(
    buffer(tls.clientAuthority),
    [{ cert_chain: Buffer.from(tls.certificate), private_key: Buffer.from(Redacted.value(tls.key)) }],
    tls.clientAuthority !== undefined
  )

const buffer = (text: string | undefined) => text === undefined ? null : Buffer.from(text)

/** @internal */
export const clientCredentials = (tls: ClientTls | undefined): Grpc.ChannelCredentials => {
  if (tls === undefined) return Grpc.credentials.createInsecure()
  return Grpc.credentials.createSsl(
    buffer(tls.authority),
    buffer(tls.key && Redacted.value(tls.key)),
    buffer(tls.certificate)
  )
}

/** @internal Whether what is sent to `host` stays on this machine. */
export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host)
