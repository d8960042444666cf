/**
 * What goes wrong in a simulation, and when: a value that is generated, printed, and made smaller where it shows something.
 *
 * @since 0.1.0
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type { Faults, SimulatedDatabase } from "./SimulatedDatabase.ts"
import type { Process, Simulation } from "./Simulation.ts"

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

/**
 * When it begins and how long it lasts, in milliseconds, and what it concerns: 0 is the first of the processes, or of the databases. Behind the last
 * one they are counted from the first again, so that a plan fits any number of them.
 */
const when = { at: upTo(3000), lasts: upTo(2000), target: upTo(7) }

/** How far a time of day is set ahead, in seconds: behind, if it is negative. */
const seconds = Schema.Int.check(Schema.isBetween({ minimum: -60, maximum: 60 }))

/**
 * Something that goes wrong `at` so many milliseconds, and `lasts` so many.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Fault = Schema.Union([
  /** A process is killed, and started again afterwards. Nothing happens to one that has come to its end by itself. */
  Schema.TaggedStruct("Kill", when),
  /** A process stands still. */
  Schema.TaggedStruct("Freeze", when),
  /** A process's time of day is so many seconds ahead of the others', or behind. It goes back, or forth, when that ends. */
  Schema.TaggedStruct("Clock", { ...when, seconds }),
  /** Nobody reaches a database, and its connections break. */
  Schema.TaggedStruct("Absent", when),
  /** A database answers nobody, and loses nothing. */
  Schema.TaggedStruct("Silent", when),
  /** Messages to a database, and from it, take so many milliseconds at most. */
  Schema.TaggedStruct("Slow", { ...when, latency: upTo(500) }),
  /** A database refuses so many percent of what is asked for. */
  Schema.TaggedStruct("Refuses", { ...when, percent: upTo(40) }),
  /** Of so many percent of the appends and commits the answer is lost. */
  Schema.TaggedStruct("LosesAnswers", { ...when, percent: upTo(60) }),
  /** So many percent of the notifications are lost. */
  Schema.TaggedStruct("LosesNotifications", { ...when, percent: upTo(100) }),
  /** The connections of a database break, once. */
  Schema.TaggedStruct("Disconnect", when),
  /** The same for a database. */
  Schema.TaggedStruct("DatabaseClock", { ...when, seconds })
])

/**
 * Something that goes wrong.
 *
 * @category models
 * @since 0.1.0
 */
export type Fault = typeof Fault.Type

/**
 * What goes wrong, in any order.
 *
 * @category schemas
 * @since 0.1.0
 */
export const FaultPlan = Schema.Array(Fault)

/**
 * What goes wrong, in any order.
 *
 * @category models
 * @since 0.1.0
 */
export type FaultPlan = typeof FaultPlan.Type

/**
 * Up to eight faults.
 *
 * @category generators
 * @since 0.1.0
 */
export const arbitrary: Arbitrary.Arbitrary<FaultPlan> = Arbitrary.array(Arbitrary.schema(Fault), { maxLength: 8 })

/**
 * Lets it go wrong. When it ends, everything runs again and nothing suffers from anything any more.
 *
 * **Details**
 *
 * Faults that concern the same process or database may overlap: a process that is killed twice runs again when both are over. A process that has
 * come to its end, as its program has, or was stopped, is not started again: that is up to whoever has made it.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (
  plan: FaultPlan,
  on: { readonly processes: ReadonlyArray<Process>; readonly databases: ReadonlyArray<SimulatedDatabase> }
): Effect.Effect<void, never, Simulation> => {
  const active = new Map<object, Set<Fault>>()
  const killed = new Set<Process>()
  const one = Semaphore.makeUnsafe(1)
  const of = (target: object): Set<Fault> => {
    let faults = active.get(target)
    if (faults === undefined) active.set(target, faults = new Set())
    return faults
  }
  const happen = (fault: Fault) => {
    const target = isOfProcess(fault)
      ? on.processes[fault.target % on.processes.length]
      : on.databases[fault.target % on.databases.length]
    if (target === undefined) return Effect.void
    // one after the other, or what is right no more comes last
    const apply = one.withPermit(Effect.suspend(() =>
      isOfProcess(fault)
        ? upholdProcess(target as Process, of(target), fault, killed)
        : upholdDatabase(target as SimulatedDatabase, of(target), fault)
    ))
    return Effect.sleep(fault.at).pipe(
      Effect.andThen(Effect.suspend(() => {
        of(target).add(fault)
        return apply
      })),
      Effect.andThen(Effect.sleep(fault.lasts)),
      Effect.andThen(Effect.suspend(() => {
        of(target).delete(fault)
        return apply
      }))
    )
  }
  return Effect.forEach(plan, happen, { concurrency: "unbounded", discard: true })
}

type OfProcess = Extract<Fault, { readonly _tag: "Kill" | "Freeze" | "Clock" }>

const isOfProcess = (fault: Fault): fault is OfProcess =>
  fault._tag === "Kill" || fault._tag === "Freeze" || fault._tag === "Clock"

const has = (active: ReadonlySet<Fault>, tag: Fault["_tag"]): boolean => [...active].some(({ _tag }) => _tag === tag)

/** Brings a process into the state that the faults which concern it say, when one of them begins or ends. */
const upholdProcess = (
  process: Process,
  active: ReadonlySet<Fault>,
  changed: OfProcess,
  killed: Set<Process>
): Effect.Effect<void> => {
  switch (changed._tag) {
    case "Kill":
      if (has(active, "Kill")) {
        return Effect.flatMap(process.isRunning, (isRunning) => {
          if (isRunning) killed.add(process)
          return process.kill
        })
      }
      return killed.delete(process)
        ? Effect.andThen(process.start, has(active, "Freeze") ? process.freeze : Effect.void)
        : Effect.void
    case "Freeze":
      return has(active, "Freeze") ? process.freeze : process.thaw
    case "Clock": {
      const clock = [...active].findLast((fault) => fault._tag === "Clock")
      return process.setClock(clock === undefined ? 0 : clock.seconds * 1000)
    }
  }
}

/** The same for a database. */
const upholdDatabase = (
  database: SimulatedDatabase,
  active: ReadonlySet<Fault>,
  changed: Fault
): Effect.Effect<void> => {
  switch (changed._tag) {
    case "Silent":
      return has(active, "Silent") ? database.freeze : database.thaw
    case "Disconnect":
      return active.has(changed) ? database.disconnect : Effect.void
    case "DatabaseClock": {
      const clock = [...active].findLast((fault) => fault._tag === "DatabaseClock")
      return database.setClock(clock === undefined ? 0 : clock.seconds * 1000)
    }
    default:
      return database.suffer([...active].reduce(together, {}))
  }
}

const together = (faults: Faults, fault: Fault): Faults => {
  switch (fault._tag) {
    case "Absent":
      return { ...faults, absent: true }
    case "Slow":
      return { ...faults, latency: Math.max(faults.latency ?? 0, fault.latency) }
    case "Refuses":
      return { ...faults, refuses: Math.max(faults.refuses ?? 0, fault.percent / 100) }
    case "LosesAnswers":
      return { ...faults, losesAnswers: Math.max(faults.losesAnswers ?? 0, fault.percent / 100) }
    case "LosesNotifications":
      return { ...faults, losesNotifications: Math.max(faults.losesNotifications ?? 0, fault.percent / 100) }
    default:
      return faults
  }
}
