/** How long replays take before the event loop has its turn, in milliseconds; an element is handled to its end. */
const turn = 1

/** For so many milliseconds after something new, more of it is expected any time. */
const recent = 100

/** How long replays rest at most between two of their turns in a gap, in milliseconds. A handler that takes longer waits for others itself. */
const longestRest = 10

/** While both wait, replays have as much time as this times that of new elements: a quarter of all. */
const share = 1 / 3

/**
 * How far ahead of their share replays may be, or behind, in milliseconds. Nobody waits longer for that, but for one element that takes longer by
 * itself.
 */
const most = 1_000

/**
 * @internal
 * Whose turn it is, where new elements and those of replays wait for the same worker. New ones go first: replays have the gaps, and a quarter of the time
 * where there are none. In a gap that may end any time they rest for as long as they have taken: a process that is always busy is late to hear of what is
 * new, and so is its source, which reads replays as well. Pure. Times are those of a monotonic clock, in milliseconds.
 */
export class Turns {
  /** How much of their share replays have not had; below zero, how much more they have had. */
  #owed = 0
  #begun = 0
  #isReplay = false
  #isEnded = true
  /** Whether both have waited when the turn began. */
  #isContested = false
  /** When something new has waited last. */
  #lastNew = -Infinity
  #restsUntil = -Infinity

  /** Whether it is the turn of a replay. */
  get isReplay(): boolean {
    return this.#isReplay
  }

  /** For how many milliseconds more replays rest, unless something new comes meanwhile. */
  rest(now: number): number {
    return Math.max(0, this.#restsUntil - now)
  }

  /** The turn is over. What comes before the next one, such as a wait, is nobody's. Replays do not rest after it where they are pressing. */
  end(isNewWaiting: boolean, now: number, isPressing = false): void {
    if (isNewWaiting) this.#lastNew = now
    if (this.#isEnded) return
    this.#isEnded = true
    const taken = now - this.#begun
    if (this.#isReplay && !this.#isContested && !isPressing && now - this.#lastNew < recent) {
      this.#restsUntil = now + Math.min(taken, longestRest)
    }
    if (this.#isContested) {
      this.#owed = this.#isReplay
        ? Math.max(-most, this.#owed - taken)
        : Math.min(Math.max(most, taken * share), this.#owed + taken * share)
    }
  }

  /** The turn before is over, if nobody has said so. Says whether the next one is that of a replay. */
  next(isNewWaiting: boolean, isReplayWaiting: boolean, now: number, isPressing = false): boolean {
    this.end(isNewWaiting, now, isPressing)
    this.#isEnded = false
    this.#begun = now
    this.#isContested = isNewWaiting && isReplayWaiting
    this.#isReplay = isReplayWaiting && (isNewWaiting ? this.#owed > 0 : isPressing || this.#restsUntil <= now)
    // in a gap nobody is kept waiting, and without replays they miss nothing
    if (!this.#isContested) this.#owed = this.#isReplay ? 0 : Math.min(0, this.#owed)
    return this.#isReplay
  }

  /** Whether the turn is to end after an element. */
  isOver(isNewWaiting: boolean, isReplayWaiting: boolean, now: number): boolean {
    const taken = now - this.#begun
    if (!this.#isReplay) return isReplayWaiting && (!this.#isContested || this.#owed + taken * share >= most)
    return this.#isContested ? taken >= Math.min(turn, this.#owed) : isNewWaiting || taken >= turn
  }
}
