/** What the simulator runs: writers and projections on a database, and what goes wrong meanwhile. */
import type * as DurableStateStore from "@sluice/core/DurableStateStore"
import type * as Envelope from "@sluice/core/Envelope"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionStatus from "@sluice/core/ProjectionStatus"
import * as ProjectionWorker from "@sluice/core/ProjectionWorker"
import * as RecoveryStrategy from "@sluice/core/RecoveryStrategy"
import * as SequenceNumber from "@sluice/core/SequenceNumber"
import * as SliceRange from "@sluice/core/SliceRange"
import * as Source from "@sluice/core/Source"
import type * as Timestamp from "@sluice/core/Timestamp"
import * as Auditor from "@sluice/testing/Auditor"
import * as FaultPlan from "@sluice/testing/FaultPlan"
import * as SimulatedDatabase from "@sluice/testing/SimulatedDatabase"
import * as Simulation from "@sluice/testing/Simulation"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { allTaken, noLetters, once } from "./endings.ts"
import { makeLives } from "./lives.ts"
import { changeState, makeSelected, Note, Profile, sourceOf } from "./sources.ts"
import { upTo } from "./upTo.ts"

/** How soon what is written is handled when nothing else happens: the database is asked once a second. */
const promptness = 10_000

/** How long it may take after the last fault until all is handled: backoff is up to 36 seconds, twice in a row where two things are away. */
const patience = 180_000

const Append = Schema.TaggedStruct("Append", {
  after: upTo(300),
  entity: upTo(6),
  events: upTo(3),
  isExpected: Schema.Boolean,
  /** Some events are poison, where the projection goes past those, and some are dropped, where a stage does that. */
  kind: Schema.Literals(["", "", "poison", "private"]),
  /** For how long it is waited until the projection has reached them, in milliseconds: not at all if it is 0. */
  awaits: Schema.Literals([0, 0, 0, 300, 3000, promptness])
})

/** What a writer does, so many milliseconds after what it has done before. */
const Step = Schema.Union([
  Append,
  Append,
  Append,
  Append,
  /** Several in a transaction, which is undone if it says so. */
  Schema.TaggedStruct("Transaction", { after: upTo(400), entity: upTo(6), lasts: upTo(200), isUndone: Schema.Boolean }),
  Schema.TaggedStruct("Delete", { after: upTo(400), entity: upTo(6) }),
  Schema.TaggedStruct("Pause", { after: upTo(400), lasts: upTo(1500) }),
  Schema.TaggedStruct("Rewind", { after: upTo(400), isSince: Schema.Boolean }),
  Schema.TaggedStruct("Clear", { after: upTo(400) }),
  /** Removes what is older than so many milliseconds. */
  Schema.TaggedStruct("Prune", { after: upTo(400), age: upTo(1000) }),
  /** Repairs the handler: what was poison is not any more. */
  Schema.TaggedStruct("Repair", { after: upTo(800) }),
  /** Has the handler handle what was put aside, by two at once. */
  Schema.TaggedStruct("Redeliver", { after: upTo(800) }),
  /** Has the source show an entity that it has left out until then. */
  Schema.TaggedStruct("Select", { after: upTo(800), entity: upTo(6) })
])

export type Step = typeof Step.Type

/** What a consumer is asked. */
const Question = Schema.Union([
  Schema.TaggedStruct("CaughtUp", { after: upTo(500) }),
  Schema.TaggedStruct("Lag", { after: upTo(500) })
])

export type Question = typeof Question.Type

export interface Workload {
  readonly faults: FaultPlan.FaultPlan
  readonly writers: ReadonlyArray<ReadonlyArray<Step>>
  readonly questions: ReadonlyArray<Question>
  /** How many processes run the projections, and with how many workers each. */
  readonly consumers: number
  readonly workers: number
  /** Before that they run two workers for so many milliseconds each, and begin with the one or the other, which have the slices up to there and behind. */
  readonly shifts: ReadonlyArray<{ readonly to: number; readonly lasts: number; readonly isUpperFirst: boolean }>
  readonly source: "journal" | "byTime" | "selected" | "states"
  /** What is done about events that fail again and again. */
  readonly recovery: "stop" | "skip" | "putAside"
  /** Whether a stage drops events. */
  readonly isFiltered: boolean
  readonly delivery: "ExactlyOnce" | "AtLeastOnce" | "AtMostOnce"
  /** How many events the handler is given at a time. */
  readonly group: number
  /** How many events, or groups, of different slices a worker has handled at a time, if it does so at least once. */
  readonly parallelism: number
  /** Whether each worker makes a handler of its own. */
  readonly isScoped: boolean
  /** How long the handler takes at most, in milliseconds. */
  readonly slowness: number
  readonly isLossy: boolean
  /** How long messages to the database take at most, in milliseconds, when nothing goes wrong. */
  readonly latency: number
  /** How many entities are written to. */
  readonly entities: number
  /** Whether the processes that handle events write them as well. */
  readonly together: boolean
  /** Every so many events the handler fails, once. */
  readonly stumbles: number
}

