import type { Engine, Runner } from "./Engine.ts"
import type { Draw } from "./randomness.ts"

type Task = () => void

/** @internal How long a message takes, in milliseconds. */
export interface Delay {
  readonly min: number
  readonly max: number
}

/** @internal One direction between two processes. What is sent while it is blocked arrives later, as TCP sends it again. */
export class Link {
  readonly #draw: Draw
  readonly #usual: Delay
  #delay: Delay
  #stalled: Array<Task> = []
  /** Since when nothing arrives, in milliseconds of the simulation. */
  blockedSince: number | undefined

  constructor(draw: Draw, usual: Delay) {
    this.#draw = draw
    this.#usual = usual
    this.#delay = usual
  }

  get delay(): number {
    const { max, min } = this.#delay
    return min + this.#draw() * (max - min)
  }

  slow(delay: Delay): void {
    this.#delay = delay
  }

  block(now: number): void {
    this.blockedSince ??= now
  }

  /** It is as it was in the beginning. */
  heal(): void {
    this.blockedSince = undefined
    this.#delay = this.#usual
    const stalled = this.#stalled
    this.#stalled = []
    for (const again of stalled) again()
  }

  /** Runs the task now, or when the link is healed. */
  pass(task: Task): void {
    if (this.blockedSince === undefined) task()
    else this.#stalled.push(task)
  }
}

/** @internal What comes to one end of a call, one after another, among the tasks of its process. */
export class Inbox {
  readonly #runner: Runner
  readonly #tasks: Array<Task> = []
  #isScheduled = false

  constructor(runner: Runner) {
    this.#runner = runner
  }

  push(task: Task): void {
    this.#tasks.push(task)
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#runner.after(0, () => {
      this.#isScheduled = false
      for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) task()
    })
  }
}

/** @internal One direction of a call: tasks arrive in their order, each after a delay of the link. */
export class Pipe {
  readonly #engine: Engine
  readonly #link: Link
  readonly #arrive: (task: Task) => void
  readonly #underWay: Array<Task> = []

  constructor(engine: Engine, link: Link, arrive: (task: Task) => void) {
    this.#engine = engine
    this.#link = link
    this.#arrive = arrive
  }

  send(task: Task): void {
    this.#underWay.push(task)
    const arrive = () => this.#link.pass(() => this.#arrive(this.#underWay.shift()!))
    this.#engine.after(this.#link.delay, arrive)
  }
}
