/** What the simulator runs: a producer and consumers in processes of their own, each side with its database, and what becomes of the network meanwhile. */
import * as ConsumerFilter from "@sluice/core/ConsumerFilter"
import * as EntityType from "@sluice/core/EntityType"
import type * as Envelope from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as EventFilter from "@sluice/core/EventFilter"
import * as EventStream from "@sluice/core/EventStream"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as Offset from "@sluice/core/Offset"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import type * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as Timestamp from "@sluice/core/Timestamp"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as EventProducer from "@sluice/grpc/EventProducer"
import * as GrpcServer from "@sluice/grpc/GrpcServer"
import * as Auditor from "@sluice/testing/Auditor"
import * as FaultPlan from "@sluice/testing/FaultPlan"
import * as SimulatedDatabase from "@sluice/testing/SimulatedDatabase"
import * as SimulatedNetwork from "@sluice/testing/SimulatedNetwork"
import * as Simulation from "@sluice/testing/Simulation"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { upTo } from "./upTo.ts"

const Cart = EntityType.make("cart", { codec: EventCodec.string })
const Carts = EventStream.make("carts", { codec: EventCodec.string })

/** The first three are in one slice, and so are the next two. */
const everyEntity = ["c0aa", "c1cb", "c2ec", "c3pu", "c4rv", "c5", "c6a"]
const idOf = (entity: number): string => everyEntity[entity]!

/** What goes wrong between the producer and a consumer, so many milliseconds after the fault before, and for how many. */
const Fault = Schema.Struct({
  kind: Schema.Literals([
    "Cut",
    "CutToConsumer",
    "CutToProducer",
    "Slow",
    "SlowToConsumer",
    "SlowToProducer",
    "Sever",
    "SeverUnnoticedByProducer",
    "SeverUnnoticedByConsumer",
    "HalfOpen",
    "SendsTwice",
    "CutsAfterHeaders",
    "EndsRequests"
  ]),
  after: upTo(2000),
  lasts: upTo(45_000),
  consumer: upTo(1)
})

export type Fault = typeof Fault.Type

const Append = Schema.Struct({
  after: upTo(2000),
  entity: upTo(6),
  events: upTo(4),
  tag: Schema.Literals(["large", "small"])
})

/** What the consumers ask for, from so many milliseconds after the change before: they are then restarted. */
const Filter = Schema.Struct({
  after: upTo(6000),
  excludes: Schema.Literals(["nothing", "all", "all", "small", "some", "matching"]),
  includes: Schema.Literals(["nothing", "large", "matching"]),
  entities: Schema.Array(upTo(6)).check(Schema.isMaxLength(3))
})

/** What the producer lets be seen, from so many milliseconds after the change before: whole entities, while calls run. */
const Visible = Schema.Struct({
  after: upTo(6000),
  hides: Schema.Array(upTo(6)).check(Schema.isMaxLength(5))
})

const visibleOf = ({ hides }: typeof Visible.Type): EventFilter.EventFilter =>
  EventFilter.passAll.pipe(EventFilter.excludeEntityIds(...hides.map(idOf)))

/** To a place after so many percent of what there is then, by time, or after another part of each slice. */
const Rewind = Schema.TaggedStruct("Rewind", {
  consumer: upTo(1),
  after: upTo(6000),
  to: Schema.Literals(["beginning", "since", "offsets", "offsets"]),
  part: upTo(100),
  /** By the projection's name, so that what its handler has written stays. */
  isByName: Schema.Boolean
})

type Rewind = typeof Rewind.Type

/** What somebody does to the projection at runtime, in one of the processes that run it, so many milliseconds after the step before there. */
const Step = Schema.Union([
  Schema.TaggedStruct("Update", {
    consumer: upTo(1),
    filter: Filter,
    history: Schema.Literals(["nextEvent", "now", "none"])
  }),
  Schema.TaggedStruct("RollBack", {
    consumer: upTo(1),
    after: upTo(3000),
    back: upTo(3),
    history: Schema.Literals(["nextEvent", "now", "none"])
  }),
  Schema.TaggedStruct("Pause", { consumer: upTo(1), after: upTo(3000), lasts: upTo(3000) }),
  Rewind
])

