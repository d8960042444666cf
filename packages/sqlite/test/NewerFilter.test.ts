import { assert, layer } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventFilter from "@sluice/core/EventFilter"
import type * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import { Database } from "@sluice/sql/Database"
import * as SqliteStorage from "@sluice/sqlite/SqliteStorage"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { sql } from "kysely"

const { provider } = Source.journal(EntityType.make("note", { codec: EventCodec.string }))
const own = EventFilter.passAll.pipe(EventFilter.excludeTags("test"))
const Notes = Source.make<string, any, Journal.Journal>({
  ...provider,
  key: "stream:note",
  filter: own,
  open: (range, { filter: _filter, ...start }) => provider.open(range, start) as any
}).pipe(Projection.exactlyOnce("notes", () => Effect.void))

const Test = Layer.mergeAll(
  SqliteStorage.layer({ filename: ":memory:" }),
  ProjectionRegistry.layer,
  Layer.succeed(References.MinimumLogLevel, "None")
)

const running = Wait.until(
  "the projection to run",
  Effect.map(
    ProjectionStatus.status("notes"),
    (workers) => workers.length > 0 && workers.every(({ state }) => state === "Running")
  ),
  { atMost: "60 seconds" }
)

/** As a newer release would have stored it. */
const makeNewer = (version: number) =>
  Database.use(({ run }) =>
    run(sql`UPDATE sluice_filter SET filter = '{"excludeTags":["test"],"excludeTopics":["home/#"]}'
      WHERE version = ${sql.lit(version)}`)
  )

layer(Test, { excludeTestServices: true })("a filter that a newer release has stored", (it) => {
  it.effect("gives way to that of the pipeline where it was the pipeline's, as after a release was taken back", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* ConsumerFilter.get(Notes)).version, 1)
      yield* makeNewer(1)
      yield* Layer.build(Projection.layer(Notes))
      yield* running
      const { by, filter, version } = yield* ConsumerFilter.get(Notes)
      assert.deepStrictEqual([version, by, filter], [2, ConsumerFilter.pipeline, own])
    }).pipe(Effect.scoped))

  it.effect("stops the projection where somebody has stored it, until it is rolled back here", () =>
    Effect.gen(function*() {
      const more = EventFilter.excludeTags("more")
      const { version } = yield* ConsumerFilter.update(Notes, more, { by: "ada" })
      yield* makeNewer(version)
      yield* Layer.build(Projection.layer(Notes))
      yield* Wait.until(
        "it to say why it does not run",
        Effect.map(
          ProjectionStatus.status("notes"),
          ([worker]) => worker?.state === "Restarting" && String(worker.failure?.cause).includes("excludeTopics")
        ),
        { atMost: "60 seconds" }
      )
      const error = yield* Effect.flip(ConsumerFilter.update(Notes, more, { by: "ada" }))
      assert.include(error.message, `read version ${version} of the filter of 'stream:note'`)
      assert.include(error.message, "roll back to an earlier version")
      const before = yield* ConsumerFilter.history(Notes, { before: version, limit: 1 })
      assert.deepStrictEqual(before.map(({ filter, version }) => [version, filter]), [[2, own]])
      // what is given up with it cannot be told
      yield* Effect.flip(ConsumerFilter.rollBack(Notes, 2, { by: "ada", history: "none" }))
      const after = yield* ConsumerFilter.rollBack(Notes, 2, { by: "ada" })
      assert.deepStrictEqual([after.version, after.filter], [version + 1, own])
      yield* running
    }).pipe(Effect.scoped))

  it.effect("stays away where it was the pipeline's, and somebody has stored another one since", () =>
    Effect.gen(function*() {
      const { by, version } = yield* ConsumerFilter.get(Notes)
      assert.strictEqual(by, ConsumerFilter.pipeline)
      yield* ConsumerFilter.update(Notes, EventFilter.excludeTags("more"), { by: "ada" })
      yield* makeNewer(version)
      yield* Layer.build(Projection.layer(Notes))
      yield* running
    }).pipe(Effect.scoped))
})
