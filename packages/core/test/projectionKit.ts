import { it } from "@effect/vitest"
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Journal from "@sluice/core/Journal"
import * as MemoryStorage from "@sluice/core/MemoryStorage"
import * as Offset from "@sluice/core/Offset"
import { OffsetStore } from "@sluice/core/OffsetStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import { StorageError } from "@sluice/core/StorageError"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"

export const Note = EntityType.make("note", { codec: EventCodec.string })

/** A worker that has nothing to do, but for what is changed. */
export const aStatus = (change: Partial<ProjectionStatus.WorkerStatus>): ProjectionStatus.WorkerStatus => ({
  projection: "p",
  source: "journal:note",
  range: SliceRange.make(0, 9),
  state: "Running",
  failure: undefined,
  notice: undefined,
  handled: 0,
  skipped: 0,
  restarts: 0,
  revision: 1,
  filterVersion: undefined,
  filterWait: undefined,
  parked: 0,
  pastLag: 0,
  waitsFrom: undefined,
  offsets: Offset.none,
  ...change
})

export const write = (id: string, ...events: readonly [string, ...ReadonlyArray<string>]) =>
  Journal.append(Note, { id, events })

/** A storage and a registry for each test; the workers' warnings are what the tests provoke. */
export const Test = Layer.mergeAll(
  Layer.fresh(MemoryStorage.layer),
  ProjectionRegistry.layer,
  Layer.succeed(References.MinimumLogLevel, "None")
)

export const test = (name: string, effect: Effect.Effect<void, unknown, Layer.Success<typeof Test> | Scope.Scope>) =>
  it.effect(name, () => Effect.provide(effect, Test))

/** Lets everything happen that can happen without time going on. */
export const settle = Effect.gen(function*() {
  for (let i = 0; i < 200; i++) yield* Effect.yieldNow
})

export const after = (millis: number) => Effect.andThen(TestClock.adjust(millis), settle)

export const start = <E, R>(projection: Projection.Projection<E, R>) =>
  Effect.andThen(Layer.build(Projection.layer(projection)), settle)

export const statusOf = (name: string) => Effect.map(ProjectionStatus.status(name), ([status]) => status!)

export const storedPositions = (name: string, source: Source.Source<any, any, any> = Source.journal(Note)) =>
  Effect.gen(function*() {
    const store = yield* OffsetStore
    const { offsets } = yield* store.load({ projection: name, source: source.provider.key }, SliceRange.full)
    return [...offsets.values()].map(({ position }) => position as number)
  })

/** Takes the chance out of the jitter. */
export const withRandom = (double: number) =>
  Effect.provideService(Random.Random, { nextDoubleUnsafe: () => double, nextIntUnsafe: () => 0 })

export const unavailable = new StorageError({ operation: "test", reason: "Unavailable", cause: new Error("gone") })

/** A source that is opened by the effect. */
export const sourceOf = <E, R>(feed: Effect.Effect<Source.Feed<E>, E, R>) =>
  Source.make<string, E, R>({
    key: "test",
    description: "a test",
    entityType: undefined,
    codec: EventCodec.string,
    open: () => feed,
    entity: () => Stream.empty,
    heads: () => Effect.succeed(new Map()),
    before: () => Effect.succeed(new Map()),
    now: Effect.succeed(Timestamp.make(0))
  })

/** The first words of what is warned of. */
export const warned = () => {
  const warnings: Array<string> = []
  const logger = Logger.make(({ message }) => {
    warnings.push(String(message).split(",")[0]!)
  })
  const provide = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, "Warn")
    )
  return { provide, warnings }
}
