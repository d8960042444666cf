/**
 * Services and databases in one process, whose every interleaving, time, random number and fault follow from a seed: what fails once fails again,
 * step by step, with the same seed.
 *
 * @since 0.1.0
 */
import * as ExpectedError from "@sluice/core/ExpectedError"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Engine, Runner } from "./internal/simulation/Engine.ts"
import { withSeededGlobals } from "./internal/simulation/globals.ts"
import { fork, makeCrypto } from "./internal/simulation/randomness.ts"
import { contextOf, place, start } from "./internal/simulation/runners.ts"

/**
 * The simulation that an effect runs in.
 *
 * @category services
 * @since 0.1.0
 */
export class Simulation extends Context.Service<Simulation, {
  readonly seed: number
  /** Virtual milliseconds since the simulation began, which no change of a clock moves. */
  readonly elapsed: Effect.Effect<number>
}>()("@sluice/testing/Simulation") {}

/**
 * Why a simulation ended before its effect did: an invariant was violated, nothing could go on any more, it took more steps than it may, or a
 * process failed.
 *
 * @category errors
 * @since 0.1.0
 */
export class SimulationFailed
  extends ExpectedError.TaggedError<SimulationFailed>("@sluice/testing/SimulationFailed")("SimulationFailed", {
    reason: Schema.Literals(["Violation", "Deadlock", "TooManySteps", "ProcessFailed"]),
    /** The invariant that was violated, or the process that has failed. */
    what: Schema.UndefinedOr(Schema.String),
    detail: Schema.String
  })
{
  override get message(): string {
    switch (this.reason) {
      case "Violation":
        return `Violates '${this.what}': ${this.detail}`
      case "ProcessFailed":
        return `Process '${this.what}' failed: ${this.detail}`
      default:
        return this.detail
    }
  }
}

/**
 * What became of a simulation.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outcome<out A, out E> {
  readonly seed: number
  readonly exit: Exit.Exit<A, E | SimulationFailed>
  readonly steps: number
  /** Virtual milliseconds. */
  readonly elapsed: number
  /** The same for two runs that took the same steps, and only for those. */
  readonly fingerprint: string
  /** What has happened, line by line, if it was asked for. */
  readonly trace: ReadonlyArray<string>
}

/**
 * How an effect is simulated.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** An integer. */
  readonly seed: number
  /** It fails when it has taken so many steps, and has not ended: 300,000 by default. A step is a turn of one fiber, or that time passes. */
  readonly maxSteps?: number | undefined
  /** Whether to keep a trace. */
  readonly trace?: boolean | undefined
}

