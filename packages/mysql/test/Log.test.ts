import { assert, it } from "@effect/vitest"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import { inject } from "vitest"

const servers = [["MariaDB", inject("mariadb")], ["MySQL", inject("mysql")]].filter(([, url]) => url !== "") as Array<
  [string, string]
>

it.live.each(servers)("%s: says in one line which server it is, by its name", ([name, url]) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    const tablePrefix = `log_${crypto.randomUUID().slice(0, 8)}_`
    const address = new URL(url)
    yield* Effect.scoped(Layer.build(MysqlStorage.layer({ url, tablePrefix }))).pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, "Info")
    )
    const database = address.pathname.slice(1)
    assert.deepStrictEqual(lines.map((line) => line.replace(/\d+$/, "n")), [
      `Storage is ${name} at ${address.host}, database '${database}', table prefix '${tablePrefix}': tables created, of version n`
    ])
  }))
