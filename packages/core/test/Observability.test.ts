import { assert, describe, it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Metrics from "@sluice/core/Metrics"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as ProjectionWorker from "@sluice/core/ProjectionWorker"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as Slice from "@sluice/core/Slice"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Wait from "@sluice/testing/Wait"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"

const Note = EntityType.make("note", { codec: EventCodec.string })

const value = <Input, State>(metric: Metric.Metric<Input, State>, attributes: Record<string, string>) =>
  Metric.value(Metric.withAttributes(metric, attributes))

/** With metrics of its own, and storage of its own. */
const isolated = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(
    Effect.scoped,
    Effect.provide(Layer.fresh(MemoryStorage.layer)),
    Effect.provideService(Metric.MetricRegistry, new Map()),
    Effect.provideService(References.MinimumLogLevel, "None")
  )

const traced = <A, E, R>(effect: (spans: ReadonlyArray<Tracer.NativeSpan>) => Effect.Effect<A, E, R>) => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return isolated(Effect.provideService(effect(spans), Tracer.Tracer, tracer))
}

const running = <E, R>(projection: Projection.Projection<E, R>) =>
  Effect.scoped(Effect.andThen(Layer.build(Projection.layer(projection)), ProjectionStatus.caughtUp(projection)))

describe("at the start", () => {
  /** The lines that are logged for information, with their annotations. */
  const told = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
    const lines: Array<readonly [message: string, annotations: Readonly<Record<string, unknown>>]> = []
    const logger = Logger.make(({ fiber, message }) =>
      void lines.push([String(message), { ...fiber.getRef(References.CurrentLogAnnotations) }])
    )
    yield* effect.pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, "Info")
    )
    return lines
  })

  const notes = Source.journal(Note).pipe(Projection.exactlyOnce("p", () => Effect.void), Projection.workers(4))
  it.live("a projection says in one line what it is, and where it begins", () =>
    Effect.gen(function*() {
      yield* Journal.append(Note, { id: "a", events: ["1", "2"] })
      assert.deepStrictEqual(yield* told(running(notes)), [[
        "Runs projection 'p': journal of note, exactly once, 4 workers, all of them here, of slices 0-1023, from the beginning",
        { projection: "p", source: "journal:note", slices: "0-1023" }
      ]])
      const [[again] = []] = yield* told(running(Projection.workers(1)(notes)))
      assert.strictEqual(
        again,
        "Runs projection 'p': journal of note, exactly once, 1 worker, here, of slices 0-1023, from its stored offsets, 2 positions in"
      )
    }).pipe(isolated))

  it.live("a projection whose offsets are times says which, and not that it begins from the beginning", () =>
    Effect.gen(function*() {
      const { provider } = Source.journal(Note)
      let offsets: Offset.Offsets = new Map()
      // as one of a plain producer, which has stored what it was told to
      const plain = Source.make({
        ...provider,
        key: "stream:plain",
        open: () => Effect.succeed({ journal: Source.timestamps, envelopes: Stream.never }),
        heads: () => Effect.succeed(offsets)
      }).pipe(Projection.exactlyOnce("plain", () => Effect.void))
      const at = (...times: ReadonlyArray<string>) =>
        Effect.gen(function*() {
          const store = yield* OffsetStore
          const key = Projection.offsetKey(plain)
          yield* ProjectionManagement.ProjectionManagement.use((_) => _.register(key))
          const { offsets: before, revision } = yield* store.load(key, SliceRange.full)
          offsets = new Map(
            times.map((time, slice) => [Slice.make(slice), Offset.make(0, Timestamp.fromMillis(Date.parse(time)))])
          )
          const moves = Array.from(offsets, ([slice, to]) => ({ slice, from: before.get(slice), to }))
          yield* store.transact(key, { journal: Source.timestamps, revision: revision! }, moves, Effect.void)
          const [[line] = []] = yield* told(Effect.scoped(Effect.andThen(
            Layer.build(Projection.layer(plain)),
            Wait.until(
              "the start",
              Effect.map(ProjectionStatus.status("plain"), (_) => _.every(({ state }) => state !== "Starting"))
            )
          )))
          return line!.split("of slices 0-1023, ")[1]
        })
      const [first, second] = ["2026-01-31T12:00:00.000Z", "2026-01-31T13:00:00.000Z"] as const
      assert.strictEqual(yield* at(first), `from its stored offsets, at ${first}`)
      assert.strictEqual(yield* at(second, first), `from its stored offsets, at ${first} to ${second}`)
    }).pipe(isolated))

  it.live("a projection says which slices it has, and that it is paused", () =>
    Effect.gen(function*() {
      const some = [SliceRange.make(512, 1023), SliceRange.make(0, 49), SliceRange.make(50, 99)].map((range) =>
        ProjectionWorker.make(notes, range)
      )
      const [[parts] = []] = yield* told(
        Effect.scoped(Effect.andThen(ProjectionWorker.start(...some), ProjectionStatus.caughtUp("p")))
      )
      assert.strictEqual(
        parts,
        "Runs projection 'p': journal of note, exactly once, 3 workers of slices 0-99, 512-1023, from the beginning"
      )
      yield* ProjectionManagement.pause("p")
      const isPaused = Effect.map(ProjectionStatus.status("p"), (_) => _.every(({ state }) => state === "Paused"))
      const [[paused] = []] = yield* told(
        Effect.scoped(Effect.andThen(Layer.build(Projection.layer(notes)), Wait.until("the pause", isPaused)))
      )
      assert.strictEqual(
        paused,
        "Runs projection 'p': journal of note, exactly once, 4 workers, all of them here, of slices 0-1023, paused"
      )
    }).pipe(isolated))
})

