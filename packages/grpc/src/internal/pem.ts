import * as Redacted from "effect/Redacted"
import type { ClientTls, ServerTls } from "../Tls.ts"

const certificate = { what: "certificate", pattern: /-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/ }
const key = { what: "private key", pattern: /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/ }

const kinds = { certificate, key, authority: certificate, clientAuthority: certificate }

/** @internal What is wrong with certificates and keys, if anything is. None of them is shown: it may be a key in another's place. */
export const pemProblem = (tls: ClientTls | ServerTls = {}): string | undefined => {
  for (const [name, { pattern, what }] of Object.entries(kinds)) {
    const value = (tls as Record<string, unknown>)[name]
    if (value === undefined || pattern.test(String(Redacted.isRedacted(value) ? Redacted.value(value) : value))) {
      continue
    }
    return `'tls.${name}' has no ${what} as PEM: give the content of the file, not its name`
  }
  return undefined
}
