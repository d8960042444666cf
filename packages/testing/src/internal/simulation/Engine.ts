import type { ProjectionRegistry } from "@sluice/core/ProjectionRegistry"
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"
import { choose, type Draw, fork, makeDraw } from "./randomness.ts"
import { Timers } from "./Timers.ts"

/** @internal When simulated time begins: 2026-01-01, in milliseconds since the epoch. */
export const epoch = 1_767_225_600_000

/** After how many operations a fiber gives way at the latest. Drawn for a whole run, as each finds other faults; so are the next two. */
const operationsUntilYield = [1, 4, 16, 64, 1024]

/** How often time passes while others could go on, and how much of it at most, in milliseconds. */
const timePasses = [0.002, 0.01, 0.05]
const lulls = [1, 10, 100]

type Task = () => void

/** The tasks of one fiber, in their order. */
class Dispatcher implements Scheduler.SchedulerDispatcher {
  readonly id: number
  readonly tasks: Array<readonly [priority: number, task: Task]> = []
  readonly runner: Runner
  isQueued = false

  constructor(runner: Runner, id: number) {
    this.runner = runner
    this.id = id
  }

  scheduleTask(task: Task, priority: number): void {
    if (this.runner.state === "Dead") return
    const { tasks } = this
    let at = tasks.length
    while (at > 0 && tasks[at - 1]![0] > priority) at--
    tasks.splice(at, 0, [priority, task])
    this.runner.queue(this)
  }

  flush(): void {
    while (this.tasks.length > 0) this.tasks.shift()![1]()
  }
}

/**
 * @internal
 * What the fibers of one process run on, from its start until it is killed. A frozen one runs nothing until it is thawed, and its timers are late.
 */
export class Runner implements Scheduler.Scheduler {
  readonly executionMode = "async"
  readonly name: string
  readonly clock: Clock.Clock
  readonly #engine: Engine
  #state: "Alive" | "Frozen" | "Dead" = "Alive"
  #held: Array<Dispatcher> = []
  readonly #ends: Array<() => void> = []
  /** By how much the time of day is ahead, in milliseconds. */
  ahead = 0

  constructor(engine: Engine, name: string) {
    this.#engine = engine
    this.name = name
    const millis = () => Math.floor(epoch + engine.now + this.ahead)
    const nanos = () => BigInt(Math.round((engine.now + this.ahead) * 1000)) * 1000n + BigInt(epoch) * 1_000_000n
    const monotonic = () => BigInt(Math.round(engine.now * 1_000_000))
    this.clock = {
      currentTimeMillisUnsafe: millis,
      currentTimeNanosUnsafe: nanos,
      monotonicTimeNanosUnsafe: monotonic,
      currentTimeMillis: Effect.sync(millis),
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanos: Effect.sync(monotonic),
      sleep: (duration) => {
        const delay = Duration.toMillis(duration)
        if (delay <= 0) return Effect.yieldNow
        if (!Number.isFinite(delay)) return Effect.never
        return Effect.callback<void>((resume) => {
          const cancel = this.after(delay, () => resume(Effect.void))
          return Effect.sync(cancel)
        })
      }
    }
  }

  get state(): "Alive" | "Frozen" | "Dead" {
    return this.#state
  }

  /** A fiber that may not run gives way, to tasks that do not run either. */
  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return this.#state !== "Alive" || this.#engine.isLong(fiber.currentOpCount)
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return new Dispatcher(this, this.#engine.nextId())
  }

  queue(dispatcher: Dispatcher): void {
    if (dispatcher.isQueued) return
    dispatcher.isQueued = true
    if (this.#state === "Frozen") this.#held.push(dispatcher)
    else this.#engine.ready.push(dispatcher)
  }

  /** Runs the task with the process's others, once the delay is over. The result takes it back. */
  after(delay: number, task: Task): () => void {
    const dispatcher = this.makeDispatcher()
    let isOff = false
    const unlessOff = () => isOff ? undefined : task()
    const enqueue = () => dispatcher.scheduleTask(unlessOff, 0)
    if (delay <= 0) {
      enqueue()
      return () => {
        isOff = true
      }
    }
    const cancel = this.#engine.after(delay, () => {
      if (this.#state === "Alive") task()
      else enqueue()
    })
    return () => {
      // it may have come already, to a process that is frozen
      isOff = true
      cancel()
    }
  }

