/** For how many seconds the past counts, more or less. */
const memory = 10

/** What takes longer than so many seconds at its pace stands still: 30 days. */
const horizon = 30 * 24 * 60 * 60

/**
 * @internal
 * How fast a worker is, smoothed: how many events it handles in a second, and by how many its lag falls.
 */
export class Pace {
  #handled: number | undefined
  #rate = 0
  #handledAt = 0
  #lag: number | undefined
  #falls = 0
  #lagAt = 0

  /** It has handled so many events in all, at a monotonic time in seconds. */
  handles(handled: number, at: number): void {
    const seconds = at - this.#handledAt
    if (this.#handled !== undefined && seconds > 0) {
      this.#rate = smoothed(this.#rate, (handled - this.#handled) / seconds, seconds)
    }
    if (this.#handled === undefined || seconds > 0) this.#handledAt = at
    this.#handled = handled
  }

  /** It is so many events behind; undefined if that is not known any more. */
  lags(lag: number | undefined, at: number): void {
    const seconds = at - this.#lagAt
    if (lag === undefined || this.#lag === undefined) this.#falls = 0
    else if (seconds > 0) {
      const falls = (this.#lag - lag) / seconds
      // of a fall that has just begun it is known no better
      this.#falls = this.#falls === 0 ? falls : smoothed(this.#falls, falls, seconds)
    }
    if (lag === undefined || this.#lag === undefined || seconds > 0) this.#lagAt = at
    this.#lag = lag
  }

  /** Events in a second, to a tenth: what stands still is 0 soon. */
  get rate(): number {
    return Math.round(this.#rate * 10) / 10
  }

  /** In how many milliseconds the lag will be 0, as it falls now; undefined if it is not known, does not fall, or takes more than 30 days. */
  get eta(): number | undefined {
    if (this.#lag === 0) return 0
    if (this.#lag === undefined || this.#falls <= 0) return undefined
    // a fall that was smoothed never ends, and gets as small as one likes
    const seconds = this.#lag / this.#falls
    return seconds <= horizon ? Math.round(seconds) * 1000 : undefined
  }
}

const smoothed = (before: number, now: number, seconds: number): number =>
  now + (before - now) * Math.exp(-seconds / memory)
