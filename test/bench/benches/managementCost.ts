/**
 * What management costs a projection that catches up, exactly once in groups of 500 with a handler that only counts, with four workers in one process: a heartbeat every 2 seconds,
 * which asks the source where it is and stores how the workers are doing, and twice a second somebody who asks for the status of all processes, and for health.
 *
 * That is a few milliseconds a second, and two runs differ by ten times as much. So it is measured in three ways, in windows of two seconds that take turns in one process: as it is,
 * against none; ten times as often, against none, of which a tenth is taken; and, while nothing else is done, what each heartbeat and each question takes, which needs no comparison.
 * Processor time is that of this process and of the database server. A window without management has neither heartbeats nor questions; that a process looks for commands once a
 * second, which is a statement for all of its projections, and what can be restarted and resumed, are part of all.
 */
import * as Handler from "@sluice/core/Handler"
import * as HeartbeatStore from "@sluice/core/HeartbeatStore"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionHealth from "@sluice/core/ProjectionHealth"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as ProcessorTime from "../../kit/processorTime.ts"
import { socketBytes } from "../../kit/socketBytes.ts"
import { statements } from "../../kit/statements.ts"
import { type Bench, type Line, median } from "../Bench.ts"
import type { ItemAdded } from "../events.ts"
import { Cart, load } from "../load.ts"
import { adapters, storage } from "../Target.ts"

/** More than are handled in a window, and in the time before it. */
const events = 2_500_000

/** Of these a window begins once so many are handled. */
const partBefore = 0.1

/** How often a process gives a sign of life, and somebody asks, in a second. */
const beatsPerSecond = 0.5
const questionsPerSecond = 2

/** So many times as often, so that what it costs stands out from what runs differ by. */
const tenfold = 10

/** How often each is done while nothing else is. */
const times = 100

/** Positions are dense in each log. */
class Logs {
  readonly #last = new Float64Array(1024)
  handled = 0
  lost = 0
  doubled = 0
  see({ position, slice }: { readonly slice: number; readonly position?: number | undefined }): void {
    const next = this.#last[slice]! + 1
    this.handled++
    if (position! < next) this.doubled++
    else {
      this.lost += position! - next
      this.#last[slice] = position!
    }
  }
}

interface Window {
  readonly eventsPerSecond: number
  /** Milliseconds of processor time, of this process and of the server. */
  readonly own: number
  readonly server: number
  readonly handled: number
  readonly lost: number
  readonly doubled: number
}

let runs = 0

/** What it has handled so far, in how much time of whom. */
const state = (logs: Logs) => {
  const server = ProcessorTime.ofDescendants()
  return { at: performance.now(), own: ProcessorTime.ofThis(), handled: logs.handled, server }
}

/** Ends so many seconds after it has begun, or once all is handled. */
const begin = (total: number, seconds: number, logs: Logs) => {
  const ended = Deferred.makeUnsafe<void>()
  let from: ReturnType<typeof state> | undefined
  const handle = Handler.grouped(
    { size: 500, within: "50 millis" },
    (
      envelopes: ReadonlyArray<
        { readonly event: ItemAdded; readonly slice: number; readonly position?: number | undefined }
      >
    ) =>
      Effect.sync(() => {
        for (const envelope of envelopes) logs.see(envelope)
        if (from === undefined && logs.handled >= total * partBefore) {
          from = state(logs)
          setTimeout(() => Deferred.doneUnsafe(ended, Effect.void), seconds * 1000)
        }
        if (logs.handled >= total) Deferred.doneUnsafe(ended, Effect.void)
      })
  )
  const measured = Effect.map(Deferred.await(ended), (): Window => {
    const [at, own] = [performance.now(), ProcessorTime.ofThis()]
    const passed = at - from!.at
    const handled = logs.handled - from!.handled
    return {
      eventsPerSecond: handled / passed * 1000,
      own: own - from!.own,
      server: ProcessorTime.ofDescendants() - from!.server,
      handled,
      lost: logs.lost,
      doubled: logs.doubled
    }
  })
  return { handle, measured }
}

const questions = (name: string) => Effect.all([ProjectionStatus.everywhere(name), ProjectionHealth.all()])

/** Another one each time, which is gone at the end: who asks for health is told of all. */
const projectionOf = (handle: ReturnType<typeof begin>["handle"]) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      Source.journal(Cart).pipe(Projection.exactlyOnce(`managed-${++runs}`, handle), Projection.workers(4))
    ),
    (projection) => Effect.orDie(ProjectionManagement.clear(projection))
  )

/** So many times as often as it is by default, or not at all. */
const paced = (pace: number) =>
  Effect.provideService(
    HeartbeatStore.Heartbeat,
    HeartbeatStore.heartbeat({ interval: pace === 0 ? Infinity : 1000 / beatsPerSecond / pace })
  )

const look = (total: number, seconds: number, pace: number) =>
  Effect.gen(function*() {
    const { handle, measured } = begin(total, seconds, new Logs())
    const projection = yield* projectionOf(handle)
    yield* Layer.build(Projection.layer(projection))
    if (pace > 0) {
      yield* questions(projection.name).pipe(
        Effect.repeat(Schedule.fixed(1000 / questionsPerSecond / pace)),
        Effect.forkScoped
      )
    }
    return yield* measured
  }).pipe(Effect.scoped, paced(pace))

interface Cost {
  readonly statements: number
  readonly bytes: number
  readonly own: number
  readonly server: number
}

const counts = () => ({
  server: ProcessorTime.ofDescendants(),
  own: ProcessorTime.ofThis(),
  statements: statements(),
  bytes: socketBytes()
})