export const workloads: Arbitrary.Arbitrary<Workload> = Arbitrary.all({
  faults: FaultPlan.arbitrary,
  writers: Arbitrary.array(Arbitrary.array(Arbitrary.schema(Step), { maxLength: 20 }), { minLength: 1, maxLength: 3 }),
  questions: Arbitrary.array(Arbitrary.schema(Question), { maxLength: 6 }),
  consumers: Arbitrary.schema(Schema.Literals([1, 1, 2])),
  workers: Arbitrary.schema(Schema.Literals([1, 2, 3])),
  shifts: Arbitrary.array(
    Arbitrary.schema(Schema.Struct({ to: upTo(1022), lasts: upTo(800), isUpperFirst: Schema.Boolean })),
    { maxLength: 2 }
  ),
  source: Arbitrary.schema(Schema.Literals(["journal", "journal", "journal", "byTime", "selected", "states"])),
  recovery: Arbitrary.schema(Schema.Literals(["stop", "skip", "putAside", "putAside"])),
  isFiltered: Arbitrary.schema(Schema.Boolean),
  delivery: Arbitrary.schema(
    Schema.Literals(["ExactlyOnce", "ExactlyOnce", "AtLeastOnce", "AtLeastOnce", "AtMostOnce"])
  ),
  group: Arbitrary.schema(Schema.Literals([1, 1, 4])),
  parallelism: Arbitrary.schema(Schema.Literals([1, 3])),
  isScoped: Arbitrary.schema(Schema.Boolean),
  slowness: Arbitrary.schema(Schema.Literals([0, 0, 20, 300])),
  isLossy: Arbitrary.schema(Schema.Boolean),
  latency: Arbitrary.schema(Schema.Literals([0, 2, 30])),
  entities: Arbitrary.schema(Schema.Literals([1, 2, 7])),
  together: Arbitrary.schema(Schema.Boolean),
  stumbles: Arbitrary.schema(Schema.Literals([0, 0, 5]))
})

const projection = "notes"

type Deliver = (
  source: Source.Source<string, unknown, Journal.Journal>
) => Projection.Projection<unknown, SimulatedDatabase.Storage>

const recoveries = {
  stop: RecoveryStrategy.retryAndFail({ retries: 5, delay: "1 second" }),
  skip: RecoveryStrategy.retryAndSkip({ retries: 1, delay: "100 millis" }),
  putAside: RecoveryStrategy.retryAndDeadLetter({ retries: 1, delay: "100 millis" })
}

/** The first and the third are in one slice, the others in slices of several workers. */
const ids = ["ant", "eel", "nha", "bee", "cow", "dog", "fox"]
const idOf = (entity: number): string => ids[entity % ids.length]!

