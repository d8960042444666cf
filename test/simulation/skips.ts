/**
 * What the simulator runs: processes that share a projection, some of whose events fail for ever, and people who have it go past those, while it is scaled,
 * rewound and paused, and while processes are killed.
 */
import * as EntityType from "@sluice/core/EntityType"
import type * as Envelope from "@sluice/core/Envelope"
import * as EventCodec from "@sluice/core/EventCodec"
import * as Handler from "@sluice/core/Handler"
import * as Journal from "@sluice/core/Journal"
import * as OffsetStore from "@sluice/core/OffsetStore"
import * as PersistenceId from "@sluice/core/PersistenceId"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
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
import { allTaken, noLetters, once } from "./endings.ts"
import { launch, makeLeases } from "./placement.ts"
import { Note } from "./sources.ts"
import { upTo } from "./upTo.ts"

const Task = EntityType.make("task", { codec: EventCodec.string })

const Append = Schema.TaggedStruct("Append", {
  after: upTo(300),
  source: upTo(1),
  entity: upTo(5),
  events: upTo(3),
  /** Of those that are broken, the last one is. */
  kind: Schema.Literals(["", "broken"])
})

/** One of those that have failed, or any, whether it is there or not. */
const Skip = Schema.TaggedStruct("Skip", {
  after: upTo(600),
  which: Schema.Literals(["failed", "failed", "any"]),
  n: upTo(7),
  source: upTo(1),
  entity: upTo(5)
})

/** What a person does, so many milliseconds after what was done before. */
const Step = Schema.Union([
  Append,
  Append,
  Append,
  Append,
  Skip,
  Skip,
  Skip,
  Schema.TaggedStruct("Scale", { after: upTo(800), to: Schema.Literals([1, 2, 3, 7, "asInCode"]) }),
  /** Each worker goes to another process. */
  Schema.TaggedStruct("Move", { after: upTo(800) }),
  Schema.TaggedStruct("Pause", { after: upTo(400), lasts: upTo(1500) }),
  /** Either withdraws what was not skipped yet. */
  Schema.TaggedStruct("Rewind", { after: upTo(600), source: upTo(1), ago: Schema.Literals(["all", 0, 200, 1000]) }),
  Schema.TaggedStruct("Clear", { after: upTo(600), source: upTo(1) }),
  Schema.TaggedStruct("Redeliver", { after: upTo(800) })
])

export type Step = typeof Step.Type

export interface Skips {
  readonly faults: FaultPlan.FaultPlan
  readonly people: ReadonlyArray<ReadonlyArray<Step>>
  readonly services: number
  readonly workers: number
  readonly isStrict: boolean
  readonly sources: number
  readonly delivery: "ExactlyOnce" | "AtLeastOnce"
  readonly recovery: "stop" | "tryForEver" | "putAside"
  /** How many events the handler is given at a time. */
  readonly group: number
  /** How many it has at a time, at least once. */
  readonly parallelism: number
  /** How long it takes at most, in milliseconds. */
  readonly slowness: number
  readonly isLossy: boolean
  readonly latency: number
}

export const skips: Arbitrary.Arbitrary<Skips> = Arbitrary.all({
  faults: Arbitrary.array(Arbitrary.schema(FaultPlan.Fault), { maxLength: 5 }),
  people: Arbitrary.array(Arbitrary.array(Arbitrary.schema(Step), { maxLength: 16 }), { minLength: 1, maxLength: 2 }),
  services: Arbitrary.schema(Schema.Literals([1, 2, 3])),
  workers: Arbitrary.schema(Schema.Literals([1, 2, 4])),
  isStrict: Arbitrary.schema(Schema.Literals([true, true, false])),
  sources: Arbitrary.schema(Schema.Literals([1, 1, 2])),
  delivery: Arbitrary.schema(Schema.Literals(["ExactlyOnce", "ExactlyOnce", "AtLeastOnce"])),
  recovery: Arbitrary.schema(Schema.Literals(["stop", "tryForEver", "tryForEver", "putAside"])),
  group: Arbitrary.schema(Schema.Literals([1, 4])),
  parallelism: Arbitrary.schema(Schema.Literals([1, 4])),
  slowness: Arbitrary.schema(Schema.Literals([0, 20, 200])),
  isLossy: Arbitrary.schema(Schema.Boolean),
  latency: Arbitrary.schema(Schema.Literals([0, 2, 30]))
})

const projection = "everything"

const recoveries = {
  stop: RecoveryStrategy.retryAndFail({ retries: 2, delay: "500 millis" }),
  tryForEver: RecoveryStrategy.retryAndFail({ retries: 1_000_000, delay: "200 millis" }),
  putAside: RecoveryStrategy.retryAndDeadLetter({ retries: 1, delay: "100 millis" })
}

/** Some are in one slice. */
const ids = ["ant", "nha", "bee", "cow", "dog", "fox"]

const patience = "3 minutes"
const promptness = 10_000

