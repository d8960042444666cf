import { assert, it } from "@effect/vitest"
import * as Redacted from "effect/Redacted"
import { addressOf } from "../src/internal/connection.ts"
import type { Options } from "../src/MysqlOptions.ts"

const password = "secret"

it.each<[string, Options, string]>([
  ["the URL", { url: `mysql://me:${password}@db1:6000/shop` }, "db1:6000"],
  ["the other options before the URL", { url: "mysql://db1/shop", host: "db2", port: 6000 }, "db2:6000"],
  ["the default", { password: Redacted.make(password) }, "localhost:3306"],
  ["a socket", { url: "mysql://db1/shop?socketPath=/tmp/sock" }, "/tmp/sock"],
  ["an IPv6 address", { url: "mysql://[::1]/shop" }, "[::1]:3306"]
])("the address that is logged is the driver's: %s", (_, options, expected) => {
  assert.strictEqual(addressOf(options), expected)
})