export const run = (workload: Workload): Effect.Effect<void, unknown, Simulation.Simulation> =>
  Effect.gen(function*() {
    const { delivery, faults, group, isLossy, recovery, slowness, stumbles, together, writers } = workload
    const database = yield* SimulatedDatabase.make("database", { lossy: isLossy, latency: workload.latency })
    const auditor = yield* Auditor.make({ journal: database })
    const table = SimulatedDatabase.table<string>(database)

    const isStates = workload.source === "states"
    const { consumers } = workload
    const selected = makeSelected(["note|ant", "note|bee"])
    /** How often, since it was counted from. */
    const times = new Map<string, number>()
    let handled = 0
    let isRepaired = recovery === "stop"
    let isCalm = false
    const write = ({ event, persistenceId, sequenceNumber }: Envelope.Envelope<string>) =>
      Effect.gen(function*() {
        if (!isRepaired && event.includes("poison")) return yield* Effect.fail("poison")
        handled++
        if (slowness > 0) yield* Effect.sleep(handled * 7 % slowness)
        if (!isCalm && stumbles > 0 && handled % stumbles === 0) return yield* Effect.fail("stumbles")
        if (delivery === "ExactlyOnce") yield* table.set(`${persistenceId} ${sequenceNumber}`, "handled")
        const key = `${persistenceId} ${sequenceNumber}`
        times.set(key, (times.get(key) ?? 0) + 1)
      })
    const lives = yield* makeLives
    /** As it is, or as each worker makes it for itself. */
    const alive = <Input, E, R>(
      handle: (input: Input) => Effect.Effect<void, E, R>
    ): typeof handle | Handler.Scoped<Input, Effect.Effect<void, E, R>> =>
      workload.isScoped ? lives.handler(handle) : handle
    const isParallel = delivery === "AtLeastOnce" && workload.parallelism > 1
    const handler = group === 1
      ? alive(write)
      : Handler.grouped(
        { size: group, within: isParallel ? 0 : 50 },
        alive((envelopes: ReadonlyArray<Envelope.Envelope<string>>) =>
          Effect.forEach(envelopes, write, { discard: true })
        )
      )
    const saves = { saveAfter: 3, saveWithin: "200 millis" } as const
    const deliver: { readonly [Delivery in Workload["delivery"]]: Deliver } = {
      ExactlyOnce: Projection.exactlyOnce(projection, handler),
      AtLeastOnce: Projection.atLeastOnce(projection, handler, {
        ...saves,
        parallelism: isParallel ? workload.parallelism : 1
      }),
      AtMostOnce: Projection.atMostOnce(projection, handler)
    }
    const source = sourceOf(workload.source, selected)
    const Notes: Projection.Projection<unknown, SimulatedDatabase.Storage> = auditor.projection(
      (workload.isFiltered
        ? Source.filter(({ event }: Envelope.Envelope<string>) => !event.includes("private"))(source)
        : source)
        .pipe(
          deliver[delivery],
          Projection.workers(workload.workers),
          Projection.recovery(recoveries[recovery])
        )
    )

    /** Two workers, which begin and end one after the other. */
    const shift = ({ isUpperFirst, lasts, to }: Workload["shifts"][number]) => {
      const ranges = [SliceRange.make(0, to), SliceRange.make(to + 1, 1023)]
      const [first, second] = (isUpperFirst ? ranges.toReversed() : ranges).map((range) =>
        Effect.scoped(
          Effect.andThen(ProjectionWorker.start(ProjectionWorker.make(Notes, range)), Effect.sleep(lasts))
        )
      )
      return Effect.all([first!, Effect.delay(second!, lasts / 2)], { concurrency: "unbounded", discard: true })
    }
    const projecting = Effect.forEach(workload.shifts, shift, { discard: true }).pipe(
      Effect.andThen(Layer.launch(Projection.layer(Notes)))
    )

    const questions = Effect.forEach(workload.questions, (question) =>
      Effect.andThen(
        Effect.sleep(question.after),
        Effect.ignore(
          question._tag === "Lag"
            ? auditor.lag(projection)
            : Effect.timeout(auditor.caughtUp(projection), "20 seconds")
        )
      ), { discard: true })

    const handleLetters = Effect.ignore(Projection.handleDeadLetters(Notes))
    /** What is done to the projection, or its source, of whatever kind that is. */
    const other = (step: Step, id: (entity: number) => string) => {
      switch (step._tag) {
        case "Repair":
          return Effect.sync(() => isRepaired = true)
        case "Redeliver":
          return Effect.all([handleLetters, handleLetters], { concurrency: "unbounded", discard: true })
        case "Select":
          return selected.select(`note|${id(step.entity)}`)
        default:
          return undefined
      }
    }

    const takeAny = (
      step: Step,
      text: string,
      id: (entity: number) => string,
      awaits: number = step._tag === "Append" ? step.awaits : 0
    ): Effect.Effect<unknown, unknown, SimulatedDatabase.Storage> => {
      if (isStates) return takeState(step, text, id)
      if (step._tag !== "Append" || awaits === 0) return take(step, text, id)
      return Effect.flatMap(append(step, text, id), (written) =>
        auditor.reached(projection, written, { timeout: awaits }))
    }

    /** Takes each step once, whatever becomes of the process. */
    const left = writers.map((steps) => [...steps])
    const writer = (i: number) =>
      Effect.gen(function*() {
        for (let step = left[i]!.shift(); step !== undefined; step = left[i]!.shift()) {
          yield* Effect.sleep(step.after)
          const text = `${i}-${left[i]!.length}`
          const id = (entity: number) =>
            idOf(entity % workload.entities)
          yield* Effect.ignore(other(step, id) ?? takeAny(step, text, id))
        }
      })

    const processes: Array<Simulation.Process> = []
    for (let i = 0; i < consumers; i++) {
      // those that write where they read are given their events from memory
      const written = together
        ? writers.flatMap((_, writing) => writing % consumers === i ? [writer(writing)] : [])
        : []
      const program = Effect.all([projecting, questions, ...written], { concurrency: "unbounded", discard: true })
      const living = Effect.provide(lives.within(i, program), database.layer)
      processes.push(yield* Simulation.process(`consumer-${i}`, living))
    }
    if (!together) {
      for (const i of writers.keys()) {
        processes.push(yield* Simulation.process(`writer-${i}`, Effect.provide(writer(i), database.layer)))
      }
    }

    yield* FaultPlan.run(faults, { processes, databases: [database] })
    yield* Simulation.note("no more faults")
    yield* allTaken("writers go on", left, patience)
    yield* Simulation.note("all is written")
    yield* Effect.sleep("1 second")
    yield* Effect.ignore(database.inspect(ProjectionManagement.resume(projection)))
    yield* auditor.settled({ within: patience })
    yield* Effect.sleep("5 seconds")
    yield* auditor.settled({ within: patience })
    yield* Simulation.note("all is selected, and what was put aside is handled")
    isRepaired = true
    isCalm = true
    yield* Effect.forEach(ids, (id) => selected.select(`note|${id}`))
    yield* once(database, "redelivery", Effect.all([handleLetters, handleLetters], { concurrency: "unbounded" }))
    yield* noLetters(database, Projection.offsetKey(Notes))
    yield* auditor.settled({ within: patience })
    yield* Simulation.note("all is quiet")
    // two processes, which no placement divides the slices among, fence each other, and wait longer each time
    const prompt = consumers === 1 ? promptness : patience
    // what was left out of an entity comes before its next event, however much that is
    const first = workload.source === "selected" ? patience : prompt
    const last = (i: number, within: number) =>
      takeAny(
        { _tag: "Append", after: 0, entity: i, events: 0, isExpected: false, kind: "", awaits: 0 },
        `last-${i}`,
        idOf,
        within
      ).pipe(Effect.tapError((error) =>
        error instanceof ProjectionStatus.NotReached
          ? Simulation.violate("what is written is reached", error.message)
          : Effect.void
      ))
    // the last one when nobody waits any more
    const writing = Effect.andThen(
      Effect.forEach(ids.keys(), (i) => last(i, first), { concurrency: "unbounded", discard: true }),
      last(ids.length, prompt)
    )
    yield* once(database, "last writer", writing)
    yield* auditor.settled({ within: prompt })
    if (workload.source === "selected") {
      const [left] = yield* auditor.unhandled(projection)
      if (left !== undefined) return yield* Simulation.violate("what is selected is handled", JSON.stringify(left))
    }
    if (consumers === 1) {
      yield* Simulation.note("a pause, and nothing else")
      times.clear()
      yield* once(
        database,
        "pausing",
        Effect.gen(function*() {
          yield* Effect.forEach(ids.keys(), (i) => takeAny(quietly(i), `paused-${i}`, idOf), {
            concurrency: "unbounded"
          })
          yield* Effect.sleep("50 millis")
          yield* ProjectionManagement.pause(projection)
          yield* Effect.sleep("2 seconds")
          yield* ProjectionManagement.resume(projection)
        })
      )
      yield* auditor.settled({ within: promptness })
      const twice = [...times].filter(([, times]) => times > 1).map(([event]) => event)
      if (twice.length > 0) return yield* Simulation.violate("nothing comes again for a pause", twice.join(", "))
    }
    yield* lives.atMost(workload.workers)
    yield* Effect.forEach(processes, ({ stop }) => stop, { discard: true })
    yield* lives.atMost(0)
  })

