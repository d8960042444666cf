/**
 * @internal
 * The logs that somebody holds the lock of for long, and how many appends of this process wait for each. Who appends to one of them waits as
 * well, and does not try the lock first.
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

  /** An append waits for the log no longer. With the last one the log is not busy any more. */
  leave(log: string): void {
    const left = (this.#waiting.get(log) ?? 0) - 1
    if (left > 0) this.#waiting.set(log, left)
    else this.#waiting.delete(log)
  }
}