/**
 * Runs an effect and the processes that it starts, at once and in no time, and says what became of it.
 *
 * **Details**
 *
 * A fiber runs until it waits, or a random while; then any other that can go on does. When none can, time passes until the next timer, and now and
 * then before. `Clock`, `Random`, ids and logs are the simulation's. `Date.now`, `Math.random` and `crypto.randomUUID` follow the seed as well.
 *
 * When the effect ends, its processes are killed.
 *
 * **Gotchas**
 *
 * All of it is one synchronous call, in which no promise resolves and no real socket, file or timer answers: an effect that waits for one never goes
 * on. The simulation then ends in a deadlock, or after `maxSteps` where something else goes on, as a projection does that polls.
 *
 * **Example** (Two fibers in any order, the same one for a seed)
 *
 * ```ts
 * import * as Simulation from "@sluice/testing/Simulation"
 * import { Effect } from "effect"
 *
 * const race = Effect.gen(function*() {
 *   const order: Array<string> = []
 *   const run = (name: string) => Effect.andThen(Effect.sleep("1 hour"), Effect.sync(() => order.push(name)))
 *   yield* Effect.all([run("a"), run("b")], { concurrency: "unbounded" })
 *   return order.join()
 * })
 * const orders = Array.from({ length: 20 }, (_, seed) => Simulation.run(race, { seed }).exit)
 * new Set(orders.map(String)).size // => 2
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run = <A, E>(
  effect: Effect.Effect<A, E, Simulation | Scope.Scope>,
  { maxSteps = 300_000, seed, trace = false }: Options
): Outcome<A, E> => {
  const engine = new Engine(seed, trace)
  const runner = new Runner(engine, "main")
  let exit: Exit.Exit<A, E | SimulationFailed> | undefined
  const draw = fork(engine.draw)
  withSeededGlobals(draw, () => runner.clock.currentTimeMillisUnsafe(), makeCrypto(draw), () => {
    start(withSimulation(engine, contextOf(engine, runner)), Effect.scoped(effect), (ended) => exit = ended)
    engine.run(() => exit !== undefined, maxSteps)
  })
  const failure = engine.failure
  if (failure !== undefined) exit = Exit.fail(failedAs(failure, engine))
  else if (Exit.isFailure(exit!)) engine.note("main", () => Cause.pretty((exit as Exit.Failure<A, E>).cause))
  const { fingerprint, lines, now, steps } = engine
  return { seed, exit: exit!, steps, elapsed: now, fingerprint, trace: lines }
}

/**
 * A seed with which a scenario fails.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counterexample<out A> {
  readonly seed: number
  /** The smallest input that was found to fail with this seed, and the one that was found first. */
  readonly input: A
  readonly original: A
  /** What became of the smallest, with its trace. */
  readonly outcome: Outcome<unknown, unknown>
}

/**
 * Runs a scenario with many seeds, each of which draws its input as well, and returns the first that fails, with an input made as small as it can be.
 *
 * **Example** (Increments that overwrite each other)
 *
 * ```ts
 * import * as Simulation from "@sluice/testing/Simulation"
 * import { Arbitrary, Effect, Schema } from "effect"
 *
 * const names = Arbitrary.array(Arbitrary.schema(Schema.Literals(["a", "b", "c"])))
 * const found = Simulation.explore(names, (names) =>
 *   Effect.gen(function*() {
 *     let count = 0
 *     const increment = Effect.gen(function*() {
 *       const before = count
 *       yield* Effect.yieldNow
 *       count = before + 1
 *     })
 *     yield* Effect.forEach(names, () => increment, { concurrency: "unbounded" })
 *     if (count !== names.length) return yield* Simulation.violate("all are counted", `${count} of ${names.length}`)
 *   }), { seeds: 100 })
 *
 * found?.input.length // => 2
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const explore = <A>(
  inputs: Arbitrary.Arbitrary<A>,
  scenario: (input: A) => Effect.Effect<unknown, unknown, Simulation | Scope.Scope>,
  options: Omit<Options, "seed" | "trace"> & {
    /** How many seeds are tried. */
    readonly seeds: number
    /** The first of them, 1 by default. */
    readonly from?: number | undefined
    /** How large inputs are, as `Arbitrary` has it. 20 by default. */
    readonly size?: number | undefined
    /** How many smaller inputs are tried at most once one has failed. 300 by default. */
    readonly maxShrinks?: number | undefined
  }
): Counterexample<A> | undefined => {
  const { from = 1, maxShrinks = 300, maxSteps, seeds, size = 20 } = options
  for (let seed = from; seed < from + seeds; seed++) {
    const holds = (input: A): boolean => Exit.isSuccess(run(scenario(input), { seed, maxSteps }).exit)
    const result = Effect.runSync(Arbitrary.checkEffect(inputs, holds, { runs: 1, seed, size, maxShrinks }))
    if (result._tag === "Falsified") {
      const { initialInput, shrunkInput } = result
      const outcome = run(scenario(shrunkInput), { seed, maxSteps, trace: true })
      return { seed, input: shrunkInput, original: initialInput, outcome }
    }
  }
  return undefined
}