type Step = typeof Step.Type

/** What happens to all consumers while it is looked through what filters have left out: not for long, as that does not take long. */
const Ending = Schema.Struct({
  _tag: Schema.Literals(["Kill", "Kill", "Freeze", "Disconnect"]),
  at: Schema.Literals([20, 60, 120, 200, 300, 500, 800, 1500, 3000]),
  lasts: upTo(1500)
})

const filterOf = ({ entities, excludes, includes }: typeof Filter.Type): EventFilter.EventFilter => {
  const excluding = {
    nothing: EventFilter.passAll,
    all: EventFilter.excludeAll,
    small: EventFilter.passAll.pipe(EventFilter.excludeTags("small")),
    some: EventFilter.passAll.pipe(EventFilter.excludeEntityIds(...[0, 2, 3].map(idOf))),
    matching: EventFilter.passAll.pipe(EventFilter.excludeMatching("c[1-4].*"))
  }[excludes]
  const including = {
    nothing: excluding,
    large: excluding.pipe(EventFilter.includeTags("large")),
    matching: excluding.pipe(EventFilter.includeMatching("c[45].*"))
  }[includes]
  return including.pipe(
    EventFilter.includeEntityIds(...entities.map(idOf))
  )
}

export interface Workload {
  readonly appends: ReadonlyArray<typeof Append.Type>
  readonly network: ReadonlyArray<Fault>
  /** What the consumers filter, one after the other: everything passes before the first. */
  readonly filters: ReadonlyArray<typeof Filter.Type>
  /** What is done at runtime. The filters that consumers begin with do not change then. */
  readonly steps: ReadonlyArray<Step>
  /** What the producer lets be seen, one after the other: everything before the first. Undefined if it has no selection. */
  readonly visible: ReadonlyArray<typeof Visible.Type> | undefined
  /** What happens to the processes, and to the databases. */
  readonly others: FaultPlan.FaultPlan
  /** What happens to all consumers when in the end everything is included at once. */
  readonly ending: ReadonlyArray<typeof Ending.Type>
  /** Whether the database of the consumers notifies nobody, and how long messages to it take at most, in milliseconds, when nothing goes wrong. */
  readonly isMute: boolean
  readonly latency: number
  /** How many times as fast as they say steps and appends follow each other. */
  readonly pace: number
  /** How many processes run the projection, and with how many workers each. */
  readonly consumers: number
  readonly workers: number
  readonly delivery: "ExactlyOnce" | "AtLeastOnce"
  /** How many events a handler is given at once. */
  readonly group: number
  /** How long the handler takes, in milliseconds. */
  readonly slowness: number
  /** How large an event is, in bytes. */
  readonly bytes: number
}

const common = {
  appends: Arbitrary.array(Arbitrary.schema(Append), { minLength: 1, maxLength: 20 }),
  network: Arbitrary.array(Arbitrary.schema(Fault), { maxLength: 5 }),
  filters: Arbitrary.array(Arbitrary.schema(Filter), { maxLength: 3 }),
  visible: Arbitrary.schema(Schema.UndefinedOr(Schema.Array(Visible).check(Schema.isMaxLength(4)))),
  others: Arbitrary.array(Arbitrary.schema(FaultPlan.Fault), { maxLength: 3 }),
  consumers: Arbitrary.schema(Schema.Literals([1, 1, 2])),
  workers: Arbitrary.schema(Schema.Literals([1, 2, 3])),
  delivery: Arbitrary.schema(Schema.Literals(["ExactlyOnce", "AtLeastOnce"])),
  slowness: Arbitrary.schema(Schema.Literals([0, 0, 20, 300])),
  bytes: Arbitrary.schema(Schema.Literals([1, 100, 3000]))
}

