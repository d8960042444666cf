/**
 * Projects the stream of a JVM producer into a table `received`. It goes on where it was killed.
 *
 * usage: consumer ADDRESS FORM GUARANTEE WORKERS STORAGE
 *
 * FORM is `string` or `protobuf`, GUARANTEE `exactly-once` or `at-least-once`, STORAGE the name of a file or the URL of a PostgreSQL.
 */
import { type StringValue, StringValueSchema } from "@bufbuild/protobuf/wkt"
import type { Envelope } from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Projection from "@sluice/core/Projection"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as ProtobufCodec from "@sluice/grpc/ProtobufCodec"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as Database from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sql } from "kysely"
import { endWithParent } from "../../kit/process.ts"

const [address, form, guarantee, workers, storage] = process.argv.slice(2)

type Event = string | StringValue

interface Received {
  readonly persistence_id: string
  readonly seq_nr: number
  readonly slice: number
  readonly timestamp_us: number
  readonly event: string
  readonly tags: string
}

const db = Tables.make<{ received: Received }>()

const codec: EventCodec.EventCodec<any> = form === "string"
  ? EventCodec.string
  : ProtobufCodec.make([StringValueSchema])

const insert = ({ event, persistenceId, sequenceNumber, slice, tags, timestamp }: Envelope<Event>) =>
  db.insertInto("received").values({
    persistence_id: persistenceId,
    seq_nr: sequenceNumber,
    slice,
    timestamp_us: timestamp,
    event: typeof event === "string" ? event : event.value,
    tags: tags.toSorted().join(",")
  })

const isPostgres = storage!.startsWith("postgres:")
const ordinal = isPostgres ? "BIGSERIAL" : "INTEGER"

const table = Layer.effectDiscard(
  Database.Database.use(({ run }) =>
    run(
      sql`CREATE TABLE IF NOT EXISTS received (ordinal ${
        sql.raw(ordinal)
      } PRIMARY KEY, persistence_id VARCHAR(255) NOT NULL,
    seq_nr BIGINT NOT NULL, slice INTEGER NOT NULL, timestamp_us BIGINT NOT NULL, event TEXT NOT NULL, tags TEXT NOT NULL)`
    )
  )
)

const source = EventConsumer.source(EventStream.make("cart", { codec }), { address: address! })
const projection: Projection.Projection<unknown, any> = guarantee === "exactly-once"
  ? Projection.exactlyOnce("interop", (envelope: Envelope<Event>) => Tables.run(insert(envelope)))(source)
  : Projection.atLeastOnce(
    "interop",
    (envelope: Envelope<Event>) => Database.Database.use(({ run }) => Effect.asVoid(run(insert(envelope))))
  )(source)

const database = isPostgres ? PostgresStorage.layer({ url: storage! }) : SqliteStorage.layer({ filename: storage! })

endWithParent(
  Layer.launch(
    Projection.layer(Projection.workers(Number(workers))(projection)).pipe(
      Layer.provide(table),
      Layer.provide(database)
    ) as Layer.Layer<never, unknown>
  )
)