type EventId = Pick<Envelope.Place, "persistenceId" | "sequenceNumber">

const rowOf = ({ persistenceId, sequenceNumber }: EventId): string => `${persistenceId} ${sequenceNumber}`

/** An event that was in the handler's hand when that has failed, how often. */
interface Failed extends EventId {
  times: number
}

export const run = (input: Skips): Effect.Effect<void, unknown, Simulation.Simulation> =>
  Effect.gen(function*() {
    const { delivery, faults, group, isLossy, isStrict, latency, people, recovery, services, slowness } = input
    const database = yield* SimulatedDatabase.make("database", { lossy: isLossy, latency })
    const auditor = yield* Auditor.make({ journal: database })
    const table = SimulatedDatabase.table<Envelope.Place>(database)
    const leases = yield* makeLeases(isStrict)
    const { elapsed } = yield* Simulation.Simulation
    const failed = new Map<string, Failed>()
    let handled = 0
    let isRepaired = false

    const write = (envelope: Envelope.Envelope<string>) =>
      Effect.gen(function*() {
        const row = rowOf(envelope)
        if (!isRepaired && envelope.event.includes("broken")) {
          const { persistenceId, sequenceNumber } = envelope
          failed.set(row, { persistenceId, sequenceNumber, times: (failed.get(row)?.times ?? 0) + 1 })
          return yield* Effect.fail("broken")
        }
        if (slowness > 0) yield* Effect.sleep(++handled * 7 % slowness)
        if (delivery === "ExactlyOnce") yield* table.set(row, envelope)
      })
    const handler = group === 1 ? write : Handler.grouped(
      { size: group, within: 50 },
      (envelopes: ReadonlyArray<Envelope.Envelope<string>>) => Effect.forEach(envelopes, write, { discard: true })
    )
    const saves = { saveAfter: 3, saveWithin: "200 millis" } as const
    const deliver = delivery === "ExactlyOnce"
      ? Projection.exactlyOnce(projection, handler)
      : Handler.isGrouped(handler)
      ? Projection.atLeastOnce(projection, handler, saves)
      : Projection.atLeastOnce(projection, handler, { ...saves, parallelism: input.parallelism })
    const types: ReadonlyArray<EntityType.EntityType<string>> = [Note, Task].slice(0, input.sources)
    const sources = types.map((type) => Source.make({ ...Source.journal(type).provider, onReplaced: "rewind" }))
    const Everything: Projection.Projection<unknown, SimulatedDatabase.Storage> = auditor.projection(
      Source.mergeAll(sources as [typeof sources[0]]).pipe(
        deliver as (sources: Source.Sources<string, any, any>) => Projection.Projection<any, any>,
        Projection.workers(input.workers),
        Projection.recovery(recoveries[recovery])
      )
    )
    const keys = Projection.offsetKeys(Everything)
    const keyOf = (source: number) => keys[source % keys.length]!
    const keyOfEvent = ({ persistenceId }: EventId) =>
      keys.find(({ source }) => persistenceId.startsWith(`${source.slice(Journal.sourceKey("").length)}|`))!

    const append = (source: number, entity: number, events: ReadonlyArray<string>) =>
      Journal.append(types[source % types.length]!, {
        id: ids[entity % ids.length]!,
        events: events as [string, ...Array<string>]
      })
    const skip = (event: EventId) =>
      ProjectionManagement.skip(keyOfEvent(event), event, { by: "ada", reason: "a mistake" })
    const handleLetters = Effect.ignore(Projection.handleDeadLetters(Everything))
    /** Undoes what was written of what comes again. */
    const rewind = (source: number, since: number | undefined) => {
      const key = keyOf(source)
      const type = key.source.slice(Journal.sourceKey("").length)
      const undo = Effect.flatMap(table.rows, (all) =>
        Effect.forEach(all, ([row, { persistenceId, timestamp }]) =>
          persistenceId.startsWith(`${type}|`) && timestamp >= (since ?? 0)
            ? table.set(row, undefined)
            : Effect.void, { discard: true }))
      return Projection.rewind(
        Everything,
        since === undefined ? "beginning" : { since: Timestamp.make(since) },
        { undo, source: key.source }
      )
    }
    const take = (step: Step, text: string): Effect.Effect<unknown, unknown, SimulatedDatabase.Storage> => {
      switch (step._tag) {
        case "Append":
          return append(
            step.source,
            step.entity,
            Array.from({ length: step.events + 1 }, (_, i) =>
              `${text}-${i}${i === step.events ? step.kind : ""}`)
          )
        case "Skip": {
          const all = [...failed.values()]
          const any = {
            persistenceId: PersistenceId.make(types[step.source % types.length]!.name, ids[step.entity]!),
            sequenceNumber: (step.n + 1) as Envelope.Place["sequenceNumber"]
          }
          return skip(step.which === "any" ? any : all[step.n % all.length] ?? any)
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
            (now) => rewind(step.source, step.ago === "all" ? undefined : now - step.ago * 1000)
          )
        case "Clear":
          return ProjectionManagement.clear(keyOf(step.source))
        case "Redeliver":
          return handleLetters
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
    const service = (i: number) => Effect.provide(launch(leases, i, Everything), database.layer)
    const processes: Array<Simulation.Process> = []
    for (let i = 0; i < services; i++) processes.push(yield* Simulation.process(`service-${i}`, service(i)))
    for (const i of people.keys()) {
      processes.push(yield* Simulation.process(`person-${i}`, Effect.provide(taking(i), database.layer)))
    }

    yield* FaultPlan.run(faults, { processes, databases: [database] })
    yield* Simulation.note("no more faults")
    yield* allTaken("people go on", left, patience)
    // a step may have been begun
    yield* Effect.sleep("5 seconds")
    yield* Effect.ignore(database.inspect(ProjectionManagement.resume(projection)))
    yield* Simulation.note("whatever fails is skipped")
    /** How often each has failed when it was skipped last: a command has workers begin anew, for which they need their time. */
    const skippedAt = new Map<string, number>()
    const skipAgain = Effect.forEach(failed, ([row, event]) => {
      if (event.times === skippedAt.get(row)) return Effect.void
      skippedAt.set(row, event.times)
      return Effect.ignore(skip(event))
    }, { discard: true })
    const skipping = Effect.forever(Effect.andThen(Effect.sleep("1 second"), Effect.suspend(() => skipAgain)))
    const lastPerson = yield* Simulation.process("last person", Effect.provide(skipping, database.layer))
    yield* auditor.settled({ within: patience })
    yield* lastPerson.stop
    if (recovery !== "putAside") {
      const wasHandled = new Set((yield* auditor.handled(projection)).map(rowOf))
      const wrong = [...failed.keys()].filter((row) => wasHandled.has(row))
      if (wrong.length > 0) return yield* Simulation.violate("what fails is not handled", wrong.join(", "))
    }
    isRepaired = true
    yield* once(database, "redelivery", handleLetters)
    for (const key of keys) yield* noLetters(database, key)

    yield* Simulation.note("a rewind brings back what was skipped")
    const all = Effect.forEach(keys, (_, i) => rewind(i, undefined), { discard: true })
    yield* once(database, "last rewind", all)
    yield* auditor.settled({ within: patience })
    const [skipped] = yield* auditor.skipped(projection)
    if (skipped !== undefined) return yield* Simulation.violate("an event is skipped once", rowOf(skipped))
    if (delivery === "ExactlyOnce") {
      const expected = new Set((yield* auditor.handled(projection)).map(rowOf))
      const rows = new Set((yield* table.rows).keys())
      const wrong = [...rows, ...expected].filter((row) => !rows.has(row) || !expected.has(row))
      if (wrong.length > 0) return yield* Simulation.violate("what is written is what was handled", wrong.join(", "))
    }

    yield* Simulation.note("one more fails, and nothing else happens")
    isRepaired = false
    failed.clear()
    const fails = Effect.fnUntraced(function*(row: string, times: number) {
      const until = (yield* elapsed) + promptness
      while ((failed.get(row)?.times ?? 0) < times) {
        if ((yield* elapsed) > until) {
          return yield* Simulation.violate("what is not skipped comes", `${row} has not failed ${times} times`)
        }
        yield* Effect.sleep("50 millis")
      }
    })
    const events = Effect.gen(function*() {
      const { persistenceId, sequenceNumber } = yield* append(0, 0, ["one", "broken", "three"])
      const event = { persistenceId, sequenceNumber: sequenceNumber - 1 } as EventId
      const row = rowOf(event)
      yield* append(0, 2, ["another"])
      yield* fails(row, 1)
      if (recovery === "putAside") return
      // what is withdrawn has no effect
      yield* ProjectionManagement.pause(projection)
      yield* Effect.sleep("2 seconds")
      yield* skip(event)
      const key = keyOf(0)
      const { offsets } = yield* database.inspect(OffsetStore.OffsetStore.use((_) => _.load(key, SliceRange.full)))
      yield* ProjectionManagement.rewind(key, { journal: undefined, offsets })
      const times = failed.get(row)!.times
      yield* ProjectionManagement.resume(projection)
      yield* fails(row, times + 1)
      yield* skip(event)
    })
    yield* once(database, "last of all", events)
    yield* auditor.settled({ within: promptness })
    if (recovery !== "putAside") {
      const gone = (yield* auditor.skipped(projection)).map(rowOf).join()
      const meant = [...failed.keys()].join()
      if (gone !== meant) {
        return yield* Simulation.violate("exactly what was to be is skipped", `'${gone}', and not '${meant}'`)
      }
    }
    yield* Effect.forEach(processes, ({ stop }) => stop, { discard: true })
  }).pipe(Effect.scoped)