/** Consumers are restarted with other filters. */
export const workloads: Arbitrary.Arbitrary<Workload> = Arbitrary.map(
  Arbitrary.all(common),
  (workload): Workload => ({ ...workload, steps: [], group: 1, ending: [], isMute: false, latency: 0, pace: 1 })
)

/** The filter of the stream is changed while consumers run. */
export const changing: Arbitrary.Arbitrary<Workload> = Arbitrary.map(
  Arbitrary.all({
    ...common,
    others: Arbitrary.array(Arbitrary.schema(FaultPlan.Fault), { maxLength: 5 }),
    consumers: Arbitrary.schema(Schema.Literals([1, 2, 2])),
    steps: Arbitrary.array(Arbitrary.schema(Schema.Union([Step.members[0], Step.members[0], Rewind, Step])), {
      minLength: 1,
      maxLength: 8
    }),
    group: Arbitrary.schema(Schema.Literals([1, 1, 4])),
    ending: Arbitrary.array(Arbitrary.schema(Ending), { minLength: 1, maxLength: 3 }),
    isMute: Arbitrary.schema(Schema.Boolean),
    latency: Arbitrary.schema(Schema.Literals([0, 0, 30, 200])),
    pace: Arbitrary.schema(Schema.Literals([1, 1, 10])),
    isHidden: Arbitrary.schema(Schema.Literals([true, false, false])),
    forgets: Arbitrary.schema(Schema.Literals([true, false, false]))
  }),
  ({ forgets, isHidden, ...workload }): Workload => ({
    ...workload,
    filters: [],
    // what is left behind cannot be said of the other histories
    steps: workload.steps.map((step) =>
      "history" in step && step.history === "none" && !forgets ? { ...step, history: "now" } : step
    ),
    network: workload.network.slice(0, 2),
    visible: isHidden ? workload.visible : undefined
  })
)

/** How much was shown so far, at the end of the text of an event. */
const versionText = (version: number): string => `#${version}`
const versionOf = (event: string): number => Number(event.slice(event.lastIndexOf("#") + 1))

const projection = "carts"

/** How long it may take after the last fault until all is handled: an answer is waited for for a minute, and backoff is up to 36 seconds. */
const patience = "5 minutes"

const slowly = { min: "100 millis", max: "5 seconds" } as const

const suffer = ({ consumer, kind }: Fault, consumers: number) => {
  const name = `consumer-${consumer % consumers}`
  switch (kind) {
    case "Cut":
      return SimulatedNetwork.cut("producer", name)
    case "CutToConsumer":
      return SimulatedNetwork.cutOneWay("producer", name)
    case "CutToProducer":
      return SimulatedNetwork.cutOneWay(name, "producer")
    case "Slow":
      return SimulatedNetwork.slow("producer", name, slowly)
    case "SlowToConsumer":
      return SimulatedNetwork.slowOneWay("producer", name, slowly)
    case "SlowToProducer":
      return SimulatedNetwork.slowOneWay(name, "producer", slowly)
    case "Sever":
      return SimulatedNetwork.sever("producer", name)
    case "SeverUnnoticedByProducer":
      return SimulatedNetwork.sever("producer", name, { noticedBy: [name] })
    case "SeverUnnoticedByConsumer":
      return SimulatedNetwork.sever("producer", name, { noticedBy: ["producer"] })
    case "HalfOpen":
      return SimulatedNetwork.halfOpen("producer", true)
    case "SendsTwice":
    case "CutsAfterHeaders":
    case "EndsRequests":
      return SimulatedNetwork.proxy("producer", kind)
  }
}

const heal = ({ consumer, kind }: Fault, consumers: number) => {
  switch (kind) {
    case "HalfOpen":
      return SimulatedNetwork.halfOpen("producer", false)
    case "SendsTwice":
    case "CutsAfterHeaders":
    case "EndsRequests":
      return SimulatedNetwork.proxy("producer", undefined)
    default:
      return SimulatedNetwork.heal("producer", `consumer-${consumer % consumers}`)
  }
}