/** Appends an event or more, for which nobody waits. */
const quietly = (entity: number) =>
  ({ _tag: "Append", after: 0, entity, events: 2, isExpected: false, kind: "", awaits: 0 }) as const

const known = new WeakMap<object, Map<string, number>>()

const append = Effect.fnUntraced(function*(
  { entity, events, isExpected, kind }: Step & { readonly _tag: "Append" },
  text: string,
  idOf: (entity: number) => string
) {
  const journal = yield* Journal.Journal
  const seen = known.get(journal) ?? new Map<string, number>()
  known.set(journal, seen)
  const id = idOf(entity)
  const last = seen.get(id)
  const written = yield* Journal.append(Note, {
    id,
    events: Array.from({ length: events + 1 }, (_, i) => `${text}-${i}${kind}`) as [string, ...Array<string>],
    expected: isExpected && last !== undefined ? SequenceNumber.make(last) : "any"
  })
  seen.set(id, written.sequenceNumber)
  return written
})

const take = (
  step: Step,
  text: string,
  idOf: (entity: number) => string
): Effect.Effect<unknown, unknown, Journal.Journal | ProjectionManagement.ProjectionManagement> => {
  switch (step._tag) {
    case "Append":
      return append(step, text, idOf)
    case "Transaction":
      return Journal.transaction(Effect.gen(function*() {
        yield* Journal.append(Note, { id: idOf(step.entity), events: [`${text}-a`] })
        yield* Effect.sleep(step.lasts)
        yield* Effect.ignore(Journal.transaction(Effect.andThen(
          Journal.append(Note, { id: idOf(step.entity), events: [`${text}-b`] }),
          Effect.fail("undone")
        )))
        yield* Journal.append(Note, { id: idOf(step.entity + 1), events: [`${text}-c`] })
        if (step.isUndone) return yield* Effect.fail("undone")
      }))
    case "Delete":
      return Journal.deleteEvents(Note, idOf(step.entity))
    case "Pause":
      return Effect.gen(function*() {
        yield* ProjectionManagement.pause(projection)
        yield* Effect.sleep(step.lasts)
        yield* ProjectionManagement.resume(projection)
      })
    case "Rewind":
      return Effect.flatMap(
        Journal.Journal.use(({ now }) => now),
        (now) => rewind(step, Journal.sourceKey(Note.name), now)
      )
    case "Clear":
      return ProjectionManagement.clear({ projection, source: Journal.sourceKey(Note.name) })
    case "Prune":
      return Effect.gen(function*() {
        const now = yield* Journal.Journal.use(({ now }) => now)
        yield* Journal.prune(Note, { before: Math.max(0, now - step.age * 1000) as Timestamp.Timestamp })
      })
    default:
      return Effect.void
  }
}