  freeze(): void {
    if (this.#state !== "Alive") return
    this.#state = "Frozen"
    const { ready } = this.#engine
    for (let i = ready.length - 1; i >= 0; i--) {
      if (ready[i]!.runner === this) this.#held.push(...ready.splice(i, 1))
    }
  }

  thaw(): void {
    if (this.#state !== "Frozen") return
    this.#state = "Alive"
    this.#engine.ready.push(...this.#held)
    this.#held = []
  }

  /** None of its fibers runs again, and nothing of theirs is released. */
  kill(): void {
    if (this.#state === "Dead") return
    this.freeze()
    this.#state = "Dead"
    this.#held = []
    this.#engine.registries.delete(this)
    for (const end of this.#ends.splice(0)) end()
  }

  /** What others notice when it is killed. */
  onKill(end: () => void): void {
    this.#ends.push(end)
  }
}

/** @internal Why a run ended before its effect did. */
export type Failure =
  | { readonly _tag: "Violation"; readonly invariant: string; readonly message: string }
  | { readonly _tag: "Deadlock" }
  | { readonly _tag: "TooManySteps" }
  | { readonly _tag: "ProcessFailed"; readonly process: string; readonly cause: Cause.Cause<unknown> }

/** @internal Which task runs next, what time it is, and what has happened. All of it follows from the seed. */
export class Engine {
  readonly seed: number
  /** Draws what users' effects, ids and faults are made of: apart from what the engine draws, so that both are small changes of each other. */
  readonly draw: Draw
  readonly ready: Array<Dispatcher> = []
  /** The projections that run in each process. */
  readonly registries = new Map<Runner, ProjectionRegistry>()
  readonly #choose: Draw
  readonly #timers = new Timers()
  readonly #longest: number
  readonly #passing: number
  readonly #lull: number
  readonly #lines: Array<string> | undefined
  #now = 0
  #steps = 0
  #ids = 0
  #fingerprint = 0x811C9DC5
  #failure: Failure | undefined

  constructor(seed: number, isTraced: boolean) {
    this.seed = seed
    const draw = makeDraw(Math.imul(seed ^ seed >>> 16, 0x9E3779B1))
    this.#choose = fork(draw)
    this.draw = fork(draw)
    this.#longest = choose(draw, operationsUntilYield)
    this.#passing = choose(draw, timePasses)
    this.#lull = choose(draw, lulls)
    this.#lines = isTraced ? [] : undefined
  }

  /** In milliseconds since the beginning. */
  get now(): number {
    return this.#now
  }

  get steps(): number {
    return this.#steps
  }

  get failure(): Failure | undefined {
    return this.#failure
  }

  get lines(): ReadonlyArray<string> {
    return this.#lines ?? []
  }

  /** Tells two runs apart that differ in any step. */
  get fingerprint(): string {
    return (this.#fingerprint >>> 0).toString(16).padStart(8, "0")
  }

  nextId(): number {
    return ++this.#ids
  }

  isLong(operations: number): boolean {
    // giving way and going on are operations as well
    return operations > 3 + Math.floor(this.#choose() * this.#longest)
  }

  after(delay: number, fire: Task): () => void {
    const timer = { at: this.#now + delay, tie: this.#choose(), fire, cancelled: false }
    this.#timers.add(timer)
    return () => {
      timer.cancelled = true
    }
  }

  fail(failure: Failure): void {
    this.#failure ??= failure
  }

  /** Says what has happened. The text is only made if somebody will read it. */
  note(who: string, text: string | (() => string)): void {
    if (this.#lines === undefined) return
    this.#lines.push(
      `${this.#now.toFixed(3).padStart(12)} ${who.padEnd(12)} ${typeof text === "string" ? text : text()}`
    )
  }

  #mix(n: number): void {
    this.#fingerprint = Math.imul(this.#fingerprint ^ n, 0x01000193)
  }

  /** Goes on until the condition holds, or something fails. */
  run(isOver: () => boolean, maxSteps: number): void {
    while (!isOver() && this.#failure === undefined) {
      if (this.#steps++ === maxSteps) return this.fail({ _tag: "TooManySteps" })
      const next = this.#timers.peek()
      const passes = this.#choose() < this.#passing
      const until = passes ? this.#now + this.#choose() * this.#lull : this.#now
      if (next !== undefined && (next.at <= until || this.ready.length === 0)) {
        const timer = this.#timers.take()!
        this.#now = Math.max(this.#now, timer.at)
        this.#mix(Math.floor(this.#now * 1000))
        timer.fire()
      } else if (passes) {
        this.#now = until
      } else if (this.ready.length > 0) {
        this.#runReady()
      } else {
        return this.fail({ _tag: "Deadlock" })
      }
    }
  }

  #runReady(): void {
    const at = Math.floor(this.#choose() * this.ready.length)
    const dispatcher = this.ready[at]!
    const [, task] = dispatcher.tasks.shift()!
    if (dispatcher.tasks.length === 0) {
      const last = this.ready.pop()!
      if (last !== dispatcher) this.ready[at] = last
      dispatcher.isQueued = false
    }
    this.#mix(dispatcher.id)
    task()
  }
}
