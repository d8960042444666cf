import { LastUse, type Used } from "./LastUse.ts"

/** @internal What happens at a time, unless it is called off before. */
export class Deadline implements Used<Deadline> {
  readonly expire: () => void
  usedAt = 0
  before: Deadline | undefined
  after: Deadline | undefined
  isSet = false

  constructor(expire: () => void) {
    this.expire = expire
  }
}

/**
 * @internal
 * Deadlines that are all equally far away when they are set, so that they come in the order in which they were set, and one timer is enough for all. Pure. Times
 * are those of a monotonic clock, in milliseconds.
 */
export class Deadlines {
  readonly #within: number
  readonly #set = new LastUse<Deadline>()

  constructor(within: number) {
    this.#within = within
  }

  /** When the next one comes; undefined where there is none. */
  get next(): number | undefined {
    const { oldest } = this.#set
    return oldest && oldest.usedAt + this.#within
  }

  set(deadline: Deadline, now: number): void {
    deadline.isSet = true
    this.#set.add(deadline, now)
  }

  /** Does nothing where it has come already. */
  callOff(deadline: Deadline): void {
    if (!deadline.isSet) return
    deadline.isSet = false
    this.#set.remove(deadline)
  }

  /** Those whose time has come expire, in their order. */
  expire(now: number): void {
    for (
      let { oldest } = this.#set;
      oldest !== undefined && oldest.usedAt + this.#within <= now;
      { oldest } = this.#set
    ) {
      this.callOff(oldest)
      oldest.expire()
    }
  }
}
