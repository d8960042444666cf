import type { Socket } from "node:net"

/** What an error of a handshake means, by Node's code, and what to do. The names of codes differ between versions of OpenSSL. */
type Meanings = Readonly<Record<string, string>>

const each = (codes: ReadonlyArray<string>, meaning: string): Meanings =>
  Object.fromEntries(codes.map((code) => [code, meaning]))

const notTls = ["ERR_SSL_HTTP_REQUEST", "ERR_SSL_PACKET_LENGTH_TOO_LONG", "ERR_SSL_WRONG_VERSION_NUMBER"]

/** The other side's certificate cannot be traced to an authority that is trusted. */
const notTrusted = [
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
]

/** The other side trusts no certificate of this one, or has got none. */
const refused = [
  "ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE",
  "ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_UNKNOWN",
  "ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE",
  "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE",
  "ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN",
  "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE",
  "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
  "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA"
]

const expired = (whose: string): Meanings => ({
  CERT_HAS_EXPIRED: `${whose} certificate has expired, or the clock of this machine is wrong`,
  CERT_NOT_YET_VALID: `${whose} certificate is not valid yet, or the clock of this machine is wrong`
})

const toClient: Meanings = {
  ...expired("its"),
  ...each(notTls, "it does not speak TLS: configure 'tls' there, or leave it out here"),
  ...each(notTrusted, "its certificate is of an authority that is not trusted: give that as 'tls.authority'"),
  ...each(
    refused,
    "it does not trust this client: give a certificate of an authority that it trusts as 'tls.certificate', with 'tls.key'"
  ),
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for other names: connect by one of them, or issue one for this name"
}

const untrustedClient =
  "It has no certificate of the authority that this server asks for: give it one as 'tls.certificate' there, with 'tls.key'"

const toServer: Meanings = {
  ...expired("Its"),
  ...each(notTls, "It does not speak TLS, and this server does: configure 'tls' there, or leave it out here"),
  ...each([...notTrusted, "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"], untrustedClient),
  ...each(
    refused,
    "It does not trust the certificate of this server: give the authority of that as 'tls.authority' there"
  )
}

/** Of a frame of HTTP/2, which every server begins with. */
const frameBytes = 9

interface Failure {
  readonly code?: unknown
  message: string
}

/** @internal Says in the error's message, which is all that the library passes on, what it means to a client. */
export const explainToClient = (error: unknown): void => {
  const { code } = error as Failure
  const meaning = typeof code === "string" ? toClient[code] : undefined
  if (meaning !== undefined) (error as Failure).message = `${meaning} (${(error as Failure).message.trim()})`
}

/** @internal Says why a connection may have been closed that was made, before the server has said anything on it. */
export const explainClosed = (socket: Socket, isSecure: boolean): void => {
  socket.prependOnceListener("error", explainToClient)
  socket.once("close", () => {
    // the library listens for errors until the server has begun to speak HTTP/2
    if (socket.bytesRead >= frameBytes || socket.listenerCount("error") === 0) return
    const reason = isSecure
      ? "do not trust the client's certificate: if so, give another"
      : "speak TLS: if so, configure 'tls' here"
    socket.emit(
      "error",
      new Error(`it has closed the connection before it said anything in HTTP/2, as servers do that ${reason}`)
    )
  })
}

/** Of HTTP/2: the client has not begun as clients begin. */
const badClientMagic = -903

/** @internal What an error means to a server that speaks no TLS; nothing if it is no matter of a handshake. */
export const meaningToPlainServer = (error: unknown): string | undefined =>
  (error as { readonly errno?: unknown }).errno === badClientMagic
    ? "It does not speak HTTP/2 without TLS, as this server does: leave out 'tls' there, if it is configured, or configure it here"
    : undefined

/** @internal The same to a server that speaks TLS, where the client's certificate may have been found wrong. */
export const meaningToSecureServer = (error: unknown, authorizationError: unknown): string | undefined =>
  toServer[String(authorizationError ?? (error as Failure).code)]
