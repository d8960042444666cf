import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Source from "@sluice/core/Source"
import { Database } from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as Effect from "effect/Effect"
import { sql } from "kysely"

export const Note = EntityType.make("note", { codec: EventCodec.string })

/** Where a version ends, as if its machine had lost its power. */
export type Step = "building" | "switching" | "dropping" | "dropped"

const dieIf = (dies: boolean) => dies ? Effect.sync(() => process.kill(process.pid, "SIGKILL")) : Effect.void

const table = (name: string, version: number) => sql.table(`${name}_${version}`)

const viewOf = (name: string, version: number) => sql`${sql.table(name)} AS SELECT * FROM ${table(name, version)}`

const pointer = (name: string) => sql.table(`${name}_live`)

/** Creates what a version writes to, and what readers read before there is any version. */
export const create = Effect.fnUntraced(function*(name: string, version: number) {
  const { dialect, run } = yield* Database
  const make = (version: number) =>
    run(sql`CREATE TABLE IF NOT EXISTS ${table(name, version)} (id VARCHAR(20) NOT NULL, n INTEGER NOT NULL)`)
  yield* make(version)
  if (version > 1) return
  if (dialect !== "mysql") {
    yield* run(sql`CREATE VIEW ${viewOf(name, 1)}`)
    return
  }
  // a view that a row leads to one of two tables
  yield* make(2)
  yield* run(sql`CREATE TABLE ${pointer(name)} (version INTEGER NOT NULL)`)
  yield* run(sql`INSERT INTO ${pointer(name)} VALUES (1)`)
  yield* run(sql`
    CREATE VIEW ${sql.table(name)} AS
    SELECT * FROM ${table(name, 1)} WHERE (SELECT version FROM ${pointer(name)}) = 1
    UNION ALL SELECT * FROM ${table(name, 2)} WHERE (SELECT version FROM ${pointer(name)}) = 2
  `)
})

/** Readers reach it by a view, which is changed with the offsets where the database can do so, and is led by a row elsewhere. */
export const items = (name: string, version: number, step?: Step) =>
  Effect.gen(function*() {
    const { dialect, run } = yield* Database
    let handled = 0
    const lead = dialect === "mysql"
      ? Tables.run(sql`UPDATE ${pointer(name)} SET version = ${version}`)
      : dialect === "sqlite"
      ? Effect.andThen(
        Tables.run(sql`DROP VIEW ${sql.table(name)}`),
        Tables.run(sql`CREATE VIEW ${viewOf(name, version)}`)
      )
      : Tables.run(sql`CREATE OR REPLACE VIEW ${viewOf(name, version)}`)
    const drop = Effect.fnUntraced(function*(old: number) {
      yield* dieIf(step === "dropping")
      if (dialect === "mysql") yield* run(sql`CREATE OR REPLACE VIEW ${viewOf(name, version)}`)
      yield* run(sql`DROP TABLE IF EXISTS ${table(name, old)}`)
      yield* dieIf(step === "dropped")
    })
    return Source.journal(Note).pipe(
      Projection.exactlyOnce(name, ({ persistenceId, sequenceNumber }) =>
        Effect.gen(function*() {
          yield* Tables.run(
            sql`INSERT INTO ${table(name, version)} VALUES (${
              PersistenceId.entityId(persistenceId)
            }, ${sequenceNumber})`
          )
          yield* dieIf(step === "building" && ++handled === 50)
        })),
      Projection.recovery(RecoveryStrategy.retryAndFail({ retries: 1_000_000, delay: "50 millis" })),
      Projection.version(version, {
        switch: Effect.andThen(lead, dieIf(step === "switching")),
        drop,
        dropAfter: 0,
        lag: 5
      })
    )
  })