/**
 * What a scenario fails with, and the seed and the input that it does so with, for a person.
 *
 * **Example** (An order that is never placed)
 *
 * ```ts
 * import * as Simulation from "@sluice/testing/Simulation"
 * import { Arbitrary, Schema } from "effect"
 *
 * const names = Arbitrary.array(Arbitrary.schema(Schema.Literals(["a", "b"])))
 * const found = Simulation.explore(names, () => Simulation.violate("all is placed", "nothing is"), { seeds: 1 })
 * found && Simulation.format(found)
 * // => "Seed 1 fails after 1 steps, at 0 ms: Violates 'all is placed': nothing is\nWith []"
 * ```
 *
 * @category converting
 * @since 0.1.0
 */
export const format = ({ input, outcome, seed }: Counterexample<unknown>): string => {
  const { elapsed, exit, steps } = outcome
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  const why = error instanceof Error ? error.message : String(error)
  return `Seed ${seed} fails after ${steps} steps, at ${Math.round(elapsed)} ms: ${why}\nWith ${JSON.stringify(input)}`
}

const withSimulation = <R>(engine: Engine, context: Context.Context<R>): Context.Context<R | Simulation> =>
  Context.add(context, Simulation, { seed: engine.seed, elapsed: Effect.sync(() => engine.now) })

const failedAs = (failure: NonNullable<Engine["failure"]>, engine: Engine): SimulationFailed => {
  switch (failure._tag) {
    case "Violation":
      return new SimulationFailed({ reason: failure._tag, what: failure.invariant, detail: failure.message })
    case "ProcessFailed":
      return new SimulationFailed({
        reason: failure._tag,
        what: failure.process,
        detail: Cause.pretty(failure.cause)
      })
    case "Deadlock":
      return new SimulationFailed({
        reason: failure._tag,
        what: undefined,
        detail: `Nothing can go on at ${engine.now} ms, as all wait for each other, or for something real`
      })
    case "TooManySteps":
      return new SimulationFailed({
        reason: failure._tag,
        what: undefined,
        detail: `Has not ended after ${
          engine.steps - 1
        } steps, at ${engine.now} ms: it goes on for ever, or waits for something real while others poll`
      })
  }
}

/**
 * Ends the simulation, as something is that must not be.
 *
 * @category operations
 * @since 0.1.0
 */
export const violate = (invariant: string, message: string): Effect.Effect<never, never, Simulation> =>
  Effect.flatMap(place, ({ engine, runner }) => {
    engine.note(runner.name, () => `violates '${invariant}': ${message}`)
    engine.fail({ _tag: "Violation", invariant, message })
    return Effect.never
  })

/**
 * Writes a line into the trace.
 *
 * @category operations
 * @since 0.1.0
 */
export const note = (text: string): Effect.Effect<void, never, Simulation> =>
  Effect.map(place, ({ engine, runner }) => engine.note(runner.name, text))

/**
 * Something that runs, is killed, and is started again, with its storage elsewhere.
 *
 * @category models
 * @since 0.1.0
 */
export interface Process {
  readonly name: string
  /** Starts it anew, unless it runs. */
  readonly start: Effect.Effect<void>
  /**
   * Ends it as a power cut would: none of its fibers runs again, no finalizer does, and its connections break. Nothing happens where it has
   * ended already.
   */
  readonly kill: Effect.Effect<void>
  /** Interrupts it, and waits for its finalizers. */
  readonly stop: Effect.Effect<void>
  /** It runs nothing, and knows nothing of it, until it is thawed. Its connections stay. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  /** Sets its time of day so much ahead of the others', or behind. Its monotonic time goes on. */
  readonly setClock: (ahead: Duration.Input) => Effect.Effect<void>
  /** Waits until it has come to its end by itself, or was killed or stopped. */
  readonly ended: Effect.Effect<void>
  readonly isRunning: Effect.Effect<boolean>
}

