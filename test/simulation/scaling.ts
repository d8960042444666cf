/**
 * What the simulator runs: processes that share a projection of several sources, whose workers are scaled and move between them, and what goes wrong
 * meanwhile.
 */
import * as EntityType from "@sluice/core/EntityType"
import type * as Envelope from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as HeartbeatStore from "@sluice/core/HeartbeatStore"
import * as Journal from "@sluice/core/Journal"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import type * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import type * as Receipt from "@sluice/core/Receipt"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as Auditor from "@sluice/testing/Auditor"
import * as FaultPlan from "@sluice/testing/FaultPlan"
import * as SimulatedDatabase from "@sluice/testing/SimulatedDatabase"
import * as Simulation from "@sluice/testing/Simulation"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { allTaken, noLetters, once } from "./endings.ts"
import { launch, makeLeases } from "./placement.ts"
import { changeState, Note, Profile } from "./sources.ts"
import { upTo } from "./upTo.ts"

const Task = EntityType.make("task", { codec: EventCodec.string })

const workerCount = Schema.Literals([1, 2, 3, 4, 7, 16, "asInCode"])

/** Some are written to more often than others. */
const entity = Schema.Literals([0, 0, 0, 1, 1, 2, 3, 4, 5])

const Append = Schema.TaggedStruct("Append", {
  after: upTo(300),
  source: upTo(2),
  entity,
  events: upTo(2),
  kind: Schema.Literals(["", "", "poison"]),
  /** For how long it is waited until the projection has reached them, in milliseconds: not at all if it is 0. */
  awaits: Schema.Literals([0, 0, 0, 3000])
})

/** In quick succession, or not. */
const Scale = Schema.TaggedStruct("Scale", { after: Schema.Literals([0, 20, 150, 800]), to: workerCount })

/** What a person does, so many milliseconds after what was done before. */
const Step = Schema.Union([
  Append,
  Append,
  Append,
  Append,
  Scale,
  Scale,
  Scale,
  /** Each worker goes to another process. */
  Schema.TaggedStruct("Move", { after: upTo(800) }),
  Schema.TaggedStruct("Pause", { after: upTo(400), lasts: upTo(1500) }),
  Schema.TaggedStruct("Rewind", { after: upTo(400), source: upTo(2), ago: Schema.Literals(["all", 0, 200, 1000]) }),
  Schema.TaggedStruct("Clear", { after: upTo(400), source: upTo(2) }),
  /** Nobody reaches a source for so many milliseconds from then on. */
  Schema.TaggedStruct("Away", { after: upTo(400), source: upTo(2), lasts: upTo(8000) }),
  /** What was poison is not any more. */
  Schema.TaggedStruct("Repair", { after: upTo(800) }),
  /** Has the handler handle what was put aside, by two at once. */
  Schema.TaggedStruct("Redeliver", { after: upTo(800) }),
  /** Throws away what was put aside of an entity. */
  Schema.TaggedStruct("Discard", { after: upTo(800), source: upTo(2), entity })
])

export type Step = typeof Step.Type

export interface Scaling {
  readonly faults: FaultPlan.FaultPlan
  readonly people: ReadonlyArray<ReadonlyArray<Step>>
  /** How many processes run the projection, and with how many workers in all as its code says. */
  readonly services: number
  readonly workers: number
  /** Whether a worker ends before another process gets it, unless its own is not heard of. */
  readonly isStrict: boolean
  /** How many sources there are. */
  readonly sources: number
  readonly delivery: "ExactlyOnce" | "AtLeastOnce" | "Flow" | "AtMostOnce"
  readonly recovery: "stop" | "skip" | "putAside"
  /** How many events the handler is given at a time. */
  readonly group: number
  /** How many it has at a time, at least once. */
  readonly parallelism: number
  /** How long it takes at most, in milliseconds. */
  readonly slowness: number
  readonly isLossy: boolean
  readonly latency: number
}

export const scalings: Arbitrary.Arbitrary<Scaling> = Arbitrary.map(
  Arbitrary.all({
    faults: Arbitrary.array(Arbitrary.schema(FaultPlan.Fault), { maxLength: 5 }),
    people: Arbitrary.array(Arbitrary.array(Arbitrary.schema(Step), { maxLength: 16 }), { minLength: 1, maxLength: 2 }),
    services: Arbitrary.schema(Schema.Literals([1, 2, 3])),
    workers: Arbitrary.schema(Schema.Literals([1, 2, 4])),
    isStrict: Arbitrary.schema(Schema.Literals([true, true, false])),
    sources: Arbitrary.schema(Schema.Literals([1, 2, 3])),
    delivery: Arbitrary.schema(Schema.Literals(["ExactlyOnce", "ExactlyOnce", "AtLeastOnce", "Flow", "AtMostOnce"])),
    recovery: Arbitrary.schema(Schema.Literals(["stop", "skip", "putAside", "putAside"])),
    group: Arbitrary.schema(Schema.Literals([1, 1, 4])),
    parallelism: Arbitrary.schema(Schema.Literals([1, 4])),
    slowness: Arbitrary.schema(Schema.Literals([0, 20, 20, 200])),
    isLossy: Arbitrary.schema(Schema.Boolean),
    latency: Arbitrary.schema(Schema.Literals([0, 2, 30]))
  }),
  // who is late is so by the clock of the database
  (scaling): Scaling => ({ ...scaling, faults: scaling.faults.filter(({ _tag }) => _tag !== "DatabaseClock") })
)

