import { assert, describe, it } from "@effect/vitest"
import { StorageError } from "@sluice/core/StorageError"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as NumericOptions from "@sluice/sql/adapter/NumericOptions"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const integer = "has to be an integer from 1"

describe("numbers among the options", () => {
  it.effect.each<NumericOptions.NumericOptions>([
    {},
    { poolSize: undefined, port: 1, lanes: 1, connectTimeout: 1, statementTimeout: 1, lockTimeout: 1 },
    { port: 65_535, transactionTimeout: 2 ** 31 - 1, maxEventBytes: 2 ** 40, poolSize: 1000 }
  ])("may be %j", (options) => NumericOptions.check(options))

  it.effect.each<[keyof NumericOptions.NumericOptions, unknown, string]>([
    ...["port", "poolSize", "lanes", "connectTimeout", "statementTimeout", "lockTimeout", "transactionTimeout"].flatMap(
      (name) => [0, -1, 1.5, Number.NaN, Infinity].map((value) => [name, value, integer] as any)
    ),
    ["port", 65_536, `${integer} to 65535 (it is 65536)`],
    ["port", "5432", `${integer} to 65535 (it is 5432)`],
    ["connectTimeout", 2 ** 31, `${integer} to 2147483647`],
    ["maxEventBytes", Number.NaN, `${integer} (it is NaN)`]
  ])("may not be a %s of %s", ([name, value, problem]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(NumericOptions.check({ [name]: value }))
      assert.strictEqual(error.reason, "Misconfigured")
      assert.include(error.message, `connect: '${name}' ${problem}`)
    }))

  it.effect.each<[string, () => Layer.Layer<any, unknown>, string]>([
    ["PostgreSQL", () => PostgresStorage.layer({ host: "127.0.0.1", port: 1, lanes: 0 }), "lanes"],
    ["PostgreSQL", () => PostgresStorage.layer({ host: "127.0.0.1", port: Number.NaN }), "port"],
    ["MySQL", () => MysqlStorage.layer({ host: "127.0.0.1", port: 1, poolSize: 0 }), "poolSize"],
    ["SQLite", () => SqliteStorage.layer({ filename: ":memory:", lockTimeout: Number.NaN }), "lockTimeout"]
  ])("are checked before %s is opened", ([, storage, name]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Layer.fresh(storage()))))
      assert.instanceOf(error, StorageError)
      assert.include(error.message, `connect: '${name}' ${integer}`)
    }))
})
