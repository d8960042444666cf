/** Where a journal is, in words that can be handed to another process. */
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

export type Adapter = "postgres" | "mysql"

export interface Target {
  readonly adapter: Adapter
  readonly url: string
  /** The schema, or the prefix of the tables: each scenario has one of its own. */
  readonly space: string
  readonly settings?: Pick<PostgresStorage.Options, Settings> | undefined
}

type Settings = "poolSize" | "lanes" | "connectTimeout" | "statementTimeout" | "lockTimeout"

/** A storage adapter, as its users open it. */
export const layer = ({ adapter, settings, space, url }: Target) =>
  adapter === "postgres"
    ? PostgresStorage.layer({ url, schema: space, ...settings })
    : MysqlStorage.layer({ url, tablePrefix: `${space}_`, ...settings })

/** One more instance in this process, which shares nothing with the others, as long as the scope is open. */
export const open = (target: Target) =>
  Effect.flatMap(
    Effect.all([Layer.makeMemoMap, Effect.scope]),
    ([memoMap, scope]) => Layer.buildWithMemoMap(layer(target), memoMap, scope)
  )

/** Runs an effect on an instance. */
export const on = <I>(instance: Context.Context<I>) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideContext(effect, instance)
