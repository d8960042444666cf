/** An address of PostgreSQL that leads to another server after a failover: to one that takes no writes yet, or has lost commits. */
import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as PostgresStorage from "@sluice/postgres/PostgresStorage"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as PostgresPair from "../kit/PostgresPair.ts"
import * as Switchboard from "../kit/Switchboard.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const append = (event: string) => Journal.append(Note, { id: "a", events: [event] })
const workers = ProjectionStatus.status("notes")

it.live(
  "after a failover, a server that takes no writes is left, and lost events are noticed",
  () =>
    Effect.gen(function*() {
      const { caughtUp, cut, primary, promote, standby } = yield* PostgresPair.start
      const address = yield* Switchboard.start(primary.port)
      const { database, host, user } = primary
      const journal = (port: number) => Layer.fresh(PostgresStorage.layerJournal({ host, port, user, database }))
      const handled: Array<string> = []
      const until = (event: string) => Wait.until(`event ${event} to be handled`, () => handled.includes(event))
      const projection = Projection.layer(
        Source.journal(Note).pipe(
          Projection.exactlyOnce("notes", ({ event }) => Effect.sync(() => void handled.push(event)))
        )
      )
      yield* Effect.gen(function*() {
        yield* append("1")
        yield* until("1")
        yield* caughtUp

        // the name leads to a reader first
        const misled = yield* Effect.flip(Effect.scoped(Layer.build(journal(standby.port))))
        assert.instanceOf(misled, StorageError)
        assert.strictEqual(misled.reason, "ReadOnly")
        yield* address.lead(standby.port)
        yield* address.cut
        const waiting = yield* Effect.forkScoped(append("2"))
        yield* Wait.until("attempts at the reader", () => address.made(standby.port) > 2)
        yield* address.lead(primary.port)
        assert.strictEqual((yield* Fiber.join(waiting)).sequenceNumber, 2)
        yield* until("2")
        yield* Wait.until("no connection to the reader", () => address.open(standby.port) === 0)
        yield* caughtUp

        // two events are acknowledged, and lost with the server that has them, while more are on their way
        yield* cut
        yield* append("3")
        yield* append("4")
        yield* until("4")
        yield* promote
        yield* address.lead(standby.port)
        yield* address.cut
        yield* Effect.forEach(["3'", "4'", "5'"], append)
        yield* Wait.until(
          "the projection to stop",
          Effect.map(workers, (workers) => workers.every(({ state }) => state === "Stopped"))
        )
        const [worker] = yield* workers
        assert.instanceOf(worker!.failure && Cause.squash(worker!.failure.cause), Journal.JournalForked)
        assert.deepStrictEqual(handled, ["1", "2", "3", "4"])
      }).pipe(
        Effect.scoped,
        Effect.provide(
          projection.pipe(
            Layer.provideMerge(journal(address.port)),
            Layer.provide(SqliteStorage.layerOffsetStore({ filename: ":memory:" }))
          )
        )
      )
    }).pipe(Effect.scoped),
  120_000
)
