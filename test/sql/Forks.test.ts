/** Positions that stand for other events than they did: a journal that has lost commits, or was altered by hand. */
import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as Verification from "@sluice/core/Verification"
import { type Dialect } from "@sluice/sql/adapter/Dialect"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as Proxy from "../hostile/Proxy.ts"
import { databases, type Place, servers } from "./databases.ts"

const Note = EntityType.make("note", { codec: EventCodec.string })
const append = (event: string) => Journal.append(Note, { id: "a", events: [event] })

/** As if the newest event of the log had never been, but for those who have read it. */
const forget = ({ execute, table }: Place, dialect: Dialect, { position, slice }: Journal.Written) =>
  Effect.promise(async () => {
    const at = `slice = ${slice} AND position = ${position}`
    await execute(`DELETE FROM ${table("sluice_journal")} WHERE ${at}`)
    if (dialect === "mysql") await execute(`UPDATE ${table("sluice_head")} SET position = position - 1 WHERE ${at}`)
  })

for (const { dialect, name, place } of databases) {
  describe(`in ${name}, the newest event that was deleted by hand, and its place taken,`, () => {
    for (const who of ["this process", "another process"]) {
      it.live(`is noticed by those who have read it, when ${who} appends`, () =>
        Effect.gen(function*() {
          const there = yield* place
          const open = Effect.map(Layer.build(Layer.fresh(there.layer())), Context.get(Journal.Journal))
          const own = yield* open
          const writer = who === "this process" ? own : yield* open
          const write = (event: string) => Effect.provideService(append(event), Journal.Journal, writer)
          const seen: Array<string> = []
          yield* write("1")
          const following = yield* Source.toStream(Source.journal(Note)).pipe(
            Stream.runForEach(({ event }) => Effect.sync(() => seen.push(event))),
            Effect.provideService(Journal.Journal, own),
            Effect.forkScoped
          )
          yield* Wait.until("the first event", () => seen.length === 1)
          const lost = yield* write("2")
          yield* Wait.until("the second event", () => seen.length === 2)

          yield* forget(there, dialect, lost)
          const { position } = yield* write("2'")
          assert.strictEqual(position, lost.position)
          yield* write("3'")
          const exit = yield* Fiber.await(following)
          assert.isTrue(Exit.isFailure(exit))
          assert.instanceOf(Exit.isFailure(exit) && Cause.squash(exit.cause), Journal.JournalForked)
          assert.deepStrictEqual(seen, ["1", "2"])
        }).pipe(Effect.scoped))
    }
  })
}

for (const { dialect, name, place } of databases) {
  for (const mode of ["exact", "perEntity"] as const) {
    it.live(`a projection that is verified, with offsets ${mode} in ${name}, is ahead of a restored backup, whose entity has as many events again, with the same numbers`, () =>
      Effect.gen(function*() {
        const there = yield* place
        yield* Effect.gen(function*() {
          const copy = Source.journal(Note).pipe(Projection.exactlyOnce("copy", () => Effect.void))
          const verified = Effect.map(Verification.verify(copy), ([report]) => report!)
          const first = yield* append("1")
          if (mode === "perEntity") {
            const store = yield* OffsetStore
            const key = Projection.offsetKey(copy)
            yield* ProjectionManagement.ProjectionManagement.use((management) => management.register(key))
            const { revision } = yield* store.load(key, SliceRange.full)
            const { journal, persistenceId, sequenceNumber: number, slice } = first
            const entities = new Map([[persistenceId, { first: number, last: number }]])
            const move = { slice, from: undefined, to: first, entities }
            yield* store.transact(key, { journal, revision: revision! }, [move], Effect.void)
          }
          const lost = yield* Effect.forEach(["2", "3"], append)
          yield* Effect.scoped(
            Effect.andThen(Layer.build(Projection.layer(copy)), ProjectionStatus.caughtUp("copy"))
          )
          const before = yield* verified
          assert.deepStrictEqual([before.differences, before.slices[0]!.mode], [[], mode])

          yield* Effect.forEach(lost.toReversed(), (event) => forget(there, dialect, event))
          const again = yield* Effect.forEach(["2'", "3'", "4'"], append)
          assert.deepStrictEqual(
            again.slice(0, 2).map(({ position, sequenceNumber }) => [position, sequenceNumber]),
            lost.map(({ position, sequenceNumber }) => [position, sequenceNumber])
          )
          const { differences } = yield* verified
          assert.deepStrictEqual(differences.map(({ _tag, slice }) => [_tag, slice]), [["Ahead", first.slice]])
          const [{ handled, head }] = differences as unknown as [Verification.Ahead]
          assert.deepStrictEqual([handled.position, head.position], [lost[1]!.position, again[2]!.position])
        }).pipe(Effect.provide(there.layer()), Effect.provideService(References.MinimumLogLevel, "None"))
      }).pipe(Effect.scoped))
  }
}

for (const { dialect, name, place } of servers) {
  it.live(
    `a failover of ${name} that nobody has seen is noticed by those who wait, though the newest event's place is taken`,
    () =>
      Effect.gen(function*() {
        const there = yield* place
        const open = (port?: number) =>
          Effect.map(Layer.build(Layer.fresh(there.layer({ port }))), Context.get(Journal.Journal))
        const other = yield* open()
        const write = (event: string) => Effect.provideService(append(event), Journal.Journal, other)
        const proxy = yield* Proxy.start(there.port!)
        const own = yield* open(proxy.port)
        const seen: Array<string> = []
        yield* Effect.forEach(["1", "2"], write)
        const lost = yield* write("3")
        const following = yield* Source.toStream(Source.journal(Note)).pipe(
          Stream.runForEach(({ event }) => Effect.sync(() => seen.push(event))),
          Effect.provideService(Journal.Journal, own),
          Effect.forkScoped
        )
        yield* Wait.until("the events", () => seen.length === 3)
        yield* forget(there, dialect, lost)
        // at once it leads to the server that has the other event there
        yield* proxy.break("cut")
        const { position } = yield* write("3'")
        assert.strictEqual(position, lost.position)
        const exit = yield* Fiber.await(following)
        assert.deepStrictEqual(seen, ["1", "2", "3"])
        const error = Exit.isFailure(exit) && Cause.squash(exit.cause)
        // what was being read when the connection was cut fails for that: then it is tried once more
        if (error instanceof StorageError && error.isRetryable) return yield* error
        assert.instanceOf(error, Journal.JournalForked)
      }).pipe(Effect.scoped, Effect.retry({ times: 9 })),
    60_000
  )
}
