/** How long an entity that could not be recovered is left alone, in milliseconds: longer each time. */
const rest = { first: 50, most: 1_000 }

/**
 * @internal
 * What an activation does.
 *
 * - `new`: it has had no command yet.
 * - `recovering`: its state is not known, and somebody finds it out, or is about to.
 * - `running`: its state is known, and somebody handles its commands.
 * - `passivating`: as one of these, but it goes when no command is left.
 * - `idle`: its state is known, and nobody works on it.
 * - `failed`: its state could not be found out, and nobody works on it.
 * - `gone`: nobody may use it any more.
 */
export type Life = "new" | "recovering" | "running" | "passivating" | "idle" | "failed" | "gone"

/**
 * @internal
 * What becomes of a command that has come.
 *
 * - `begins`: it waits, and whoever brought it has to see to it that somebody works.
 * - `waits`: it waits, and somebody works.
 * - `refused`: as many wait as may.
 * - `failed`: the entity could not be recovered just now, so it is not tried again yet.
 */
export type Arrival = "begins" | "waits" | "refused" | "failed"

/**
 * @internal
 * The commands that wait for an activation, in the order in which they came, and what the activation does meanwhile. Pure. Whoever works on it takes the
 * `next` command until there is none. Where the state is not known and commands wait, it is recovered first: then say whether that was done,
 * `recovered`, or has `failed`. Once the state is not known any more, it is `lost`. Times are those of a monotonic clock, in milliseconds.
 */
export class Mailbox<Command> {
  readonly #capacity: number
  #waiting: Array<Command> = []
  #life: Exclude<Life, "passivating"> = "new"
  #isPassivating = false
  /** How often it has failed one after the other. */
  #failures = 0
  #restsUntil = -Infinity

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get life(): Life {
    return this.#isPassivating && this.isBusy ? "passivating" : this.#life
  }

  /** Whether somebody works on it. */
  get isBusy(): boolean {
    return this.#life === "running" || this.#life === "recovering"
  }

  /** How many commands wait. The one in hand is not among them. */
  get size(): number {
    return this.#waiting.length
  }

  get needsRecovery(): boolean {
    return this.#life === "recovering"
  }

  /** A command has come. */
  offer(command: Command, now: number): Arrival {
    switch (this.#life) {
      case "running":
      case "recovering":
        if (this.#waiting.length >= this.#capacity) return "refused"
        this.#waiting.push(command)
        return "waits"
      case "new":
      case "failed":
        if (now < this.#restsUntil) return "failed"
        this.#life = "recovering"
        break
      case "idle":
        this.#life = "running"
        break
      case "gone":
        throw new Error("BUG: a command was given to an activation that is gone")
    }
    this.#waiting.push(command)
    return "begins"
  }

  /** Whoever has sent the command waits for it no longer. Says whether it was taken out: one that has begun is not. */
  withdraw(command: Command): boolean {
    const at = this.#waiting.indexOf(command)
    if (at < 0) return false
    this.#waiting.splice(at, 1)
    return true
  }

  /**
   * Takes the next command in hand, as the one before is done. None while there is none: then nobody works on it any more, and it is idle, or gone if it
   * passivates or its state is not known.
   */
  next(): Command | undefined {
    const command = this.#waiting.shift()
    if (command === undefined) {
      this.#life = this.#life === "running" && !this.#isPassivating ? "idle" : "gone"
    }
    return command
  }

  /** The state is known. */
  recovered(): void {
    this.#life = "running"
    this.#failures = 0
  }

  /** The state is not known any more: another has written, or it is not known whether we have. */
  lost(): void {
    this.#life = "recovering"
  }

  /** The state could not be found out, and is to be left alone for so long at least. Takes all commands that wait. Nobody works on it any more. */
  failed(now: number, atLeast: number): ReadonlyArray<Command> {
    const waiting = this.#waiting
    this.#waiting = []
    this.#life = this.#isPassivating ? "gone" : "failed"
    this.#restsUntil = now + Math.max(atLeast, Math.min(rest.most, rest.first * 2 ** this.#failures))
    this.#failures++
    return waiting
  }

  /** It is to go: at once if nobody works on it, else when no command is left. */
  passivate(): void {
    if (this.isBusy) this.#isPassivating = true
    else this.#life = "gone"
  }
}
