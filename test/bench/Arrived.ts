/** Counts what arrives of a stream whose entities have dense sequence numbers from 1 on. */
export class Arrived {
  readonly #total: number
  readonly #last = new Map<string, number>()
  #count = 0
  #doubled = 0
  #gaps = 0

  constructor(total: number) {
    this.#total = total
  }

  /** Says whether all have arrived. */
  see(persistenceId: string, sequenceNumber: number): boolean {
    const last = this.#last.get(persistenceId) ?? 0
    if (sequenceNumber <= last) {
      this.#doubled++
      return false
    }
    if (sequenceNumber > last + 1) this.#gaps++
    this.#last.set(persistenceId, sequenceNumber)
    return ++this.#count === this.#total
  }

  get counts() {
    return { lost: this.#gaps + this.#total - this.#count, doubled: this.#doubled }
  }
}
