import type { ClientTls, ServerTls } from "@sluice/grpc/Tls"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createPrivateKey, X509Certificate } from "node:crypto"
import { isIP } from "node:net"
import { InvalidCertificate, type NodeTls } from "../../NodeTls.ts"

const parsed = <A>(what: keyof NodeTls, parse: () => A): Effect.Effect<A, InvalidCertificate> =>
  Effect.try({
    try: parse,
    // not what was parsed: it may be a key in another's place
    catch: () =>
      new InvalidCertificate({
        problem: `'tls.${what}' cannot be read as PEM: give the content of the file, not its name, without a passphrase`
      })
  })

/** @internal What is presented to others, and asked of them. Fails where others would refuse it, as far as that can be known here. */
export const certificatesOf = (
  tls: NodeTls | undefined,
  /** How the others reach this process, if they do. */
  host: string | undefined
): Effect.Effect<{ readonly client?: ClientTls; readonly server?: ServerTls }, InvalidCertificate> =>
  Effect.gen(function*() {
    if (tls === undefined) return {}
    const { authority, certificate, key } = tls
    yield* parsed("authority", () => new X509Certificate(authority))
    const mine = yield* parsed("certificate", () => new X509Certificate(certificate))
    const privateKey = yield* parsed("key", () => createPrivateKey(Redacted.value(key)))
    if (!mine.checkPrivateKey(privateKey)) {
      return yield* new InvalidCertificate({
        problem: "'tls.key' is the key of another one: give the one that belongs to it"
      })
    }
    if (host !== undefined && (isIP(host) === 0 ? mine.checkHost(host) : mine.checkIP(host)) === undefined) {
      return yield* new InvalidCertificate({
        problem:
          `it is for ${
            mine.subjectAltName ?? "nothing"
          }, and the others reach this process as '${host}': issue one for that name, or ` +
          "configure one of its names as 'host'"
      })
    }
    return { client: tls, server: { certificate, key, clientAuthority: authority } }
  })