const costOf = <E, R>(effect: Effect.Effect<unknown, E, R>): Effect.Effect<Cost, E, R> =>
  Effect.gen(function*() {
    const before = counts()
    for (let i = 0; i < times; i++) yield* effect
    const own = ProcessorTime.ofThis()
    const after = counts()
    return {
      statements: (after.statements - before.statements) / times,
      bytes: (after.bytes - before.bytes) / times,
      own: (own - before.own) / times,
      server: (after.server - before.server) / times
    }
  })

/** What a heartbeat and a question cost while nothing else is done, of a projection that has handled all. */
const costs = (total: number) =>
  Effect.gen(function*() {
    const store = yield* HeartbeatStore.HeartbeatStore
    const logs = new Logs()
    const { handle } = begin(total, 1, logs)
    const projection = yield* projectionOf(handle)
    const beats: Array<HeartbeatStore.Beat> = []
    yield* Effect.provideService(Layer.build(Projection.layer(projection)), HeartbeatStore.HeartbeatStore, {
      ...store,
      beat: (beat) => Effect.andThen(Effect.sync(() => void beats.push(beat)), store.beat(beat))
    })
    yield* ProjectionStatus.caughtUp(projection)
    yield* Effect.repeat(Effect.sleep(100), { until: () => beats.length > 0 })
    const registry = yield* ProjectionRegistry.ProjectionRegistry
    const [worker] = registry.workers(projection.name)
    // the first one tells of all workers
    const beat = Effect.andThen(worker!.headsIn(SliceRange.full), store.beat(beats[0]!))
    const question = questions(projection.name)
    yield* Effect.all([beat, question])
    return { beat: yield* costOf(beat), question: yield* costOf(question), lost: total - logs.handled + logs.doubled }
  }).pipe(
    Effect.scoped,
    Effect.provideService(HeartbeatStore.Heartbeat, HeartbeatStore.heartbeat({ interval: "1 hour" }))
  )

const timeOf = ({ handled, own, server }: Window): number => (own + server) / handled

/** What the values are half of the time more than, and between what that is with a confidence of some 95 %: of 8 values 93 %, of 9 96 %. */
const estimate = (values: ReadonlyArray<number>) => {
  const sorted = values.toSorted((a, b) => a - b)
  const n = sorted.length
  const first = Math.max(0, Math.floor((n - 1.96 * Math.sqrt(n)) / 2))
  return { median: round(median(sorted)), between: [sorted[first]!, sorted[n - 1 - first]!].map(round) }
}

const round = (value: number): number => Number(value.toPrecision(3))

export const managementCost: Bench = {
  name: "management-cost",
  adapters,
  run: (setting) =>
    Effect.gen(function*() {
      statements()
      socketBytes()
      const { adapter, size: { runs, scale, seconds } } = setting
      const target = yield* setting.place
      return [
        yield* Effect.gen(function*() {
          const total = Math.ceil(events * Math.min(scale, 0.1) / 500) * 500
          yield* load(total)
          const paces = [0, 1, tenfold]
          const found = new Map(paces.map((pace) => [pace, [] as Array<Window>]))
          for (let round = runs > 1 ? -1 : 0; round < runs; round++) {
            for (let i = 0; i < paces.length; i++) {
              const pace = paces[(i + Math.max(0, round)) % paces.length]!
              const window = yield* look(total, Math.min(2, 5 * seconds), pace)
              if (round >= 0) found.get(pace)!.push(window)
            }
          }
          const { beat, lost, question } = yield* costs(total)
          const [none, usual, often] = paces.map((pace) => found.get(pace)!)
          /** The part of its time that a window is busy with management, in percent. */
          const percents = (windows: ReadonlyArray<Window>) =>
            estimate(windows.map((window, i) => 100 * (1 - timeOf(none![i]!) / timeOf(window))))
          const percentOfOften = percents(often!)
          const percentOfUsual = percents(usual!)
          const throughput = estimate(
            usual!.map(({ eventsPerSecond }, i) => eventsPerSecond / none![i]!.eventsPerSecond)
          )
          const perSecond = (of: (cost: Cost) => number) =>
            beatsPerSecond * of(beat) + questionsPerSecond * of(question)
          const all = [none!, usual!, often!].flat()
          return {
            bench: "management-cost",
            adapter,
            value: round(percentOfOften.median / tenfold),
            unit: "% of the processor time",
            better: "lower",
            baseline: null,
            ratio: null,
            lost: lost + all.reduce((sum, window) => sum + window.lost, 0),
            doubled: all.reduce((sum, window) => sum + window.doubled, 0),
            runs,
            between: percentOfOften.between.map((percent) => round(percent / tenfold)),
            directly: percentOfUsual.median,
            directlyBetween: percentOfUsual.between,
            throughput: throughput.median,
            throughputBetween: throughput.between,
            eventsPerSecond: round(median(none!.map(({ eventsPerSecond }) => eventsPerSecond))),
            microsPerEvent: round(1000 * median(none!.map(({ handled, own }) => own / handled))),
            microsOfServerPerEvent: round(1000 * median(none!.map(({ handled, server }) => server / handled))),
            statementsPerSecond: round(perSecond(({ statements }) => statements)),
            bytesPerSecond: Math.round(perSecond(({ bytes }) => bytes)),
            percentOfACore: round(perSecond(({ own }) => own) / 10),
            percentOfACoreOfServer: round(perSecond(({ server }) => server) / 10),
            millisPerAsking: round(question.own),
            millisPerBeat: round(beat.own)
          } satisfies Line
        }).pipe(Effect.provide(storage(target)))
      ]
    })
}
