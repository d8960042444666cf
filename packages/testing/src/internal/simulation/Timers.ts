/** @internal What happens at a time. */
export interface Timer {
  /** In milliseconds since the beginning. */
  readonly at: number
  /** Which comes first of those at the same time. */
  readonly tie: number
  readonly fire: () => void
  cancelled: boolean
}

const isBefore = (a: Timer, b: Timer): boolean => a.at < b.at || a.at === b.at && a.tie < b.tie

/** @internal A binary heap: the earliest timer is taken first. Those that are cancelled stay until it is their turn. */
export class Timers {
  readonly #heap: Array<Timer> = []

  add(timer: Timer): void {
    const heap = this.#heap
    let at = heap.push(timer) - 1
    while (at > 0) {
      const parent = at - 1 >> 1
      if (!isBefore(timer, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = timer
  }

  /** The earliest, which stays. */
  peek(): Timer | undefined {
    while (this.#heap[0]?.cancelled) this.#pop()
    return this.#heap[0]
  }

  take(): Timer | undefined {
    const first = this.peek()
    if (first !== undefined) this.#pop()
    return first
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let at = 0
    while (true) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}
