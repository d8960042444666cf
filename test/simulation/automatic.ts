/**
 * What the simulator runs: processes that share a projection whose number of workers follows its lag, under loads that change, while people scale it as well,
 * and while something goes wrong.
 */
import * as EntityType from "@sluice/core/EntityType"
import * as EventCodec from "@sluice/core/EventCodec"
import * as HeartbeatStore from "@sluice/core/HeartbeatStore"
import * as Journal from "@sluice/core/Journal"
import * as Projection from "@sluice/core/Projection"
import * as ProjectionManagement from "@sluice/core/ProjectionManagement"
import * as ProjectionRegistry from "@sluice/core/ProjectionRegistry"
import * as Slice from "@sluice/core/Slice"
import * as Source from "@sluice/core/Source"
import * as Auditor from "@sluice/testing/Auditor"
import * as FaultPlan from "@sluice/testing/FaultPlan"
import * as SimulatedDatabase from "@sluice/testing/SimulatedDatabase"
import * as Simulation from "@sluice/testing/Simulation"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import { allTaken, once } from "./endings.ts"
import { launch, makeLeases } from "./placement.ts"

const Order = EntityType.make("order", { codec: EventCodec.string })

/** So many events in a second, for so many seconds. */
const Load = Schema.Struct({ rate: Schema.Literals([0, 1, 3, 8]), lasts: Schema.Literals([10, 30, 60]) })

/** What a person commands, so many seconds after what was done before. */
const Scale = Schema.Struct({
  after: Schema.Literals([0, 5, 20, 45]),
  to: Schema.Literals([1, 2, 3, 8, "asInCode", "asInCode"])
})

/** Has each worker go to another process. */
const Move = Schema.Struct({ after: Schema.Literals([5, 20]), to: Schema.Literals(["others"]) })

/** Somebody says how many workers there are to be just as the projection scales itself. Either comes first, as the database has it. */
const Rival = Schema.Struct({ to: Schema.Literals([1, 2, 3, 8]), nth: Schema.Literals([1, 1, 2]) })

const Step = Schema.Union([Scale, Scale, Move])

export interface Automatic {
  readonly faults: FaultPlan.FaultPlan
  readonly loads: ReadonlyArray<typeof Load.Type>
  readonly steps: ReadonlyArray<typeof Step.Type>
  readonly services: number
  readonly isStrict: boolean
  /** Of exactly-once handlers a simulated database runs one at a time, however many workers there are. */
  readonly delivery: "AtLeastOnce" | "AtMostOnce"
  readonly min: number
  readonly max: number
  readonly catchUpWithin: number
  /** How many milliseconds an event takes. */
  readonly work: number
  /** What there is at the end, when nothing goes wrong and nobody says anything. */
  readonly end: "constant load" | "no load"
  readonly isLossy: boolean
  readonly latency: number
  readonly rivals: ReadonlyArray<typeof Rival.Type>
}

export const automatic: Arbitrary.Arbitrary<Automatic> = Arbitrary.map(
  Arbitrary.all({
    faults: Arbitrary.array(Arbitrary.schema(FaultPlan.Fault), { maxLength: 4 }),
    loads: Arbitrary.array(Arbitrary.schema(Load), { maxLength: 3 }),
    steps: Arbitrary.array(Arbitrary.schema(Step), { maxLength: 5 }),
    services: Arbitrary.schema(Schema.Literals([1, 2, 3])),
    isStrict: Arbitrary.schema(Schema.Boolean),
    delivery: Arbitrary.schema(Schema.Literals(["AtLeastOnce", "AtMostOnce"])),
    min: Arbitrary.schema(Schema.Literals([1, 2])),
    max: Arbitrary.schema(Schema.Literals([4, 8])),
    catchUpWithin: Arbitrary.schema(Schema.Literals([20, 60])),
    work: Arbitrary.schema(Schema.Literals([400, 1000])),
    end: Arbitrary.schema(Schema.Literals(["constant load", "no load"])),
    isLossy: Arbitrary.schema(Schema.Boolean),
    latency: Arbitrary.schema(Schema.Literals([0, 2, 30])),
    rivals: Arbitrary.array(Arbitrary.schema(Rival), { maxLength: 1 })
  }),
  (input): Automatic => ({
    ...input,
    faults: input.faults
      // when something was commanded is so by the clock of the database
      .filter(({ _tag }) => _tag !== "DatabaseClock")
      // while something is about to change
      .map((fault, i) => ({ ...fault, at: fault.at + i * 12_000 }))
  })
)

const projection = "orders"

