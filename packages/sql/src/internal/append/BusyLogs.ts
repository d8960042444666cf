/**
 * @internal
 * The logs whose lock somebody holds for long, and how many appends of this process wait for each. A further append to
 * one of them waits as well, without trying the lock first.
 */
export class BusyLogs {
  readonly #waiting = new Map<string, number>()

  has(log: string): boolean {
    return this.#waiting.has(log)
  }

  /** An append begins to wait for the log. */
  enter(log: string): void {
    this.#waiting.set(log, (this.#waiting.get(log) ?? 0) + 1)
  }

  /** An append does not wait for the log any more. After the last one the log is not busy. */
  leave(log: string): void {
    const left = (this.#waiting.get(log) ?? 0) - 1
    if (left > 0) this.#waiting.set(log, left)
    else this.#waiting.delete(log)
  }
}