const projection = "everything"

const recoveries = {
  stop: RecoveryStrategy.retryAndFail({ retries: 5, delay: "1 second" }),
  skip: RecoveryStrategy.retryAndSkip({ retries: 1, delay: "100 millis" }),
  putAside: RecoveryStrategy.retryAndDeadLetter({ retries: 1, delay: "100 millis" })
}

/** The entities of each source: some are in one slice, and some in the same slice of several sources. */
const entities = [
  { type: Note.name, ids: ["ant", "nha", "bee", "cow", "dog", "fox"] },
  { type: Task.name, ids: ["bay", "rai", "cok", "jua", "dog", "fox"] },
  { type: Profile.name, ids: ["iac", "kee", "eap", "cow", "dog", "fox"] }
] as const

const idOf = (source: number, entity: number): string => {
  const { ids } = entities[source]!
  return ids[entity % ids.length]!
}

/** How often processes say how they are doing, in milliseconds. */
const interval = 1000

/** How long it may take after the last fault until all is handled. */
const patience = "3 minutes"
const promptness = 10_000

/** A source that fails while it is away. */
const whileThere = (
  source: Source.Source<string, any, any>,
  isAway: Effect.Effect<boolean>
): Source.Source<string, any, any> => {
  const { provider } = source
  const away = Effect.flatMap(isAway, (isAway) => isAway ? Effect.fail(new Error("The source is away")) : Effect.void)
  const made = Source.make({
    ...provider,
    open: (range, start) =>
      Effect.andThen(
        away,
        Effect.map(provider.open(range, start), (feed) => ({
          ...feed,
          envelopes: Stream.tap(feed.envelopes, () => away)
        }))
      ),
    heads: (range) => Effect.andThen(away, provider.heads(range))
  })
  return Object.assign(made, { stages: source.stages })
}