/** Four in each eighth of the slices, so that up to eight workers have as much to do. */
const ids = (() => {
  const eighths = Array.from({ length: 8 }, (): Array<string> => [])
  for (let i = 0; eighths.some(({ length }) => length < 4); i++) {
    const eighth = eighths[Math.floor(Slice.ofPersistenceId(`order|o-${i}` as never) / 128)]!
    if (eighth.length < 4) eighth.push(`o-${i}`)
  }
  return Array.from({ length: 32 }, (_, i) => eighths[i % 8]![Math.floor(i / 8)]!)
})()

/** How often processes say how they are doing, in milliseconds. */
const interval = 2000

const patience = "10 minutes"

/** For how many seconds the number stays at least after a change, and before it goes down, as docs say. What is slow may take a few off that. */
const settles = 25
const rests = 290

interface Change {
  readonly at: number
  readonly workers: number | undefined
  readonly isAutomatic: boolean
}

export const run = (input: Automatic): Effect.Effect<void, unknown, Simulation.Simulation> =>
  Effect.gen(function*() {
    const { catchUpWithin, delivery, faults, isLossy, isStrict, latency, loads, max, min, services, work } = input
    const database = yield* SimulatedDatabase.make("database", { lossy: isLossy, latency })
    const auditor = yield* Auditor.make({ journal: database })
    const leases = yield* makeLeases(isStrict)
    const handle = () => Effect.sleep(work)
    const source = Source.make({ ...Source.journal(Order).provider, onReplaced: "rewind" })
    const Orders: Projection.Projection<unknown, SimulatedDatabase.Storage> = auditor.projection(
      (source as Source.Source<string, any, any>).pipe(
        delivery === "AtMostOnce"
          ? Projection.atMostOnce(projection, handle)
          : Projection.atLeastOnce(projection, handle, { saveAfter: 3, saveWithin: "200 millis" }),
        Projection.workers({ min, max, catchUpWithin: `${catchUpWithin} seconds` })
      )
    )
    const rivals = input.rivals.map((rival) => ({ ...rival, left: rival.nth }))
    const scaling = yield* Queue.unbounded<1 | 2 | 3 | 8>()
    /** Its command is on its way for long enough for another one to come before it. */
    const withRivals = (management: ProjectionManagement.ProjectionManagement["Service"]) => ({
      ...management,
      setWorkersAt: (...args: Parameters<typeof management.setWorkersAt>) =>
        Effect.suspend(() => {
          const due = rivals.filter((rival) => --rival.left === 0)
          for (const { to } of due) Queue.offerUnsafe(scaling, to)
          const setting = management.setWorkersAt(...args)
          return due.length === 0 ? setting : Effect.andThen(Effect.sleep(10 + 3 * latency), setting)
        })
    })
    const registries: Array<ProjectionRegistry.ProjectionRegistry> = []
    const service = (i: number) =>
      Effect.gen(function*() {
        registries[i] = yield* ProjectionRegistry.ProjectionRegistry
        return yield* launch(leases, i, Orders)
      }).pipe(
        Effect.provideService(HeartbeatStore.Heartbeat, HeartbeatStore.heartbeat({ name: `service-${i}`, interval })),
        Effect.updateService(ProjectionManagement.ProjectionManagement, withRivals),
        Effect.provide(database.layer)
      )

    let written = 0
    const load = ({ lasts, rate }: { readonly rate: number; readonly lasts: number }) =>
      rate === 0 ? Effect.sleep(lasts * 1000) : Effect.forEach(
        Array.from({ length: rate * lasts }),
        () =>
          Effect.andThen(
            Effect.ignore(
              Effect.suspend(() => Journal.append(Order, { id: ids[written++ % ids.length]!, events: ["placed"] }))
            ),
            Effect.sleep(1000 / rate)
          ),
        { discard: true }
      )
    const leftLoads = [...loads]
    const leftSteps = [...input.steps]
    const loading = Effect.gen(function*() {
      for (let next = leftLoads.shift(); next !== undefined; next = leftLoads.shift()) yield* load(next)
    })
    const commanding = Effect.gen(function*() {
      for (let next = leftSteps.shift(); next !== undefined; next = leftSteps.shift()) {
        yield* Effect.sleep(next.after * 1000)
        yield* next.to === "others"
          ? leases.move
          : Effect.ignore(ProjectionManagement.scale(projection, next.to, { by: "ada" }))
      }
    })
    const processes: Array<Simulation.Process> = []
    for (let i = 0; i < services; i++) processes.push(yield* Simulation.process(`service-${i}`, service(i)))
    const people: Array<Simulation.Process> = []
    people.push(yield* Simulation.process("writer", Effect.provide(loading, database.layer)))
    people.push(yield* Simulation.process("person", Effect.provide(commanding, database.layer)))
    const rivalling = Effect.flatMap(Queue.take(scaling), (to) =>
      Effect.ignore(ProjectionManagement.scale(projection, to, { by: "ada" })))
    yield* Simulation.process("rival", Effect.provide(Effect.forever(rivalling), database.layer))

    /** How the number has changed, oldest first. */
    const changes = Effect.map(
      database.inspect(Effect.orDie(
        ProjectionManagement.ProjectionManagement.use(({ history }) =>
          history(projection, undefined, 1000)
        )
      )),
      (commands) =>
        commands.toReversed().filter(({ command }) => command === "Scale").map(({ at, by, target }): Change => ({
          at: at / 1_000_000,
          workers: target === "as in code" ? undefined : Number(target!.split(" ")[0]),
          isAutomatic: by === "automatic"
        }))
    )
    /** What must hold of all changes, whoever has made them. */
    const check = Effect.gen(function*() {
      let last: Change | undefined
      let changedAt = -Infinity
      for (const change of yield* changes) {
        const { at, isAutomatic, workers } = change
        if (isAutomatic && workers !== undefined) {
          const from = last?.workers ?? min
          const seconds = at - changedAt
          changedAt = at
          if (workers < min || workers > max) {
            return yield* Simulation.violate("bounds are held", `${workers} workers, from ${min} to ${max}`)
          }
          if (last !== undefined && !last.isAutomatic && last.workers !== undefined) {
            return yield* Simulation.violate(
              "who scales has the last word",
              `${last.workers} workers become ${workers}`
            )
          }
          if (seconds < settles || workers < from && seconds < rests) {
            return yield* Simulation.violate(
              "the number does not flap",
              `from ${from} to ${workers} after ${seconds} s`
            )
          }
        }
        last = change
      }
      return last
    })
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep("15 seconds"), check)))

    yield* FaultPlan.run(faults, { processes: [...processes, ...people], databases: [database] })
    yield* Simulation.note("no more faults")
    yield* allTaken("people go on", [leftLoads, leftSteps], patience)
    yield* Effect.forEach(people, ({ ended }) => ended, { discard: true })
    rivals.splice(0)
    yield* auditor.settled({ within: patience })
    const said = yield* check
    const there = () => registries.reduce((sum, registry) => sum + registry.workers(projection).length, 0)
    /** The workers of all processes are as many as that. */
    const comesTrue = Effect.fnUntraced(function*(workers: number) {
      for (let tries = 0; there() !== workers; tries++) {
        if (tries === 100) {
          return yield* Simulation.violate("workers are as commanded", `there are ${there()}, and not ${workers}`)
        }
        yield* Effect.sleep("200 millis")
      }
    })
    yield* comesTrue(said?.workers ?? min)

    yield* Simulation.note(`as many as the lag asks for, with ${input.end}`)
    const before = (yield* changes).length + 1
    yield* once(database, "last person", ProjectionManagement.scale(projection, "asInCode", { by: "ada" }))
    const own = Effect.map(changes, (all) => all.slice(before).map(({ workers }) => workers!))
    if (input.end === "constant load") {
      // more than two workers can do
      const rate = work === 400 ? 6 : 2.5
      const needed = rate * work / 1000
      const lasts = 720
      yield* once(database, "last writer", load({ rate, lasts }))
      const numbers = yield* own
      const now = numbers.at(-1) ?? min
      if (now < Math.min(max, needed)) {
        return yield* Simulation.violate("there are enough", `${numbers.join()} of ${max} do the work of ${needed}`)
      }
      const falls = [min, ...numbers].findIndex((n, i, all) => i > 0 && n < all[i - 1]!)
      const rises = [min, ...numbers].findLastIndex((n, i, all) => i > 0 && n > all[i - 1]!)
      if (falls !== -1 && rises > falls) {
        return yield* Simulation.violate("a constant load ends in one number", `after ${min} come ${numbers.join()}`)
      }
    } else {
      const most = 4
      yield* once(database, "last writer", load({ rate: 8, lasts: 90 }))
      yield* auditor.settled({ within: patience })
      const numbers = yield* own
      if (numbers.length === 0) {
        return yield* Simulation.violate("there are enough", `${min} do the work of ${most} and more`)
      }
      // once down by half each
      yield* Effect.sleep(`${400 * Math.log2(max / min) + 60} seconds`)
      const now = (yield* own).at(-1)
      if (now !== min) {
        return yield* Simulation.violate("there are not too many", `${now} of ${min} have nothing to do`)
      }
    }
    yield* auditor.settled({ within: patience })
    const last = yield* check
    yield* comesTrue(last?.workers ?? min)
    yield* Effect.forEach(processes, ({ stop }) => stop, { discard: true })
  }).pipe(Effect.scoped)
