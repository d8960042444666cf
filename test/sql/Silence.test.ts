/** A server that says nothing any more, though nobody is told that the connections to it are lost. */
import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import { Database } from "@sluice/sql/Database"
import * as Wait from "@sluice/testing/Wait"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { sql } from "kysely"
import * as Proxy from "../hostile/Proxy.ts"
import { servers } from "./databases.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })

for (const { name, place, slow } of servers) {
  it.live(
    `${name} that is silent holds up nobody for long who interrupts what waits for it, or closes the storage`,
    () =>
      Effect.gen(function*() {
        const there = yield* place
        const proxy = yield* Proxy.start(there.port!)
        const scope = yield* Scope.make()
        const context = yield* Scope.provide(Layer.build(Layer.fresh(there.layer({ port: proxy.port }))), scope)
        const { run, sql: client, withTransaction } = Context.get(context, Database)
        const append = (event: string) =>
          Effect.provideContext(Journal.append(Note, { id: "n", events: [event] }), context)
        yield* append("1")
        const locked = yield* Latch.make()
        const reading = yield* Latch.make()
        const query = run(sql.raw(slow) as any)
        const under = {
          query,
          transaction: withTransaction(query),
          "append in a transaction": withTransaction(
            append("2").pipe(Effect.andThen(locked.open), Effect.andThen(Effect.never))
          ),
          append: Effect.andThen(locked.await, append("3")),
          "stream that is half read": Stream.runForEach(
            client`SELECT column_name FROM information_schema.columns LIMIT 1000`.stream,
            () => Effect.andThen(reading.open, Effect.never)
          ),
          stream: Stream.runForEach(client`${client.literal(slow)}`.stream, () => Effect.never)
        }
        const fibers = yield* Effect.forEach(
          Object.entries(under),
          ([what, effect]) =>
            Effect.map(
              Effect.forkChild(Effect.exit(effect as Effect.Effect<unknown, unknown>)),
              (fiber) => ({ what, fiber })
            )
        )
        yield* locked.await
        yield* run(sql`SELECT 1`)
        yield* proxy.rule(() => "swallow")
        yield* proxy.break("swallow")
        yield* Wait.until("the connections to be silent", () => proxy.broken() >= 6)
        const times = yield* Effect.forEach(
          fibers,
          ({ fiber, what }) =>
            Effect.map(Effect.timed(Fiber.interrupt(fiber)), ([time]) => [what, Duration.toMillis(time)] as const),
          { concurrency: "unbounded" }
        )
        const [closing] = yield* Effect.timed(Scope.close(scope, Exit.void))
        // a few budgets of a second each on a quiet machine, and less than the 35 seconds that a statement has on any
        for (const [what, time] of [...times, ["closing", Duration.toMillis(closing)] as const]) {
          assert.isBelow(time, 30_000, what)
        }
      }).pipe(Effect.scoped)
  )
}