export const run = (scaling: Scaling): Effect.Effect<void, unknown, Simulation.Simulation> =>
  Effect.gen(function*() {
    const { delivery, faults, group, isLossy, isStrict, latency, people, recovery, services, slowness } = scaling
    const database = yield* SimulatedDatabase.make("database", { lossy: isLossy, latency })
    const auditor = yield* Auditor.make({ journal: database })
    const table = SimulatedDatabase.table<string>(database)
    const leases = yield* makeLeases(isStrict)
    const { elapsed } = yield* Simulation.Simulation
    /** Until when each source is away, in milliseconds. */
    const awayUntil = new Map<number, number>()
    /** How often each event was handled, since it was counted from. */
    const times = new Map<string, number>()
    let handled = 0
    let isRepaired = recovery === "stop"
    const isPoison = (event: string) => !isRepaired && event.includes("poison")

    const write = ({ event, persistenceId, sequenceNumber }: Envelope.Envelope<string>) =>
      Effect.gen(function*() {
        if (isPoison(event)) return yield* Effect.fail("poison")
        handled++
        if (slowness > 0) yield* Effect.sleep(handled * 7 % slowness)
        const key = `${persistenceId} ${sequenceNumber}`
        if (delivery === "ExactlyOnce") yield* table.set(key, "handled")
        times.set(key, (times.get(key) ?? 0) + 1)
      })
    const handler = group === 1 ? write : Handler.grouped(
      { size: group, within: 50 },
      (envelopes: ReadonlyArray<Envelope.Envelope<string>>) => Effect.forEach(envelopes, write, { discard: true })
    )
    const saves = { saveAfter: 3, saveWithin: "200 millis" } as const
    const deliver = {
      ExactlyOnce: Projection.exactlyOnce(projection, handler),
      AtLeastOnce: Handler.isGrouped(handler)
        ? Projection.atLeastOnce(projection, handler, saves)
        : Projection.atLeastOnce(projection, handler, { ...saves, parallelism: scaling.parallelism }),
      Flow: Projection.flow(
        projection,
        (envelopes: Stream.Stream<Envelope.Envelope<string>>) =>
          Stream.mapEffect(envelopes, (envelope) => Effect.as(write(envelope), envelope), {
            concurrency: scaling.parallelism,
            unordered: true
          }),
        saves
      ),
      AtMostOnce: Projection.atMostOnce(projection, handler)
    }[delivery]
    const all = [
      Source.make({ ...Source.journal(Note).provider, onReplaced: "rewind" }),
      Source.make({ ...Source.journal(Task).provider, onReplaced: "rewind" }),
      Source.durableState(Profile).pipe(Source.map(({ event }) => String(event)))
    ]
      .slice(0, scaling.sources)
      .map((source, i) =>
        whileThere(
          source as Source.Source<string, any, any>,
          Effect.map(elapsed, (now) => now < (awayUntil.get(i) ?? 0))
        )
      )
      // what fails in a flow fails as a whole
      .map((source) => delivery === "Flow" ? Source.tap(checkPoison)(source) : source)
    function checkPoison({ event }: Envelope.Envelope<string>) {
      return Effect.suspend(() => isPoison(event) ? Effect.fail("poison") : Effect.void)
    }
    const Everything: Projection.Projection<unknown, SimulatedDatabase.Storage> = auditor.projection(
      Source.mergeAll(all).pipe(
        deliver as (sources: Source.Sources<string, any, any>) => Projection.Projection<any, any>,
        Projection.workers(scaling.workers),
        Projection.recovery(recoveries[recovery])
      )
    )
    const keys = Projection.offsetKeys(Everything)
    const keyOf = (source: number) => keys[source % keys.length]!

    const handleLetters = Effect.ignore(Projection.handleDeadLetters(Everything))
    const append = (
      source: number,
      entity: number,
      events: ReadonlyArray<string>
    ): Effect.Effect<Receipt.Receipt | undefined, unknown, SimulatedDatabase.Storage> => {
      const i = source % scaling.sources
      const id = idOf(i, entity)
      return i === 2
        ? Effect.as(Effect.forEach(events, (state) => changeState(id, state)), undefined)
        : Journal.append(i === 0 ? Note : Task, { id, events: events as [string, ...Array<string>] })
    }
    const take = (step: Step, text: string): Effect.Effect<unknown, unknown, SimulatedDatabase.Storage> => {
      switch (step._tag) {
        case "Append": {
          const events = Array.from({ length: step.events + 1 }, (_, i) => `${text}-${i}${step.kind}`)
          return Effect.flatMap(append(step.source, step.entity, events), (receipt) =>
            step.awaits === 0 || receipt === undefined
              ? Effect.void
              : auditor.reached(projection, receipt, { timeout: step.awaits }))
        }
        case "Scale":
          return ProjectionManagement.scale(projection, step.to)
        case "Move":
          return leases.move
        case "Pause":
          return Effect.gen(function*() {
            yield* ProjectionManagement.pause(projection)
            yield* Effect.sleep(step.lasts)
            yield* ProjectionManagement.resume(projection)
          })
        case "Rewind":
          return Effect.flatMap(
            Journal.Journal.use(({ now }) =>
              now
            ),
            (now) =>
              ProjectionManagement.rewind(
                keyOf(step.source),
                step.ago === "all" ? "beginning" : { since: Timestamp.make(now - step.ago * 1000) }
              )
          )
        case "Clear":
          return ProjectionManagement.clear(keyOf(step.source))
        case "Away":
          return Effect.flatMap(elapsed, (now) =>
            Effect.sync(() =>
              void awayUntil.set(step.source % scaling.sources, now + step.lasts)
            ))
        case "Repair":
          return Effect.sync(() => isRepaired = true)
        case "Redeliver":
          return Effect.all([handleLetters, handleLetters], { concurrency: "unbounded", discard: true })
        case "Discard": {
          const i = step.source % scaling.sources
          const persistenceId = PersistenceId.make(entities[i]!.type, idOf(i, step.entity))
          return ProjectionManagement.discardLetters(keyOf(step.source), { persistenceId })
        }
      }
    }
    const left = people.map((steps) => [...steps])
    const taking = (i: number) =>
      Effect.gen(function*() {
        for (let step = left[i]!.shift(); step !== undefined; step = left[i]!.shift()) {
          yield* Effect.sleep(step.after)
          yield* Effect.ignore(take(step, `${i}-${left[i]!.length}`))
        }
      })

    /** What runs in each process, since it was started last. */
    const registries: Array<ProjectionRegistry.ProjectionRegistry> = []
    const service = (i: number) =>
      Effect.gen(function*() {
        registries[i] = yield* ProjectionRegistry.ProjectionRegistry
        return yield* launch(leases, i, Everything)
      }).pipe(
        Effect.provideService(HeartbeatStore.Heartbeat, HeartbeatStore.heartbeat({ name: `service-${i}`, interval })),
        Effect.provide(database.layer)
      )
    const processes: Array<Simulation.Process> = []
    for (let i = 0; i < services; i++) processes.push(yield* Simulation.process(`service-${i}`, service(i)))
    for (const i of people.keys()) {
      processes.push(yield* Simulation.process(`person-${i}`, Effect.provide(taking(i), database.layer)))
    }
    const everywhere = Effect.catchTag(
      database.inspect(auditor.everywhere(projection)),
      "UnknownProjection",
      () => Effect.succeed<ReadonlyArray<ProjectionStatus.ReportedWorker>>([])
    )
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(700), everywhere)))

    yield* FaultPlan.run(faults, { processes, databases: [database] })
    yield* Simulation.note("no more faults")
    yield* allTaken("people go on", left, patience)
    yield* Simulation.note("all is written")
    // a step may have been begun
    yield* Effect.sleep("5 seconds")
    yield* Effect.ignore(database.inspect(ProjectionManagement.resume(projection)))
    yield* auditor.settled({ within: patience })
    yield* Simulation.note("what was put aside is handled")
    isRepaired = true
    yield* once(database, "redelivery", Effect.all([handleLetters, handleLetters], { concurrency: "unbounded" }))
    for (const key of keys) yield* noLetters(database, key)
    yield* auditor.settled({ within: patience })

    /** The workers of all processes, and what they say of themselves, are those that were commanded. */
    const asCommanded = Effect.fnUntraced(function*(workers: number) {
      const wanted = SliceRange.split(workers).map(SliceRange.format).join()
      for (const { source } of keys) {
        const running = registries.flatMap((registry) => registry.workers(projection, source))
        const there = running.toSorted((a, b) => a.range.min - b.range.min)
        const ranges = there.map(({ range }) => SliceRange.format(range)).join()
        if (ranges !== wanted) return `${workers} workers are to read '${source}', and there are ${ranges}`
        const said = (yield* everywhere).filter((worker) => worker.source === source)
        const states = said.map(({ lag, owner, range, state }) =>
          `${SliceRange.format(range)} ${state} ${lag} by ${owner.name}`
        )
        const expected = there.map((worker) => {
          const i = registries.findIndex((registry) => registry.workers(projection, source).includes(worker))
          return `${SliceRange.format(worker.range)} Running 0 by service-${i}`
        })
        if (
          states.join() !== expected.join()
        ) return `Of '${source}' it is said: ${states.join()}; and not ${expected.join()}`
      }
      return undefined
    })
    const comesTrue = (workers: number) =>
      Effect.gen(function*() {
        for (let tries = 0; tries < 100; tries++) {
          if ((yield* asCommanded(workers)) === undefined) return
          yield* Effect.sleep("200 millis")
        }
        return yield* Simulation.violate("workers are as commanded, and say so", (yield* asCommanded(workers)) ?? "now")
      })
    const scaledTo = Effect.map(
      database.inspect(Effect.orDie(ProjectionManagement.ProjectionManagement.use((_) => _.command(projection)))),
      ({ workers }) => workers ?? scaling.workers
    )
    yield* comesTrue(yield* scaledTo)

    yield* Simulation.note("what is done without faults repeats nothing")
    times.clear()
    const writing = Effect.forEach(
      Array.from({ length: 12 }, (_, i) => i),
      (i) => Effect.andThen(append(i % 3, i, [`quiet-${i}-a`, `quiet-${i}-b`]), Effect.sleep("100 millis")),
      { discard: true }
    )
    // processes do not learn of a command at the same moment
    const changing = Effect.gen(function*() {
      for (const to of [3, 16, 2] as const) {
        yield* Effect.sleep("300 millis")
        yield* services === 1 ? ProjectionManagement.scale(projection, to) : leases.move
      }
    })
    yield* once(database, "last person", Effect.all([writing, changing], { concurrency: "unbounded" }))
    yield* auditor.settled({ within: promptness })
    const twice = [...times].filter(([, times]) => times > 1).map(([event]) => event)
    if (twice.length > 0 && (services === 1 || isStrict)) {
      return yield* Simulation.violate("nothing comes again as workers change", twice.join(", "))
    }
    yield* comesTrue(yield* scaledTo)
    yield* Effect.forEach(processes, ({ stop }) => stop, { discard: true })
    // what has died before is unknown until others have its slices
    const after = (yield* everywhere).filter(({ state }) => state !== "Unknown")
    if (after.length > 0) {
      return yield* Simulation.violate("who has ended in order is not there", JSON.stringify(after))
    }
  }).pipe(Effect.scoped)
