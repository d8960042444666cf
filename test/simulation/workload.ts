/** What the simulator runs: writers and projections on a database, and what goes wrong meanwhile. */
import {
  EntityType,
  type Envelope,
  EventCodec,
  Handler,
  Journal,
  Projection,
  ProjectionManagement,
  SequenceNumber,
  Source
} from "@sluice/core"
import { Auditor, FaultPlan, SimulatedDatabase, Simulation } from "@sluice/testing"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

const Note = EntityType.make("note", { codec: EventCodec.string })

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const Append = Schema.TaggedStruct("Append", {
  after: upTo(300),
  entity: upTo(6),
  events: upTo(3),
  isExpected: Schema.Boolean
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
  Schema.TaggedStruct("Rewind", { after: upTo(400), isSince: Schema.Boolean })
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
  readonly delivery: "ExactlyOnce" | "AtLeastOnce"
  /** How many events the handler is given at a time. */
  readonly group: number
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
  delivery: Arbitrary.schema(Schema.Literals(["ExactlyOnce", "AtLeastOnce"])),
  group: Arbitrary.schema(Schema.Literals([1, 1, 4])),
  slowness: Arbitrary.schema(Schema.Literals([0, 0, 20, 300])),
  isLossy: Arbitrary.schema(Schema.Boolean),
  latency: Arbitrary.schema(Schema.Literals([0, 2, 30])),
  entities: Arbitrary.schema(Schema.Literals([1, 2, 7])),
  together: Arbitrary.schema(Schema.Boolean),
  stumbles: Arbitrary.schema(Schema.Literals([0, 0, 5]))
})

const projection = "notes"

/** The first and the third are in one slice, the others in slices of several workers. */
const ids = ["ant", "eel", "nha", "bee", "cow", "dog", "fox"]
const idOf = (entity: number): string => ids[entity % ids.length]!

/** How long it may take after the last fault until all is handled: backoff is up to 36 seconds, twice in a row where two things are away. */
const patience = "3 minutes"

export const run = (workload: Workload): Effect.Effect<void, unknown, Simulation.Simulation> =>
  Effect.gen(function*() {
    const { consumers, delivery, faults, group, isLossy, slowness, stumbles, together, workers, writers } = workload
    const database = yield* SimulatedDatabase.make("database", { lossy: isLossy, latency: workload.latency })
    const auditor = yield* Auditor.make({ journal: database })
    const table = SimulatedDatabase.table<string>(database)

    let handled = 0
    const write = (id: string, n: number) =>
      Effect.gen(function*() {
        handled++
        if (slowness > 0) yield* Effect.sleep(handled * 7 % slowness)
        if (stumbles > 0 && handled % stumbles === 0) return yield* Effect.fail("stumbles")
        if (delivery === "ExactlyOnce") yield* table.set(`${id} ${n}`, "handled")
      })
    const handler = group === 1
      ? ({ persistenceId, sequenceNumber }: Envelope.Envelope<string>) => write(persistenceId, sequenceNumber)
      : Handler.grouped({ size: group, within: 50 }, (envelopes: ReadonlyArray<Envelope.Envelope<string>>) =>
        Effect.forEach(envelopes, ({ persistenceId, sequenceNumber }) =>
          write(persistenceId, sequenceNumber), {
          discard: true
        }))
    const Notes = auditor.projection(
      Source.journal(Note).pipe(
        delivery === "ExactlyOnce"
          ? Projection.exactlyOnce(projection, handler)
          : Projection.atLeastOnce(projection, handler, { saveAfter: 3, saveWithin: "200 millis" }),
        Projection.workers(workers)
      )
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

    /** Takes each step once, whatever becomes of the process. */
    const left = writers.map((steps) => [...steps])
    const writer = (i: number) =>
      Effect.gen(function*() {
        for (let step = left[i]!.shift(); step !== undefined; step = left[i]!.shift()) {
          yield* Effect.sleep(step.after)
          yield* Effect.ignore(take(step, `${i}-${left[i]!.length}`, (entity) =>
            idOf(entity % workload.entities)))
        }
      })

    const processes: Array<Simulation.Process> = []
    for (let i = 0; i < consumers; i++) {
      // those that write where they read are given their events from memory
      const own = together
        ? writers.flatMap((_, writing) => writing % consumers === i ? [writer(writing)] : [])
        : []
      const consumer = Layer.provideMerge(Projection.layer(Notes), database.layer)
      const program = Effect.all([Effect.never, questions, ...own], { concurrency: "unbounded", discard: true })
      processes.push(yield* Simulation.process(`consumer-${i}`, Effect.provide(program, consumer)))
    }
    if (!together) {
      for (const i of writers.keys()) {
        processes.push(yield* Simulation.process(`writer-${i}`, Effect.provide(writer(i), database.layer)))
      }
    }

    yield* FaultPlan.run(faults, { processes, databases: [database] })
    yield* Simulation.note("no more faults")
    yield* Effect.sleep("100 millis").pipe(
      Effect.repeat({ while: () => left.some((steps) => steps.length > 0) }),
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () => Simulation.violate("writers go on", `${left.flat().length} steps are left`)
      })
    )
    yield* Simulation.note("all is written")
    yield* Effect.sleep("1 second")
    yield* Effect.ignore(database.inspect(ProjectionManagement.resume(projection)))
    yield* auditor.settled({ within: patience })
    yield* Effect.sleep("5 seconds")
    yield* auditor.settled({ within: patience })
  })

const known = new WeakMap<object, Map<string, number>>()

const take = (
  step: Step,
  text: string,
  idOf: (entity: number) => string
): Effect.Effect<unknown, unknown, Journal.Journal | ProjectionManagement.ProjectionManagement> => {
  switch (step._tag) {
    case "Append":
      return Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const seen = known.get(journal) ?? new Map<string, number>()
        known.set(journal, seen)
        const id = idOf(step.entity)
        const last = seen.get(id)
        const { sequenceNumber } = yield* Journal.append(Note, {
          id,
          events: Array.from({ length: step.events + 1 }, (_, i) => `${text}-${i}`) as [string, ...Array<string>],
          expected: step.isExpected && last !== undefined ? SequenceNumber.make(last) : "any"
        })
        seen.set(id, sequenceNumber)
      })
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
      return Effect.gen(function*() {
        const journal = yield* Journal.Journal
        const now = yield* journal.now
        yield* ProjectionManagement.rewind(
          { projection, source: Journal.sourceKey(Note.name) },
          step.isSince ? { since: now } : "beginning"
        )
      })
    default:
      return Effect.void
  }
}
