/**
 * Queries over Sluice's own tables, for packages beside the storage that need some of them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { Kysely } from "kysely"
import type { SluiceTables } from "../SluiceTables.ts"

/**
 * Builds queries over Sluice's tables, under the names that they have in the storage's database. `Database` runs them.
 *
 * @category services
 * @since 0.1.0
 */
export class OwnTables extends Context.Service<OwnTables, Kysely<SluiceTables>>()("@sluice/sql/OwnTables") {}
