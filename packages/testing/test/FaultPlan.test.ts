import { assert, describe, it } from "@effect/vitest"
import * as FaultPlan from "@sluice/testing/FaultPlan"
import * as SimulatedDatabase from "@sluice/testing/SimulatedDatabase"
import * as Simulation from "@sluice/testing/Simulation"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

const seeds = Array.from({ length: 10 }, (_, seed) => seed)

const value = <A>({ exit }: Simulation.Outcome<A, unknown>): A => {
  if (Exit.isFailure(exit)) throw new Error(Cause.pretty(exit.cause))
  return exit.value
}

const kill = (at: number, lasts: number, target = 0): FaultPlan.Fault => ({ _tag: "Kill", at, lasts, target })

/** When a process begins that ends by itself after so many seconds, under kills: to half a second, as time passes between a fault and its effect. */
const begun = (seconds: number, faults: FaultPlan.FaultPlan): ReadonlyArray<ReadonlyArray<number>> =>
  seeds.map((seed) =>
    value(Simulation.run(
      Effect.gen(function*() {
        const simulation = yield* Simulation.Simulation
        const at: Array<number> = []
        const program = Effect.andThen(
          Effect.map(simulation.elapsed, (millis) => at.push(Math.floor(millis / 500) * 500)),
          Effect.sleep(seconds * 1000)
        )
        const process = yield* Simulation.process("process", program)
        yield* FaultPlan.run(faults, { processes: [process], databases: [] })
        yield* Effect.sleep("1 minute")
        return [...at, Number(yield* process.isRunning)]
      }),
      { seed }
    ))
  )

/** How far the time of day of a process is ahead of its monotonic time, before it is set, meanwhile, and afterwards. */
const shown = (seconds: number) =>
  seeds.map((seed) =>
    value(Simulation.run(
      Effect.gen(function*() {
        const ahead: Array<number> = []
        const look = Effect.forever(Effect.andThen(
          Effect.sleep("1 second"),
          Effect.all([Clock.currentTimeMillis, Clock.monotonicTimeNanos]).pipe(
            Effect.map(([now, monotonic]) => ahead.push(Math.round((now - Number(monotonic) / 1e6) / 1000)))
          )
        ))
        const process = yield* Simulation.process("process", look)
        const clock: FaultPlan.Fault = { _tag: "Clock", at: 1500, lasts: 1000, target: 0, seconds }
        yield* FaultPlan.run([clock], { processes: [process], databases: [] })
        yield* Effect.sleep("1 second")
        return ahead.map((at) => at - ahead[0]!)
      }),
      { seed }
    ))
  )

describe("a plan", () => {
  it("leaves a database as it was when several faults end at the same time", () => {
    for (let seed = 0; seed < 300; seed++) {
      value(Simulation.run(
        Effect.gen(function*() {
          const database = yield* SimulatedDatabase.make("database")
          const table = SimulatedDatabase.table<string>(database)
          yield* FaultPlan.run([
            { _tag: "Absent", at: 4, lasts: 1996, target: 0 },
            { _tag: "Refuses", at: 6, lasts: 1994, target: 0, percent: 40 }
          ], { processes: [], databases: [database] })
          const writing = Effect.orDie(Effect.provide(table.set("key", "row"), database.layer))
          yield* (yield* Simulation.process("writer", writing)).ended
        }),
        { seed }
      ))
    }
  })

  it("starts a process again that it has killed, once all of the kills are over", () => {
    for (const times of begun(5, [kill(1000, 1000)])) assert.deepStrictEqual(times, [0, 2000, 0])
    for (const times of begun(5, [kill(1000, 1000), kill(1500, 2000)])) assert.deepStrictEqual(times, [0, 3500, 0])
    for (const times of begun(5, [kill(1000, 500), kill(2000, 500)])) assert.deepStrictEqual(times, [0, 1500, 2500, 0])
  })

  it("has a process run again when a kill and a freeze of it end at the same time", () => {
    const faults: FaultPlan.FaultPlan = [
      kill(500, 500),
      { _tag: "Freeze", at: 600, lasts: 400, target: 0 },
      { _tag: "Freeze", at: 1000, lasts: 0, target: 0 }
    ]
    const runs = Effect.gen(function*() {
      let beats = 0
      const beating = Effect.forever(Effect.andThen(Effect.sleep("100 millis"), Effect.sync(() => beats++)))
      const process = yield* Simulation.process("process", beating)
      yield* FaultPlan.run(faults, { processes: [process], databases: [] })
      const before = beats
      yield* Effect.sleep("1 minute")
      return beats > before
    })
    const stuck = Array.from({ length: 300 }, (_, seed) => seed).filter((seed) =>
      !value(Simulation.run(runs, { seed }))
    )
    assert.deepStrictEqual(stuck, [])
  })

  it("does nothing to a process that has come to its end", () => {
    for (const times of begun(1, [kill(2000, 500)])) assert.deepStrictEqual(times, [0, 0])
  })

  it("sets clocks behind and ahead, and back again", () => {
    for (const ahead of shown(-60)) assert.deepStrictEqual(ahead, [0, -60, 0])
    for (const ahead of shown(60)) assert.deepStrictEqual(ahead, [0, 60, 0])
  })

  it("counts what it concerns from the first again", () => {
    for (const seed of seeds) {
      const outcome = Simulation.run(
        Effect.gen(function*() {
          const database = yield* SimulatedDatabase.make("database")
          const processes = [
            yield* Simulation.process("first", Effect.never),
            yield* Simulation.process("second", Effect.never)
          ]
          const running = Effect.forEach(processes, ({ isRunning }) => isRunning)
          const faults = FaultPlan.run([kill(0, 2000, 3)], { processes, databases: [database] })
          return yield* Effect.all([faults, Effect.delay(running, "1 second")], { concurrency: "unbounded" })
        }),
        { seed }
      )
      assert.deepStrictEqual(value(outcome), [undefined, [true, false]])
    }
  })
})
