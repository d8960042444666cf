import { assert, it } from "@effect/vitest"
import { explainToClient, meaningToPlainServer, meaningToSecureServer } from "../src/internal/sockets/handshake.ts"

it.each([
  ["CERT_HAS_EXPIRED", "its certificate has expired, or the clock of this machine is wrong (as the library says)"],
  [
    "CERT_NOT_YET_VALID",
    "its certificate is not valid yet, or the clock of this machine is wrong (as the library says)"
  ],
  ["ECONNRESET", " as the library says\n"]
])("an error with the code %s is explained to a client", (code, message) => {
  const error = Object.assign(new Error(" as the library says\n"), { code })
  explainToClient(error)
  assert.strictEqual(error.message, message)
})

it("only handshakes are explained to a server, and a certificate before all", () => {
  const error = Object.assign(new Error("socket hang up"), { code: "ECONNRESET" })
  assert.isUndefined(meaningToSecureServer(error, undefined))
  assert.match(String(meaningToSecureServer(error, "CERT_HAS_EXPIRED")), /^Its certificate has expired/)
  assert.isUndefined(meaningToPlainServer(error))
})
