/**
 * @internal
 * Until when this process has its shards, by its own clock. A lease counts from before it was asked for, so that it ends here no later than it does for others: a
 * process that was halted finds so when it goes on, before it does anything else.
 */
export class LeaseTimes {
  readonly #takeover: number
  readonly #until = new Map<number, number>()
  #aliveUntil = -Infinity

  /** `takeover` in milliseconds. */
  constructor(takeover: number) {
    this.#takeover = takeover
  }

  /** The process itself was heard of by the database. */
  heard(askedAt: number): void {
    this.#aliveUntil = Math.max(this.#aliveUntil, askedAt + this.#takeover)
  }

  /** The database has given it these shards, or said that it still has them. */
  leased(shards: Iterable<number>, askedAt: number): void {
    for (const shard of shards) {
      this.#until.set(shard, Math.max(this.#until.get(shard) ?? -Infinity, askedAt + this.#takeover))
    }
  }

  released(shard: number): void {
    this.#until.delete(shard)
  }

  /** Whether no other process can have the shard at that time. A process that is not heard of loses all. */
  has(shard: number, at: number): boolean {
    return at < this.#aliveUntil && at < (this.#until.get(shard) ?? -Infinity)
  }
}
