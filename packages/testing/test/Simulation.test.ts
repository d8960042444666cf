import { assert, describe, it } from "@effect/vitest"
import * as Simulation from "@sluice/testing/Simulation"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Semaphore from "effect/Semaphore"
import { execFileSync } from "node:child_process"
import { replay } from "./kit/replay.ts"

const value = <A, E>({ exit }: Simulation.Outcome<A, E>): A => {
  if (Exit.isFailure(exit)) throw new Error(Cause.pretty(exit.cause))
  return exit.value
}

const failure = ({ exit }: Simulation.Outcome<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined

const seeds = Array.from({ length: 40 }, (_, seed) => seed)

describe("a seed", () => {
  it("says all that happens, in another process too", () => {
    const some = seeds.slice(0, 8)
    const here = some.map(replay)
    assert.deepStrictEqual(some.map(replay), here)
    const there = execFileSync(process.execPath, [
      "--conditions=@sluice/source",
      "--disable-warning=ExperimentalWarning",
      new URL("kit/replay.ts", import.meta.url).pathname,
      ...some.map(String)
    ], { encoding: "utf8", timeout: 240_000 })
    assert.deepStrictEqual(there.trim().split("\n"), here)
    assert.strictEqual(new Set(here.map((line) => JSON.parse(line)[4])).size, some.length)
  }, 300_000)

  it("finds an update that another has undone", () => {
    const program = Effect.gen(function*() {
      let count = 0
      const increment = Effect.gen(function*() {
        yield* Effect.yieldNow
        const before = count
        yield* Effect.yieldNow
        count = before + 1
      })
      yield* Effect.all([increment, increment], { concurrency: "unbounded" })
      return count
    })
    assert.deepStrictEqual(new Set(seeds.map((seed) => value(Simulation.run(program, { seed })))), new Set([1, 2]))
  })

  it("says what is random", () => {
    const program = Effect.all([Random.next, Random.nextInt, Random.nextBetween(3, 4)])
    const of = (seed: number) => value(Simulation.run(program, { seed }))
    assert.deepStrictEqual(of(1), of(1))
    assert.notDeepEqual(of(1), of(2))
    assert.isTrue(of(1)[2] >= 3 && of(1)[2] < 4)
  })
})

describe("time", () => {
  it("passes when nobody can go on", () => {
    const program = Effect.gen(function*() {
      const before = yield* Clock.currentTimeMillis
      const monotonic = yield* Clock.monotonicTimeNanos
      yield* Effect.sleep("3 days")
      const after = yield* Clock.currentTimeMillis
      return [after - before, Number((yield* Clock.monotonicTimeNanos) - monotonic) / 1e6, Date.now() - after]
    })
    const days = Duration.toMillis("3 days")
    for (const seed of seeds) assert.deepStrictEqual(value(Simulation.run(program, { seed })), [days, days, 0])
  })

  it("passes in order, whatever the order in which it was asked for", () => {
    const program = Effect.gen(function*() {
      const woken: Array<number> = []
      const delays = Array.from({ length: 50 }, (_, i) => i * 7 % 50 + 1)
      yield* Effect.forEach(
        delays,
        (delay) => Effect.andThen(Effect.sleep(delay * 1000), Effect.sync(() => woken.push(delay))),
        { concurrency: "unbounded" }
      )
      return woken
    })
    for (const seed of seeds) {
      assert.deepStrictEqual(value(Simulation.run(program, { seed })), Array.from({ length: 50 }, (_, i) => i + 1))
    }
  })

  it("of day can be set back, while monotonic time goes on", () => {
    const program = Effect.gen(function*() {
      const times: Array<readonly [number, number]> = []
      const look = Effect.map(
        Effect.all([Clock.currentTimeMillis, Clock.monotonicTimeNanos]),
        ([wall, monotonic]) => void times.push([wall, Number(monotonic / 1_000_000n)])
      )
      const service = yield* Simulation.process(
        "service",
        Effect.forever(Effect.andThen(look, Effect.sleep("1 second")))
      )
      yield* Effect.sleep("5 seconds")
      yield* service.setClock("-1 hour")
      yield* Effect.sleep("5 seconds")
      return times
    })
    const times = value(Simulation.run(program, { seed: 1 }))
    assert.isTrue(times.some(([wall], i) => i > 0 && wall < times[i - 1]![0] - 3_000_000))
    assert.isTrue(times.every(([, monotonic], i) => i === 0 || monotonic > times[i - 1]![1]))
  })
})

describe("a process", () => {
  it("that is killed runs nothing any more, and releases nothing", () => {
    for (const seed of seeds) {
      const outcome = Simulation.run(
        Effect.gen(function*() {
          let isKilled = false
          const after: Array<string> = []
          const log = (what: string) => Effect.sync(() => isKilled ? after.push(what) : 0)
          const busy = Effect.forever(Effect.andThen(log("ran"), Effect.yieldNow))
          const service = yield* Simulation.process(
            "service",
            Effect.gen(function*() {
              yield* Effect.addFinalizer(() => log("released"))
              yield* Effect.forkScoped(Effect.onExit(busy, () => log("ended")))
              yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(3), log("slept"))))
              return yield* Effect.never
            })
          )
          yield* Effect.flatMap(Random.nextBetween(0, 10), Effect.sleep)
          yield* service.kill
          isKilled = true
          yield* Effect.sleep("1 minute")
          return after
        }),
        { seed }
      )
      assert.deepStrictEqual(value(outcome), [])
    }
  })

  it("that is killed is woken by nobody", () => {
    for (const seed of seeds) {
      const outcome = Simulation.run(
        Effect.gen(function*() {
          const go = yield* Deferred.make<void>()
          const lock = yield* Semaphore.make(1)
          let woken = 0
          const service = yield* Simulation.process(
            "service",
            Effect.andThen(Deferred.await(go), lock.withPermit(Effect.sync(() => woken++)))
          )
          yield* Effect.sleep("1 second")
          yield* service.kill
          yield* Deferred.succeed(go, undefined)
          yield* Effect.sleep("1 second")
          return woken
        }),
        { seed }
      )
      assert.strictEqual(value(outcome), 0)
    }
  })

  it("that is frozen goes on where it was once it is thawed", () => {
    for (const seed of seeds) {
      const outcome = Simulation.run(
        Effect.gen(function*() {
          let ticks = 0
          const service = yield* Simulation.process(
            "service",
            Effect.forever(Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => ticks++)))
          )
          yield* Effect.sleep("3500 millis")
          yield* service.freeze
          const before = ticks
          yield* Effect.sleep("1 hour")
          const meanwhile = ticks
          yield* service.thaw
          yield* Effect.sleep("2500 millis")
          return [before, meanwhile - before, ticks - meanwhile]
        }),
        { seed }
      )
      assert.deepStrictEqual(value(outcome), [3, 0, 3])
    }
  })

  it("ends, is stopped and started again", () => {
    for (const seed of seeds) {
      const outcome = Simulation.run(
        Effect.gen(function*() {
          const said: Array<string> = []
          const say = (what: string) => Effect.sync(() => void said.push(what))
          const short = yield* Simulation.process("short", Effect.andThen(Effect.sleep("1 second"), say("short")))
          yield* short.ended
          yield* short.start
          yield* short.ended
          const long = yield* Simulation.process(
            "long",
            Effect.onExit(Effect.never, () => Effect.andThen(Effect.sleep("1 second"), say("released")))
          )
          yield* Effect.sleep("1 second")
          yield* long.stop
          return [...said, yield* long.isRunning]
        }),
        { seed }
      )
      assert.deepStrictEqual(value(outcome), ["short", "short", "released", false])
    }
  })
})

const reason = (effect: Effect.Effect<unknown, unknown, Simulation.Simulation>): string | undefined => {
  const error = failure(Simulation.run(effect, { seed: 1, maxSteps: 1000 }))
  return error instanceof Simulation.SimulationFailed ? error.reason : undefined
}

describe("a simulation fails", () => {
  it("when all wait for each other", () => {
    assert.strictEqual(reason(Effect.never), "Deadlock")
  })

  it("when it does not end", () => {
    assert.strictEqual(reason(Effect.forever(Effect.sleep("1 second"))), "TooManySteps")
  })

  it("when it waits for a promise, or sets a timer", () => {
    assert.strictEqual(reason(Effect.promise(() => new Promise(() => {}))), "Deadlock")
    const outcome = Simulation.run(Effect.sync(() => setTimeout(() => {}, 1)), { seed: 1 })
    assert.match(String(failure(outcome)), /use Effect.sleep/)
  })

  it("when a process does", () => {
    assert.strictEqual(
      reason(Effect.andThen(Simulation.process("p", Effect.fail("no")), Effect.never)),
      "ProcessFailed"
    )
  })

  it("when an invariant is violated", () => {
    assert.strictEqual(reason(Simulation.violate("nothing is lost", "it was")), "Violation")
  })
})