describe("metrics", () => {
  it.live("of a journal and of who follows it", () =>
    Effect.gen(function*() {
      yield* Journal.append(Note, { id: "a", events: ["1", "2"] })
      yield* Layer.build(Projection.layer(Projection.atLeastOnce("p", () => Effect.void)(Source.journal(Note))))
      yield* ProjectionStatus.caughtUp("p")
      yield* Journal.append(Note, { id: "a", events: ["3", "4", "5"] })
      yield* ProjectionStatus.caughtUp("p")
      const of = { entity_type: "note" }
      assert.strictEqual((yield* value(Metrics.journalAppended, of)).count, 5)
      assert.strictEqual((yield* value(Metrics.journalRead, of)).count, 2)
      assert.strictEqual((yield* value(Metrics.journalLive, of)).count, 3)
      assert.strictEqual((yield* value(Metrics.journalPages, of)).count, 1)
    }).pipe(isolated))

  it.live("of a projection", () =>
    Effect.gen(function*() {
      yield* Journal.append(Note, { id: "a", events: ["1", "2", "bad", "4"] })
      let restarts = 0
      const projection = Source.journal(Note).pipe(
        Source.mapEffect(({ event }) =>
          Effect.suspend(() => event === "4" && restarts++ === 0 ? Effect.fail("not now") : Effect.succeed(event))
        ),
        Projection.atLeastOnce(
          "p",
          Handler.grouped(
            { size: 2, within: 0 },
            (group) => group.some(({ event }) => event === "bad") ? Effect.fail("bad") : Effect.void
          ),
          { saveAfter: 1 }
        ),
        Projection.recovery(RecoveryStrategy.retryAndSkip({ retries: 1, delay: 0 }))
      )
      yield* Layer.build(Projection.layer(projection))
      yield* ProjectionStatus.caughtUp("p")
      assert.strictEqual(yield* ProjectionStatus.lag("p"), 0)
      const of = { projection: "p", source: "journal:note" }
      assert.strictEqual((yield* value(Metrics.projectionHandled, of)).count, 3)
      assert.strictEqual((yield* value(Metrics.projectionSkipped, of)).count, 1)
      assert.strictEqual((yield* value(Metrics.projectionRestarts, of)).count, 1)
      assert.strictEqual((yield* value(Metrics.projectionGroup, of)).max, 2)
      assert.isAbove((yield* value(Metrics.projectionCommit, of)).count, 1)
      assert.strictEqual((yield* value(Metrics.projectionLag, of)).value, 0)
      const delay = (yield* value(Metrics.projectionDelay, of)).value
      assert.isTrue(delay >= 0 && delay < 60)
    }).pipe(isolated))
})

describe("traces", () => {
  it.live("lead from who writes an event to who handles it", () =>
    traced((spans) =>
      Effect.gen(function*() {
        yield* Effect.withSpan(Journal.append(Note, { id: "a", events: ["1", "2"] }), "checkout")
        yield* Journal.append(Note, { id: "a", events: ["3"], metadata: { traceparent: "of another" } })
        yield* Layer.build(
          Projection.layer(
            Source.journal(Note).pipe(
              Projection.atLeastOnce("p", Handler.grouped({ size: 10, within: 0 }, () => Effect.void))
            )
          )
        )
        yield* ProjectionStatus.caughtUp("p")
        const append = spans.find(({ name }) => name === "sluice.append")!
        const handled = spans.filter(({ name }) => name === "sluice.projection")
        assert.strictEqual(append.parent._tag === "Some" && (append.parent.value as Tracer.Span).name, "checkout")
        assert.deepStrictEqual(
          handled.flatMap(({ links }) => links.map(({ span }) => [span.traceId, span.spanId])),
          [[append.traceId, append.spanId]]
        )
        assert.strictEqual(handled[0]!.attributes.get("projection"), "p")
      })
    ))

  it.live("are not made where nobody traces", () =>
    Effect.gen(function*() {
      yield* Journal.append(Note, { id: "a", events: ["1"] })
      const [event] = yield* Journal.Journal.use((journal) =>
        journal.entity(EntityType.persistenceId(Note, "a"), 1 as any, 1 as any, 1)
      )
      assert.deepStrictEqual(event!.metadata, {})
    }).pipe(isolated))
})