export const run = (workload: Workload): Effect.Effect<void, unknown, Simulation.Simulation> =>
  Effect.gen(function*() {
    const {
      appends,
      bytes,
      consumers,
      delivery,
      ending,
      filters,
      group,
      isMute,
      latency,
      network,
      others,
      pace,
      slowness,
      steps,
      visible,
      workers
    } = workload
    const there = yield* SimulatedDatabase.make("there")
    const here = yield* SimulatedDatabase.make("here", { mute: isMute, latency })
    const auditor = yield* Auditor.make({ journal: there, offsets: here })
    const table = SimulatedDatabase.table<Envelope.Place>(here)
    const isTableExact = delivery === "ExactlyOnce" && !steps.some((step) => step._tag === "Rewind" && step.isByName)

    const source = EventConsumer.source(Carts, { address: "producer:8101", insecure: true })
    /** The tags that events of each entity may have. */
    const tagsOf = new Map<string, Set<string>>()
    /** What the producer has let be seen so far. Each event says how much of that there was before it was appended. */
    const seen = [EventFilter.compile(EventFilter.passAll)]
    /** The newest version of the filter whose storing was acknowledged. */
    let acknowledged = 0
    const versions = here.inspect(
      ConsumerFilter.ConsumerFilter.use((_) => _.history(source.provider.key, undefined, 1000))
    )
    const passesFor = (filter: EventFilter.EventFilter, persistenceId: PersistenceId.PersistenceId): boolean => {
      const passes = EventFilter.compile(filter)
      return [...tagsOf.get(persistenceId)!].some((tag) => passes({ persistenceId, tags: [tag] }))
    }
    const isSelected = (persistenceId: PersistenceId.PersistenceId, own: EventFilter.EventFilter) =>
      steps.length === 0 ?
        Effect.succeed(passesFor(own, persistenceId)) :
        Effect.map(
          versions,
          (stored) => stored.some((one) => one.version >= acknowledged && passesFor(one.filter, persistenceId))
        )
    /** What must hold as it is handed over. */
    const check =
      (own: EventFilter.EventFilter) => ({ event, persistenceId, sequenceNumber }: Envelope.Envelope<string>) =>
        Effect.gen(function*() {
          // also one that was on its way when that changed
          if (!seen.slice(versionOf(event)).some((visible) => visible({ persistenceId, tags: [] }))) {
            return yield* Simulation.violate(
              "what a producer hides does not leave it",
              `event ${sequenceNumber} of '${persistenceId}' is handled, and was never to be seen`
            )
          }
          if (!(yield* isSelected(persistenceId, own))) {
            return yield* Simulation.violate(
              "what is handled is selected",
              `event ${sequenceNumber} of '${persistenceId}' is handled, and none of that entity passes`
            )
          }
        })
    const write = (envelope: Envelope.Envelope<string>) =>
      Effect.gen(function*() {
        if (slowness > 0) yield* Effect.sleep(slowness)
        if (delivery !== "ExactlyOnce") return
        if (isTableExact && (yield* table.get(rowOf(envelope))) !== undefined) {
          return yield* Simulation.violate(
            "what is undone is undone",
            `${rowOf(envelope)} is there before it is handled`
          )
        }
        yield* table.set(rowOf(envelope), envelope)
      })
    /** What the handler has written is what was handled, and no rewind has undone. */
    const exact = Effect.gen(function*() {
      if (!isTableExact) return
      const handled = new Set((yield* auditor.handled(projection)).map(rowOf))
      const rows = new Set((yield* table.rows).keys())
      const wrong = [...handled, ...rows].filter((row) => !handled.has(row) || !rows.has(row))
      if (wrong.length > 0) return yield* Simulation.violate("what is written is what was handled", wrong.join(", "))
    })
    const handle = (own: EventFilter.EventFilter) => (envelopes: ReadonlyArray<Envelope.Envelope<string>>) =>
      Effect.andThen(
        Effect.forEach(envelopes, check(own), { discard: true }),
        Effect.forEach(envelopes, write, { discard: true })
      )
    const handlerOf = (own: EventFilter.EventFilter) =>
      group === 1
        ? (envelope: Envelope.Envelope<string>) => handle(own)([envelope])
        : Handler.grouped({ size: group, within: 50 }, handle(own))
    const offered = auditor.source(Source.journal(Cart))
    let filter = EventFilter.passAll
    const projected = () =>
      auditor.projection(
        (filter === EventFilter.passAll ? source : EventConsumer.filter(filter)(source)).pipe(
          delivery === "ExactlyOnce"
            ? Projection.exactlyOnce(projection, handlerOf(filter))
            : Projection.atLeastOnce(projection, handlerOf(filter), { saveAfter: 3, saveWithin: "200 millis" }),
          Projection.workers(workers)
        ),
        { origin: offered }
      )

    /** Each step is taken once, as those of other processes. */
    const leftSteps = Array.from(
      { length: consumers },
      (_, i) => steps.filter((step) => step.consumer % consumers === i)
    )
    type Taken = Effect.Effect<unknown, unknown, SimulatedDatabase.Storage | Simulation.Simulation>
    const take = (step: Step): Taken => {
      switch (step._tag) {
        case "Update":
          return acknowledge(
            ConsumerFilter.update(source, () => filterOf(step.filter), { by: "ada", history: step.history })
          )
        case "RollBack":
          return Effect.flatMap(
            ConsumerFilter.get(source),
            ({ version }) =>
              acknowledge(ConsumerFilter.rollBack(source, Math.max(1, version - step.back), {
                by: "bob",
                history: step.history
              }))
          )
        case "Pause":
          return ProjectionManagement.pause(projection).pipe(
            Effect.andThen(Effect.sleep(step.lasts)),
            Effect.andThen(ProjectionManagement.resume(projection))
          )
        case "Rewind":
          return Effect.flatMap(there.inspect(targetOf(step)), (to): Taken =>
            step.isByName
              ? ProjectionManagement.rewind(projection, to)
              : Projection.rewind(projected(), to, delivery === "ExactlyOnce" ? { undo: undo(to) } : {}))
      }
    }
    const undo = (to: ProjectionManagement.Target) =>
      Effect.flatMap(table.rows, (rows) =>
        Effect.forEach(rows, ([key, place]) => comesAgain(to, place) ? table.set(key, undefined) : Effect.void))
    const acknowledge = <E, R>(update: Effect.Effect<ConsumerFilter.FilterVersion, E, R>) =>
      Effect.flatMap(update, ({ history, version }) => {
        acknowledged = Math.max(acknowledged, version)
        return Simulation.note(`version ${version} of the filter is acknowledged, with '${history}'`)
      })
    const taking = (i: number) =>
      Effect.gen(function*() {
        for (let step = leftSteps[i]!.shift(); step !== undefined; step = leftSteps[i]!.shift()) {
          yield* Effect.sleep((step._tag === "Update" ? step.filter.after : step.after) / pace)
          yield* Simulation.note(`a person does ${JSON.stringify(step)}`)
          yield* Effect.ignore(take(step))
        }
      })
    const append = (id: string, events: readonly [string, ...Array<string>], tag: string) =>
      Effect.suspend(() => {
        const persistenceId = PersistenceId.make(Cart.name, id)
        tagsOf.set(persistenceId, (tagsOf.get(persistenceId) ?? new Set()).add(tag))
        return Journal.append(Cart, { id, events, tags: [tag] })
      })

    /** Takes each step once, whatever becomes of the process. */
    const left = [...appends]
    const writing = Effect.gen(function*() {
      for (let step = left.shift(); step !== undefined; step = left.shift()) {
        yield* Effect.sleep(step.after / pace)
        const text = `${left.length}`.padStart(bytes, ".") + versionText(seen.length - 1)
        const events = Array.from({ length: step.events + 1 }, () =>
          text) as [string, ...Array<string>]
        yield* Effect.ignore(append(idOf(step.entity), events, step.tag))
      }
      return yield* Effect.never
    })
    const shown = yield* SubscriptionRef.make(EventFilter.passAll)
    const producer = EventProducer.layer(Carts, offered, visible && { select: shown }).pipe(
      Layer.provide(GrpcServer.layer({ port: 8101 })),
      Layer.provideMerge(there.layer),
      Layer.provide(SimulatedNetwork.layer)
    )
    const consumer = (i: number) =>
      Effect.suspend(() =>
        Effect.all([Layer.launch(Projection.layer(projected())), taking(i)], { concurrency: "unbounded" }).pipe(
          Effect.provide([here.layer, SimulatedNetwork.layer])
        )
      )
    const processes = [yield* Simulation.process("producer", Effect.provide(writing, producer))]
    for (let i = 0; i < consumers; i++) processes.push(yield* Simulation.process(`consumer-${i}`, consumer(i)))
    const changes = Effect.forEach(filters, (next) =>
      Effect.gen(function*() {
        yield* Effect.sleep(next.after)
        filter = filterOf(next)
        yield* Simulation.note(`another filter: ${JSON.stringify(next)}`)
        for (const { start, stop } of processes.slice(1)) yield* Effect.andThen(stop, start)
      }), { discard: true })

    const showing = Effect.forEach(visible ?? [], (next) =>
      Effect.gen(function*() {
        yield* Effect.sleep(next.after)
        yield* Simulation.note(`the producer hides: ${JSON.stringify(next.hides)}`)
        const filter = visibleOf(next)
        seen.push(EventFilter.compile(filter))
        yield* SubscriptionRef.set(shown, filter)
      }), { discard: true })

    const faults = Effect.forEach(network, (fault) =>
      Effect.gen(function*() {
        yield* Effect.sleep(fault.after)
        yield* suffer(fault, consumers)
        yield* Effect.sleep(fault.lasts)
        yield* heal(fault, consumers)
      }), { discard: true })
    yield* Effect.all([changes, showing, faults, FaultPlan.run(others, { processes, databases: [there, here] })], {
      concurrency: "unbounded",
      discard: true
    })
    yield* Simulation.note("no more faults")
    while (left.length > 0 || leftSteps.some((steps) => steps.length > 0)) yield* Effect.sleep("100 millis")
    if (steps.length > 0) {
      // a step may have been begun
      yield* Effect.sleep("10 seconds")
      yield* Effect.ignore(here.inspect(ProjectionManagement.resume(projection)))
    }
    yield* Effect.sleep("5 seconds")
    yield* auditor.settled({ within: patience })
    yield* Effect.sleep("30 seconds")
    yield* auditor.settled({ within: patience })
    yield* exact

    const stored = yield* versions
    const passes = EventFilter.compile(stored[0]?.filter ?? filter)
    /** Of each of the entities, what is not left behind up to that event is handled, or comes without anything else. */
    const complete = Effect.fnUntraced(function*(selected: ReadonlyMap<string, number>) {
      const isDue = ({ persistenceId, sequenceNumber }: Envelope.Place) =>
        sequenceNumber <= (selected.get(persistenceId) ?? 0)
      const due = Effect.map(auditor.unhandled(projection), (places) => places.find(isDue))
      yield* due.pipe(
        Effect.repeat({ until: (place) => place === undefined, schedule: Schedule.spaced("1 second") }),
        Effect.timeoutOrElse({
          duration: patience,
          orElse: () =>
            Effect.flatMap(due, (place) =>
              Simulation.violate(
                "what is selected is handled",
                `event ${place!.sequenceNumber} of '${place!.persistenceId}' is not`
              ))
        })
      )
    })
    /** Up to its last event that passes, each entity that the filter includes. */
    const passing = Effect.fnUntraced(function*(passes: (place: Envelope.Place) => boolean) {
      const past = new Map<string, number>()
      for (const id of everyEntity) {
        const events = yield* there.inspect(Stream.runCollect(Journal.read(Cart, id)))
        const newest = events.findLast(passes)
        if (newest !== undefined) past.set(newest.persistenceId, newest.sequenceNumber)
      }
      return past
    })
    const change = (name: string, to: (filter: EventFilter.EventFilter) => EventFilter.EventFilter) =>
      Effect.gen(function*() {
        const update = ConsumerFilter.update(source, to, { by: "eve", history: "now" })
        yield* (yield* Simulation.process(name, Effect.provide(Effect.orDie(update), here.layer))).ended
      })
    if (stored[0]?.history === "now" && visible === undefined) {
      // a rewind has ended what the change was to bring at once
      if (yield* auditor.rewoundSinceFilter(projection)) yield* change("change again", (filter) => filter)
      yield* complete(yield* passing(passes))
    }
    const selected = new Map<string, number>()
    const last = (id: string, i: number) =>
      Effect.gen(function*() {
        const tag = i % 2 === 0 ? "large" : "small"
        const { persistenceId, sequenceNumber } = yield* append(id, [`last${versionText(seen.length - 1)}`], tag)
        if (!seen.at(-1)!({ persistenceId, tags: [] })) return
        if (passes({ persistenceId, tags: [tag] })) selected.set(persistenceId, sequenceNumber)
      })
    const writer = Effect.provide(Effect.orDie(Effect.forEach(everyEntity, last, { discard: true })), there.layer)
    yield* (yield* Simulation.process("last writer", writer)).ended
    yield* auditor.settled({ within: patience })
    yield* complete(selected)
    if (steps.length === 0) return
    yield* Simulation.note("everything is included, at once")
    yield* change("last change", () => EventFilter.passAll)
    const ofAll = processes.slice(1).flatMap((_, target) =>
      ending.map((fault): FaultPlan.Fault => ({ ...fault, target }))
    )
    yield* FaultPlan.run(ofAll, { processes: processes.slice(1), databases: [here] })
    yield* complete(yield* passing(({ persistenceId }) => seen.at(-1)!({ persistenceId, tags: [] })))
    yield* auditor.settled({ within: patience })
    yield* exact
  })

