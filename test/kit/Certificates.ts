/** Authorities and certificates that live for a day, made by the `openssl` of the machine. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export const available: boolean = (() => {
  try {
    return execFileSync("openssl", ["version"], { encoding: "utf8", stdio: "pipe" }).startsWith("OpenSSL 3")
  } catch {
    return false
  }
})()

export interface Identity {
  readonly certificate: string
  readonly key: string
}

export interface Authority {
  readonly certificate: string
  /** A certificate for names such as `DNS:localhost` and `IP:127.0.0.1`. */
  readonly issue: (...names: ReadonlyArray<string>) => Identity
}

export const makeAuthority = (): Authority => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-certificates-"))
  const request = (name: string, ...more: ReadonlyArray<string>): Identity => {
    const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)]
    const options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1".split(" ")
    execFileSync(
      "openssl",
      [...options, "-subj", `/CN=${name}`, "-keyout", key, "-out", certificate, ...more],
      { stdio: "pipe" }
    )
    return { certificate: readFileSync(certificate, "utf8"), key: readFileSync(key, "utf8") }
  }
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }))
  const { certificate } = request("authority")
  let issued = 0
  return {
    certificate,
    issue: (...names) =>
      request(
        `issued-${++issued}`,
        "-CA",
        join(folder, "authority.crt"),
        "-CAkey",
        join(folder, "authority.key"),
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        `subjectAltName=${names.join(",")}`
      )
  }
}
