/**
 * @internal
 * Bytes of others that this process keeps, and who waits for there to be fewer. It may be exceeded by what each of those who take at the same moment takes.
 */
export class MemoryBudget {
  readonly #limit: number
  readonly #waiting = new Set<() => void>()
  #taken = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get isExhausted(): boolean {
    return this.#taken >= this.#limit
  }

  take(bytes: number): void {
    this.#taken += bytes
  }

  give(bytes: number): void {
    this.#taken -= bytes
    // each looks again, as the one before it may have taken all
    for (const resume of this.#waiting) {
      if (this.isExhausted) return
      this.#waiting.delete(resume)
      resume()
    }
  }

  /** Calls the function once there is something left. */
  onceLeft(resume: () => void): () => void {
    this.#waiting.add(resume)
    return () => this.#waiting.delete(resume)
  }
}