const rowOf = ({ persistenceId, sequenceNumber }: Envelope.Place): string => `${persistenceId} ${sequenceNumber}`

const eventsOf = Effect.forEach(everyEntity, (id) => Stream.runCollect(Journal.read(Cart, id)))

/** Where a rewind leads to, as the journal is then. */
const targetOf = ({ part, to }: Rewind) =>
  Effect.map(eventsOf, (entities): ProjectionManagement.Target => {
    const events = entities.flat().toSorted((a, b) => a.timestamp - b.timestamp)
    if (to === "beginning" || events.length === 0) return "beginning"
    if (to === "since") {
      // at an event, or right after it
      const { timestamp } = events[Math.floor(part / 101 * events.length)]!
      return { since: Timestamp.make(timestamp + part % 2) }
    }
    const offsets = new Map<Slice.Slice, Offset.Offset>()
    for (const [slice, log] of Map.groupBy(events, ({ slice }) => slice)) {
      const last = log[Math.floor((part + slice) % 101 / 101 * (log.length + 1)) - 1]
      if (last !== undefined) offsets.set(slice, Offset.make(last.position!, last.timestamp))
    }
    return { journal: undefined, offsets }
  })

const comesAgain = (to: ProjectionManagement.Target, { position, slice, timestamp }: Envelope.Place): boolean => {
  if (to === "beginning") return true
  return "since" in to ? timestamp >= to.since : position! > (to.offsets.get(slice)?.position ?? 0)
}
