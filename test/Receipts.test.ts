import { assert, describe, it } from "@effect/vitest"
import * as Journal from "@sluice/core/Journal"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Receipt from "@sluice/core/Receipt"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Database from "@sluice/sql/Database"
import * as Tables from "@sluice/sql/Tables"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import { freePort } from "@sluice/testing/FreePort"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { Counted, Counter, Counts, isPublic, Noted } from "./chaos/contract.ts"
import * as Service from "./kit/Service.ts"

const consumerFile = fileURLToPath(new URL("./chaos/consumer.ts", import.meta.url))
const tables = Tables.make<{ seen: { persistence_id: string; n: number } }>()
const pollSchedule = Schedule.spaced("50 millis")
const quiet = Layer.succeed(References.MinimumLogLevel, "None")

describe("a receipt of one service", () => {
  it.live(
    "is waited for in the database of another, whose process is killed meanwhile, and its rows are there then, once",
    () =>
      Effect.gen(function*() {
        const folder = yield* Service.temporaryFolder
        const port = yield* freePort
        // who appends: a service with a journal of its own
        const producer = yield* Layer.build(
          EventProducer.layer(
            Counts,
            Source.journal(Counter).pipe(
              Source.filterMap(({ event }) => event._tag === "Counted" ? Option.some(event) : Option.none())
            )
          ).pipe(
            Layer.provide(GrpcServer.layer({ port })),
            Layer.provideMerge(SqliteStorage.layer({ filename: Path.join(folder, "producer.db") }))
          )
        )
        const append = (id: string, n: number) =>
          Journal.append(Counter, { id, events: [isPublic(n) ? new Counted({ n }) : new Noted({ n })] }).pipe(
            Effect.map(Schema.encodeSync(Receipt.Receipt)),
            Effect.provideContext(producer)
          )
        // who projects, over a socket, into a database of its own
        const consumed = Path.join(folder, "consumer.db")
        const consumer = yield* Service.start({
          command: process.execPath,
          args: () => Service.nodeArgs(consumerFile, consumed, `${port}`, "3")
        })
        // who waits: another process of the consumer's service
        const waiting = yield* Layer.build(SqliteStorage.layer({ filename: consumed }))
        const reached = (text: string, timeout: number) =>
          Effect.flatMap(
            Schema.decodeEffect(Receipt.Receipt)(text),
            (receipt) => ProjectionStatus.reached("seen", receipt, { timeout })
          ).pipe(Effect.provideContext(waiting))
        const seen = (id: string) =>
          Context.get(waiting, Database.Database).run(
            tables.selectFrom("seen").select("n").where("persistence_id", "=", `counter|${id}`).orderBy("n")
          )

        const first = yield* append("c-0", 1)
        yield* reached(first, 60_000).pipe(
          // its process has not registered it yet
          Effect.retry({ while: (error) => error._tag === "UnknownProjection", schedule: pollSchedule }),
          (first) => Wait.end("the first event", first)
        )
        const counts = Array.from({ length: 8 }, (_, i) => i === 0 ? 1 : 0)
        for (let round = 0; round < 3; round++) {
          const writers = Effect.forEach(counts, (_, i) =>
            Effect.gen(function*() {
              for (let event = 0; event < 6; event++) {
                const receipt = yield* append(`c-${i}`, ++counts[i]!)
                assert.deepStrictEqual(yield* reached(receipt, 120_000), { leftOut: [], deadLetters: [] })
                const expected = Array.from({ length: counts[i]! }, (_, n) => n + 1).filter(isPublic)
                assert.deepStrictEqual((yield* seen(`c-${i}`)).map(({ n }) => n), expected)
              }
            }), { concurrency: "unbounded", discard: true })
          const killing = Effect.gen(function*() {
            yield* Effect.sleep(yield* Random.nextBetween(1, 300))
            yield* consumer.kill
          })
          yield* Effect.all([writers, killing], { concurrency: 2 })
        }
        // a receipt of another journal does not wait until the time is up
        const other = yield* Journal.append(Counter, { id: "c-0", events: [new Counted({ n: 1 })] }).pipe(
          Effect.provideContext(waiting)
        )
        const error = yield* Effect.flip(reached(Schema.encodeSync(Receipt.Receipt)(other), 120_000))
        assert.instanceOf(error, ProjectionStatus.ReceiptOfOtherJournal)
      }).pipe(Effect.provide(quiet)),
    600_000
  )
})
