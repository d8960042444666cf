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

const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** All that are in a text, each as it stands there. */
const certificatesIn = (text: string): ReadonlyArray<X509Certificate> =>
  Array.from(text.matchAll(pem), ([one]) => new X509Certificate(one))

/** Whether those who trust the authorities can trace the certificate to one of them, by those in between that are presented with it. */
const isTraced = (
  certificate: X509Certificate,
  between: ReadonlyArray<X509Certificate>,
  authorities: ReadonlyArray<X509Certificate>
): boolean => {
  const isOf = (issuer: X509Certificate) => certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  return authorities.some((_) => _.fingerprint256 === certificate.fingerprint256 || isOf(_)) ||
    between.some((next) => isOf(next) && isTraced(next, between.filter((_) => _ !== next), authorities))
}

/** @internal What is presented to others, and asked of them. Fails where others would refuse it, as far as that can be known here. */
export const certificatesOf = (
  tls: NodeTls | undefined,
  /** How the others reach this process, if they do. */
  host: string | undefined
): Effect.Effect<{ readonly client?: ClientTls; readonly server?: ServerTls }, InvalidCertificate> =>
  Effect.gen(function*() {
    if (tls === undefined) return {}
    const { authority, certificate, key } = tls
    const authorities = yield* parsed(
      "authority",
      () => [new X509Certificate(authority), ...certificatesIn(authority).slice(1)]
    )
    const [mine, between] = yield* parsed(
      "certificate",
      () => [new X509Certificate(certificate), certificatesIn(certificate).slice(1)] as const
    )
    const privateKey = yield* parsed("key", () => createPrivateKey(Redacted.value(key)))
    if (!mine.checkPrivateKey(privateKey)) {
      return yield* new InvalidCertificate({
        problem: "'tls.key' is the key of another one: give the one that belongs to it"
      })
    }
    if (!isTraced(mine, between, authorities)) {
      return yield* new InvalidCertificate({
        problem:
          "'tls.certificate' is not of 'tls.authority', which the others ask for: give one that this authority has " +
          "issued, followed by those in between, if there are any"
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
