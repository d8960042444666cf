/** What becomes of appends while their database is away, and whether they may have been written. */
import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import type { Dialect } from "@sluice/sql/adapter/Dialect"
import type { JournalDialect } from "@sluice/sql/adapter/JournalDialect"
import * as Naming from "@sluice/sql/adapter/Naming"
import * as SqlJournal from "@sluice/sql/adapter/SqlJournal"
import { toConnectError, toSqlError } from "@sluice/sql/adapter/SqlStorageError"
import * as StorageSignals from "@sluice/sql/adapter/StorageSignals"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import type { SqlError } from "effect/sql/SqlError"
import * as TestClock from "effect/testing/TestClock"
import { errorOf, FakeServer } from "./fakeServer.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })

const append = (id: number) => Journal.append(Note, { id: `n-${id}`, events: ["event"] })

/** Appends so many events at once, each of which fails so, and tells what became of it. */
const appends = Effect.fnUntraced(function*(dialect: Dialect, error: SqlError, count: number) {
  const batches: Array<ReadonlyArray<Journal.AppendRequest>> = []
  const warnings: Array<unknown> = []
  const refuse: JournalDialect["waitAppend"] = (requests) =>
    Effect.suspend(() => {
      batches.push(requests)
      return Effect.fail(error)
    })
  const journal = yield* SqlJournal.make({
    database: yield* new FakeServer(dialect).database,
    db: Naming.tables(Naming.make({})),
    dialect: {
      register: () => Effect.void,
      tryAppend: refuse,
      waitAppend: refuse,
      joins: () => true
    } as Partial<JournalDialect> as JournalDialect,
    signals: StorageSignals.make(),
    identity: "j",
    maxEventBytes: undefined,
    lanes: 1,
    waiters: 1
  })
  const appending = yield* Effect.all(Array.from({ length: count }, (_, id) => Effect.exit(append(id))), {
    concurrency: "unbounded"
  }).pipe(
    Effect.provideService(Journal.Journal, journal),
    Effect.forkChild
  )
  // half a minute for the first, which goes alone, and another for the others
  yield* TestClock.adjust("70 seconds")
  for (let i = 0; i < 20; i++) yield* Effect.yieldNow
  assert.isDefined(appending.pollUnsafe(), "the appends still wait")
  const exits = yield* Fiber.join(appending)
  return {
    reasons: exits.map((exit) => Exit.isFailure(exit) && (Exit.findErrorOption(exit) as any).value.reason),
    batches,
    warnings,
    isRechecked: batches.some((requests) => requests.some(({ recheck }) => recheck))
  }
}, (effect) => {
  const warnings: Array<unknown> = []
  const logger = Logger.make(({ message }) => void warnings.push(message))
  return Effect.map(Effect.provide(effect, Logger.layer([logger])), (result) => ({ ...result, warnings }))
}, Effect.scoped)

describe.each(["postgres", "mysql"] as const)("appends on %s, while the database is away", (dialect) => {
  const answered = toSqlError(dialect)("append")
  const connecting = toConnectError(dialect)("append")
  const refused = Object.assign(new Error("refused"), { code: "ECONNREFUSED", errno: -111 })

  it.effect("may have been written where the connection was lost, and say so each time", () =>
    Effect.gen(function*() {
      const { batches, isRechecked, reasons, warnings } = yield* appends(
        dialect,
        answered(errorOf(dialect, "lost")),
        1
      )
      assert.deepStrictEqual(reasons, ["Unavailable"])
      assert.isTrue(isRechecked)
      assert.strictEqual(warnings.length, batches.length)
    }))

  for (
    const [what, error, reason] of [
      ["the server takes no writes", answered(errorOf(dialect, "readOnly")), "ReadOnly"],
      ["the server that is found takes no writes", connecting(errorOf(dialect, "readOnly")), "ReadOnly"],
      ["nobody listens", connecting(refused), "Unavailable"]
    ] as const
  ) {
    it.effect(`wait where ${what}, and say once that nothing was written`, () =>
      Effect.gen(function*() {
        const { batches, isRechecked, reasons, warnings } = yield* appends(dialect, error, 1)
        assert.deepStrictEqual(reasons, [reason])
        assert.isAbove(batches.length, 20)
        assert.isFalse(isRechecked)
        assert.strictEqual(warnings.length, 1)
        assert.match(String(warnings), /nothing was written/)
      }))
  }

  it.effect("wait together, and not one after the other", () =>
    Effect.gen(function*() {
      const { reasons } = yield* appends(dialect, answered(errorOf(dialect, "readOnly")), 5)
      assert.deepStrictEqual(new Set(reasons), new Set(["ReadOnly"]))
    }))

  for (const kind of ["missing", "full"] as const) {
    it.effect(`are not tried one by one for what is ${kind}`, () =>
      Effect.gen(function*() {
        const { batches } = yield* appends(dialect, answered(errorOf(dialect, kind)), 5)
        assert.isAtMost(batches.length, 2)
      }))
  }
})