/** The same where there are states, of which the last one counts. */
const takeState = (
  step: Step,
  text: string,
  idOf: (entity: number) => string
): Effect.Effect<
  unknown,
  unknown,
  DurableStateStore.DurableStateStore | Journal.Journal | ProjectionManagement.ProjectionManagement
> => {
  const source = `state:${Profile.name}`
  switch (step._tag) {
    case "Append":
      return Effect.forEach(
        Array.from({ length: step.events + 1 }, (_, i) => `${text}-${i}${step.kind}`),
        (state) => changeState(idOf(step.entity), state)
      )
    case "Transaction":
      return Journal.transaction(Effect.gen(function*() {
        yield* changeState(idOf(step.entity), `${text}-a`)
        yield* Effect.sleep(step.lasts)
        yield* changeState(idOf(step.entity + 1), `${text}-c`)
        if (step.isUndone) return yield* Effect.fail("undone")
      }))
    case "Delete":
      return changeState(idOf(step.entity), undefined)
    case "Rewind":
      return Effect.flatMap(Journal.Journal.use(({ now }) => now), (now) => rewind(step, source, now))
    case "Clear":
      return ProjectionManagement.clear({ projection, source })
    case "Prune":
      return Effect.void
    default:
      return take(step, text, idOf)
  }
}

const rewind = ({ isSince }: Step & { readonly _tag: "Rewind" }, source: string, now: Timestamp.Timestamp) =>
  ProjectionManagement.rewind({ projection, source }, isSince ? { since: now } : "beginning")
