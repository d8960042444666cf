import { assert, it } from "@effect/vitest"
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventFilter from "@sluice/core/EventFilter"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as Source from "@sluice/core/Source"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"

const Note = EntityType.make("note", { codec: EventCodec.string })
const local = Source.journal(Note)

const memory = Layer.fresh(Layer.merge(MemoryStorage.layer, ProjectionRegistry.layer))

const running = (version: number) =>
  Effect.flatMap(
    ProjectionRegistry.ProjectionRegistry,
    ({ workers }) =>
      Effect.forEach(workers("notes"), ({ until }) =>
        until(({ filterVersion, state }) => filterVersion === version && state === "Running"))
  )

it.live("workers that had caught up ask for heads once at most when the filter changes, and do after a rewind", () =>
  Effect.gen(function*() {
    let heads = 0
    const source = Source.make<string, any, Journal.Journal>({
      ...local.provider,
      key: "stream:note",
      filter: EventFilter.passAll,
      open: (range, { filter: _filter, ...start }) => local.provider.open(range, start) as any,
      heads: (range) =>
        Effect.suspend(() => {
          heads++
          return local.provider.heads(range)
        })
    })
    const Notes = source.pipe(Projection.exactlyOnce("notes", () => Effect.void), Projection.workers(4))
    yield* Journal.append(Note, { id: "n-1", events: ["a"] })
    yield* Layer.build(Projection.layer(Notes))
    yield* running(1)
    yield* ProjectionStatus.caughtUp("notes")
    heads = 0
    const changes = ["a", "b", "c"]
    for (const id of changes) {
      const { version } = yield* ConsumerFilter.update(Notes, EventFilter.excludeEntityIds(id), { by: "ada" })
      yield* running(version)
    }
    // each worker finds out by them that it has taken a change up, if it has nothing to store
    assert.isAtMost(heads, 4 * changes.length)
    const statuses = yield* ProjectionStatus.status("notes")
    assert.deepStrictEqual(statuses.map(({ restarts }) => restarts), [0, 0, 0, 0])
    heads = 0
    yield* ProjectionManagement.rewind("notes", "beginning")
    yield* ProjectionStatus.caughtUp("notes")
    assert.isAtLeast(heads, 4)
  }).pipe(Effect.scoped, Effect.provide(memory)))

const filteredBy = (filter: EventFilter.EventFilter) =>
  Source.make<string, any, Journal.Journal>({
    ...local.provider,
    key: "stream:note",
    filter,
    open: (range, { filter: _filter, ...start }) => local.provider.open(range, start) as any
  })

it.live("projections of a stream that begin with different filters are told of, both by name", () =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void (logLevel === "Warn" && lines.push(String(message))))
    const runs = (name: string, filter: EventFilter.EventFilter) =>
      Layer.build(Projection.layer(filteredBy(filter).pipe(Projection.exactlyOnce(name, () => Effect.void)))).pipe(
        Effect.provide(Logger.layer([logger]))
      )
    const large = EventFilter.excludeAll.pipe(EventFilter.includeTags("large"))
    yield* Effect.scoped(runs("gone", EventFilter.excludeAll))
    yield* runs("one", large)
    yield* runs("same", EventFilter.excludeAll.pipe(EventFilter.includeTags("large")))
    assert.deepStrictEqual(lines, [])
    yield* runs("other", EventFilter.passAll)
    assert.strictEqual(lines.length, 1)
    for (const name of ["'one'", "'other'", "'stream:note'"]) assert.include(lines[0], name)
  }).pipe(Effect.scoped, Effect.provide(memory)))

it.live("a change that gives up the past of a stream is told of once, with who has made it", () =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void (logLevel === "Warn" && lines.push(String(message))))
    const notes = filteredBy(EventFilter.excludeAll)
    const changes = (history: ConsumerFilter.HistoryPolicy) =>
      ConsumerFilter.update(notes, EventFilter.includeEntityIds(history), { by: "ada", history })
    yield* Effect.gen(function*() {
      yield* changes("nextEvent")
      yield* changes("now")
      assert.deepStrictEqual(lines, [])
      yield* changes("none")
    }).pipe(Effect.provide(Logger.layer([logger])))
    assert.strictEqual(lines.length, 1)
    for (const part of ["\"ada\"", "'stream:note'", "version 4", "rewind"]) assert.include(lines[0], part)
  }).pipe(Effect.provide(memory)))

it.live("a change is told of once that excludes an entity by its id which the filter includes all the same", () =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void (logLevel === "Warn" && lines.push(String(message))))
    const notes = filteredBy(EventFilter.excludeAll.pipe(EventFilter.includeEntityIds("n-1", "n-2")))
    const excludes = (...ids: ReadonlyArray<string>) =>
      ConsumerFilter.update(notes, EventFilter.excludeEntityIds(...ids), { by: "ada" })
    yield* Effect.gen(function*() {
      yield* excludes("n-3")
      yield* ConsumerFilter.update(notes, EventFilter.includeTags("large"), { by: "ada" })
      assert.deepStrictEqual(lines, [])
      yield* excludes("n-1", "n-2", "n-3")
      yield* excludes("n-4")
    }).pipe(Effect.provide(Logger.layer([logger])))
    assert.deepStrictEqual(lines, [
      "\"ada\" excludes the entity \"n-1\", and 1 more in version 4 of the filter of 'stream:note', which includes it all the same. An event of it " +
      "passes: excluded by the entity id \"n-1\", but included by the entity id \"n-1\". That its entity id is excluded makes no difference: take away " +
      "what includes it"
    ])
  }).pipe(Effect.provide(memory)))
