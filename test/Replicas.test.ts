import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventStream from "@sluice/core/EventStream"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as Source from "@sluice/core/Source"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Database from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Path from "node:path"
import { temporaryFolder } from "./kit/Service.ts"
import * as Switchboard from "./kit/Switchboard.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const Notes = EventStream.make("notes", { codec: EventCodec.string })

/** A replica of the producer, which ends with its scope. */
const producer = Effect.fnUntraced(function*(filename: string) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(
    EventProducer.layer(Notes, Source.journal(Note)).pipe(
      Layer.provideMerge([GrpcServer.layer({ port: 0 }), SqliteStorage.layer({ filename })])
    ),
    scope
  )
  return {
    port: Context.get(context, GrpcServer.GrpcServer).port,
    append: (event: string) =>
      Effect.provideContext(Journal.append(Note, { id: `n-${event}`, expected: "none", events: [event] }), context),
    stop: Scope.close(scope, Exit.void)
  }
})

const tables = Tables.make<{ handled: { text: string } }>()

/** A replica of the consumer, in what is another process as far as projections know, which ends with its scope. */
const consumer = Effect.fnUntraced(function*(filename: string, port: number) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const createTable = Database.Database.use(({ run }) =>
    run(tables.schema.createTable("handled").ifNotExists().addColumn("text", "text"))
  )
  const context = yield* Layer.buildWithScope(
    EventConsumer.source(Notes, { address: `localhost:${port}` }).pipe(
      Projection.exactlyOnce("notes", ({ event }) => Tables.run(tables.insertInto("handled").values({ text: event }))),
      Projection.workers(2),
      Projection.layer,
      Layer.provide(Layer.effectDiscard(createTable)),
      Layer.provideMerge([SqliteStorage.layer({ filename }), ProjectionRegistry.layer])
    ),
    scope
  )
  return {
    /** All that was handled, by whichever replica. */
    handled: Database.Database.use(({ run }) => run(tables.selectFrom("handled").selectAll().orderBy("text"))).pipe(
      Effect.map((rows) => rows.map(({ text }) => text)),
      Effect.orDie,
      Effect.provideContext(context)
    ),
    stop: Scope.close(scope, Exit.void)
  }
})

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => String(100 + from + i))

const hasAll = (handled: Effect.Effect<ReadonlyArray<string>>, n: number) => Effect.map(handled, (_) => _.length >= n)

const quietly = Effect.provideService(References.MinimumLogLevel, "None")

describe("replicas", () => {
  it.live("of a producer stand behind one address, and a consumer goes from one to the other", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const journal = Path.join(folder, "producer.db")
      const first = yield* producer(journal)
      const second = yield* producer(journal)
      const address = yield* Switchboard.start(first.port)
      const { handled } = yield* consumer(Path.join(folder, "consumer.db"), address.port)

      // each replica appends, and the one that the consumer has reached tells of both
      yield* Effect.forEach(range(0, 20), first.append)
      yield* Effect.forEach(range(20, 40), second.append)
      yield* Wait.until("the events of both", hasAll(handled, 40))
      yield* address.lead(second.port)
      yield* first.stop
      yield* Effect.forEach(range(40, 60), second.append)
      yield* Wait.until("the events after the first was stopped", hasAll(handled, 60))
      assert.deepStrictEqual(yield* handled, range(0, 60))
    }).pipe(quietly))

  it.live("of a consumer, one of which is stopped, handle each event once", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const { append, port } = yield* producer(Path.join(folder, "producer.db"))
      const offsets = Path.join(folder, "consumer.db")
      const first = yield* consumer(offsets, port)
      yield* Effect.forEach(range(0, 20), append)
      yield* Wait.until("the first to have begun", hasAll(first.handled, 1))
      const second = yield* consumer(offsets, port)
      yield* Effect.forEach(range(20, 40), append)
      yield* Wait.until("the events with two replicas", hasAll(second.handled, 40))
      yield* first.stop
      yield* Effect.forEach(range(40, 60), append)
      yield* Wait.until("the events after the first was stopped", hasAll(second.handled, 60))
      assert.deepStrictEqual(yield* second.handled, range(0, 60))
    }).pipe(quietly))
})
