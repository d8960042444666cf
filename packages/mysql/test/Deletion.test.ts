import { assert, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as Timestamp from "@sluice/core/Timestamp"
import * as MysqlStorage from "@sluice/mysql/MysqlStorage"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import { inject } from "vitest"

const Note = EntityType.make("note", { codec: EventCodec.string })
const servers = [["MariaDB", inject("mariadb")], ["MySQL", inject("mysql")]] as const

it.live.each(servers.filter(([, url]) => url !== ""))(
  "%s prunes a log without waiting for a transaction that has appended to another",
  ([, url]) =>
    Effect.gen(function*() {
      // so many that the optimizer would rather look at the whole entity type
      for (let i = 0; i < 20; i++) {
        yield* Journal.append(Note, { id: "n-1", events: Array.from({ length: 20 }, () => "old") as [string] })
      }
      const before = yield* Journal.Journal.use((journal) => journal.now)
      yield* Journal.append(Note, { id: "n-1", events: ["new"] })
      const begun = yield* Latch.make(false)
      const end = yield* Latch.make(false)
      const transaction = yield* Effect.forkChild(Journal.transaction(
        Journal.append(Note, { id: "n-2", events: ["held"] }).pipe(
          Effect.andThen(begun.open),
          Effect.andThen(end.await)
        )
      ))
      yield* begun.await
      assert.strictEqual(yield* Journal.prune(Note, { before }), 400)
      yield* end.open
      yield* Fiber.join(transaction)
    }).pipe(
      Effect.provide(
        MysqlStorage.layer({ url, tablePrefix: `deletion_${crypto.randomUUID().slice(0, 8)}_`, lockTimeout: 1000 })
      )
    )
)

it.live.each(servers.filter(([, url]) => url !== ""))(
  "%s prunes a log without waiting for a transaction that has appended to it",
  ([, url]) =>
    Effect.gen(function*() {
      const append = Journal.append(Note, { id: "n", events: ["x"] })
      const now = Journal.Journal.use((journal) => Effect.map(journal.now, (now) => Timestamp.make(now + 1)))
      yield* append
      yield* append
      assert.strictEqual(yield* Journal.prune(Note, { before: yield* now }), 1)
      yield* append
      const begun = yield* Latch.make(false)
      const end = yield* Latch.make(false)
      const transaction = yield* Effect.forkChild(
        Journal.transaction(append.pipe(Effect.andThen(begun.open), Effect.andThen(end.await)))
      )
      yield* begun.await
      assert.strictEqual(yield* Journal.prune(Note, { before: yield* now }), 1)
      yield* end.open
      yield* Fiber.join(transaction)
    }).pipe(
      Effect.provide(
        MysqlStorage.layer({ url, tablePrefix: `deletion_${crypto.randomUUID().slice(0, 8)}_`, lockTimeout: 1000 })
      )
    )
)
