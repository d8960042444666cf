/** @internal What is in the order. It is part of it, so that no other memory is needed for each. */
export interface Used<A> {
  /** When it was used last. */
  usedAt: number
  before: A | undefined
  after: A | undefined
}

/**
 * @internal
 * What nobody uses, in the order of its last use. Pure. Times are those of a monotonic clock, in milliseconds.
 */
export class LastUse<A extends Used<A>> {
  #oldest: A | undefined
  #newest: A | undefined
  #size = 0

  /** The one that was used least recently. */
  get oldest(): A | undefined {
    return this.#oldest
  }

  get size(): number {
    return this.#size
  }

  /** It has been used up to now, and is not in the order yet. */
  add(used: A, now: number): void {
    used.usedAt = now
    used.before = this.#newest
    if (this.#newest === undefined) this.#oldest = used
    else this.#newest.after = used
    this.#newest = used
    this.#size++
  }

  /** It is in the order, and in use again, or gone. */
  remove(used: A): void {
    const { after, before } = used
    if (before === undefined) this.#oldest = after
    else before.after = after
    if (after === undefined) this.#newest = before
    else after.before = before
    used.before = undefined
    used.after = undefined
    this.#size--
  }
}
