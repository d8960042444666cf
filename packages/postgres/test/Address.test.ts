import { afterEach, assert, it, vi } from "@effect/vitest"
import * as Redacted from "effect/Redacted"
import { addressOf } from "../src/internal/client.ts"
import type { Options } from "../src/PostgresOptions.ts"

const password = "secret"

afterEach(() => {
  vi.unstubAllEnvs()
})

it.each<[string, Options, Record<string, string>, string]>([
  ["the URL", { url: `postgres://me:${password}@db1:6000/shop` }, {}, "db1:6000"],
  ["the URL before the other options", { url: "postgres://db1/shop", host: "db2" }, {}, "db1:5432"],
  ["the options where there is no URL", { host: "db2", port: 6000, password: Redacted.make(password) }, {}, "db2:6000"],
  ["the environment for what is not said", { url: "postgres://db1/shop" }, { PGPORT: "6543" }, "db1:6543"],
  ["the environment alone", {}, { PGHOST: "db3", PGPORT: "6543" }, "db3:6543"],
  ["a socket", { url: "postgres://%2Ftmp%2Fsock/shop" }, {}, "/tmp/sock"],
  ["an IPv6 address", { host: "::1", port: 6000 }, {}, "[::1]:6000"]
])("the address that is logged is the driver's: %s", (_, options, environment, expected) => {
  vi.stubEnv("PGHOST", undefined)
  vi.stubEnv("PGPORT", undefined)
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
  assert.strictEqual(addressOf(options), expected)
})
