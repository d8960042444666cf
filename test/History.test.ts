import { assert, describe, it } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as Source from "@sluice/core/Source"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { createTable, Note, Notes, rows, seen } from "./history/contract.ts"
import * as Service from "./kit/Service.ts"

const consumer = fileURLToPath(new URL("./history/consumer.ts", import.meta.url))

const entities = Array.from({ length: 24 }, (_, i) => `n-${i}`)
const eventsOfEach = 20
const texts = Array.from({ length: eventsOfEach }, (_, i) => `${i}`) as [string, ...Array<string>]

describe("the past of what a filter includes", () => {
  it.live("comes once and in order, though its consumer is killed again and again", () =>
    Effect.gen(function*() {
      const folder = yield* Service.temporaryFolder
      const there = yield* Layer.build(
        EventProducer.layer(Notes, Source.journal(Note)).pipe(
          Layer.provideMerge([
            GrpcServer.layer({ port: 0 }),
            SqliteStorage.layer({ filename: Path.join(folder, "producer.db") })
          ])
        )
      )
      const append = (id: string, events: typeof texts) => Effect.provide(Journal.append(Note, { id, events }), there)
      const { port } = yield* Effect.provide(GrpcServer.GrpcServer, there)
      for (const id of entities) yield* append(id, texts)
      yield* append("live", ["1"])

      const filename = Path.join(folder, "consumer.db")
      const here = yield* Layer.build(createTable.pipe(Layer.provideMerge(SqliteStorage.layer({ filename }))))
      const handled = Effect.provide(rows, here)
      const handledAtLeast = (n: number) =>
        Wait.until(`${n} events`, Effect.map(handled, ({ length }) => length >= n), { atMost: "2 minutes" })
      const service = yield* Service.start({
        command: process.execPath,
        args: () => Service.nodeArgs(consumer, filename, `${port}`)
      })
      yield* handledAtLeast(1)
      // by another process than the one that follows it
      yield* ConsumerFilter.update(seen(port), () => EventFilter.passAll, { by: "ada", history: "now" }).pipe(
        Effect.provide(here)
      )
      const all = entities.length * eventsOfEach
      for (let kills = 1; kills <= 3; kills++) {
        yield* handledAtLeast(kills * all / 6)
        yield* service.kill
        // what is new comes meanwhile
        yield* append("live", [`${kills + 1}`])
      }
      yield* handledAtLeast(all + 4)
      const found = yield* handled
      const numbers = Map.groupBy(found, ({ id }) => id)
      for (const id of entities) {
        assert.deepStrictEqual(numbers.get(id)?.map(({ n }) => n), texts.map((_, i) => i + 1), id)
      }
      assert.deepStrictEqual(numbers.get("live")?.map(({ n }) => n), [1, 2, 3, 4])
      assert.strictEqual(found.length, all + 4)
    }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")), 300_000)
})
