import { StorageError } from "@sluice/core/StorageError"
import * as Naming from "@sluice/sql/adapter/Naming"
import { fromSqlError } from "@sluice/sql/adapter/SqlStorageError"
import type { Database } from "@sluice/sql/Database"
import type { Options as MigrationOptions } from "@sluice/sql/Migrations"
import * as Effect from "effect/Effect"
import { appendFunction, appendFunctionName } from "./appendFunction.ts"

/** Where the function is looked at, and whether it may be made anew. */
interface Options extends Pick<MigrationOptions, "database" | "exclusively"> {
  readonly naming: Naming.Naming & { readonly schema?: string | undefined }
  readonly migrate: boolean | undefined
}

/**
 * @internal
 * Makes sure that the append function writes to the journal beside it. It names that journal with its schema. A schema that was renamed,
 * or copied, still has the function of the old one, which would write there.
 */
export const ownFunction = ({ database, exclusively, migrate, naming }: Options): Effect.Effect<void, StorageError> => {
  const isOwn = Effect.map(definition(database, naming), (found) => found === undefined || writesTo(naming, found))
  const names = {
    table: (table: `sluice_${string}`) => Naming.quoted("postgres", naming, table),
    name: (name: `sluice_${string}`) => Naming.quoted("postgres", { prefix: naming.prefix }, name)
  }
  const mend = Effect.mapError(
    exclusively(database.sql.unsafe(appendFunction(names, naming.schema))),
    fromSqlError("create the append function")
  )
  const refused = new StorageError({
    operation: "check the append function",
    reason: "Misconfigured",
    cause: new Error(
      `${
        names.table(appendFunctionName)
      } writes to the journal of another schema, as this one was renamed or copied: ` +
        "leave 'migrate' on once, and it is made anew"
    )
  })
  return Effect.flatMap(isOwn, (isOwn) => isOwn ? Effect.void : migrate === false ? Effect.fail(refused) : mend)
}

interface Definition {
  readonly body: string
  /** The schema that the journal is found in by the function's own search path, if it has one. */
  readonly found: string | null
}

const definition = (
  { sql }: Database["Service"],
  { prefix, schema }: Naming.Naming
): Effect.Effect<Definition | undefined, StorageError> =>
  sql<Definition>`SELECT p.prosrc AS body, (
      SELECT n.nspname FROM unnest(p.proconfig) c(setting)
        CROSS JOIN LATERAL regexp_split_to_table(substr(c.setting, length('search_path=') + 1), '[[:space:]]*,[[:space:]]*')
          WITH ORDINALITY s(name, place)
        JOIN pg_catalog.pg_namespace n
          ON n.nspname = CASE btrim(s.name, '"') WHEN '$user' THEN current_user ELSE btrim(s.name, '"') END
        JOIN pg_catalog.pg_class t ON t.relnamespace = n.oid AND t.relname = ${`${prefix}journal`}
      WHERE c.setting LIKE 'search_path=%' ORDER BY s.place LIMIT 1
    ) AS found
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = ${schema ?? ""} AND p.proname = ${`${prefix}append_events`}`.pipe(
    Effect.mapBoth({ onFailure: fromSqlError("check the append function"), onSuccess: ([row]) => row })
  )

/** Migrations that are applied by hand may name no schema: then the search path does. */
const writesTo = (naming: Naming.Naming, { body, found }: Definition): boolean => {
  const within = Naming.quoted("postgres", naming, "sluice_journal")
  const alone = Naming.quoted("postgres", { prefix: naming.prefix }, "sluice_journal")
  return body.includes(`INSERT INTO ${alone} `) ? found === naming.schema : body.includes(`INSERT INTO ${within} `)
}