/**
 * Starts a process: an effect, or a layer that stays built until it is killed. When it fails, so does the simulation.
 *
 * **Example** (A process that is killed releases nothing)
 *
 * ```ts
 * import * as Simulation from "@sluice/testing/Simulation"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const said: Array<string> = []
 *   const service = yield* Simulation.process(
 *     "service",
 *     Effect.acquireRelease(Effect.sync(() => said.push("open")), () => Effect.sync(() => said.push("closed"))).pipe(
 *       Effect.andThen(Effect.never)
 *     )
 *   )
 *   yield* Effect.sleep("1 second")
 *   yield* service.kill
 *   yield* service.start
 *   yield* Effect.sleep("1 second")
 *   yield* service.stop
 *   return said
 * })
 * Simulation.run(program, { seed: 1 }).exit // => { _id: "Exit", _tag: "Success", value: ["open", "open", "closed"] }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const process = <A, E>(
  name: string,
  program: Effect.Effect<A, E, Simulation | Scope.Scope> | Layer.Layer<A, E, Simulation>
): Effect.Effect<Process, never, Simulation> =>
  Effect.flatMap(place, ({ engine }) => {
    const effect: Effect.Effect<unknown, E, Simulation | Scope.Scope> = Layer.isLayer(program)
      ? Layer.launch(program as Layer.Layer<A, E, Simulation>)
      : program as Effect.Effect<A, E, Simulation | Scope.Scope>
    let current: { readonly runner: Runner; readonly fiber: Fiber.Fiber<unknown, unknown> } | undefined
    let ahead = 0
    let isStopping = false
    const waiting = new Set<() => void>()
    const end = () => {
      current = undefined
      for (const resume of waiting) resume()
      waiting.clear()
    }
    const ended = Effect.flatMap(place, ({ runner }) =>
      Effect.callback<void>((resume) => {
        if (current === undefined) return resume(Effect.void)
        const told = () => void runner.after(0, () => resume(Effect.void))
        waiting.add(told)
        return Effect.sync(() => waiting.delete(told))
      }))
    const startNow = Effect.sync(() => {
      if (current !== undefined) return
      engine.note(name, "starts")
      isStopping = false
      const runner = new Runner(engine, name)
      runner.ahead = ahead
      const own = withSimulation(engine, contextOf(engine, runner))
      // its first step is one of its own
      runner.after(0, () => {
        if (current?.runner !== runner) return
        const fiber = start(own, Effect.scoped(effect), (exit) => {
          if (current?.runner === runner) end()
          if (Exit.isSuccess(exit)) return engine.note(name, "has ended")
          if (isStopping && Cause.hasInterruptsOnly(exit.cause)) return
          engine.note(name, () => Cause.pretty(exit.cause))
          engine.fail({ _tag: "ProcessFailed", process: name, cause: exit.cause })
        })
        if (current?.runner === runner) current = { runner, fiber }
      })
      current = { runner, fiber: undefined as never }
    })
    const whileRunning = (f: (runner: Runner) => void) =>
      Effect.sync(() => {
        if (current !== undefined) f(current.runner)
      })
    const self: Process = {
      name,
      start: startNow,
      ended,
      isRunning: Effect.sync(() => current !== undefined),
      kill: whileRunning((runner) => {
        engine.note(name, "is killed")
        runner.kill()
        end()
      }),
      stop: Effect.suspend(() => {
        if (current === undefined) return Effect.void
        engine.note(name, "is stopped")
        const { fiber, runner } = current
        if (fiber === undefined) {
          runner.kill()
          return Effect.sync(end)
        }
        isStopping = true
        runner.after(0, () => fiber.interruptUnsafe())
        return ended
      }),
      freeze: whileRunning((runner) => {
        engine.note(name, "is frozen")
        runner.freeze()
      }),
      thaw: whileRunning((runner) => {
        engine.note(name, "is thawed")
        runner.thaw()
      }),
      setClock: (by) =>
        Effect.suspend(() => {
          ahead = Duration.toMillis(Duration.fromInputUnsafe(by))
          engine.note(name, () => `has its clock ${ahead} ms ahead`)
          return whileRunning((runner) => runner.ahead = ahead)
        })
    }
    return Effect.as(startNow, self)
  })
