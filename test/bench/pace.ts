/** What a producer does live. */
export interface LiveOptions {
  readonly name: string
  readonly rate: number
  readonly seconds: number
  /** How many entities wake up meanwhile. */
  readonly waking: number
}

/** Calls `f` so many times a second, whether or not it has returned, and returns what it did. */
export const pace = async <A>(
  rate: number,
  seconds: number,
  f: (n: number) => Promise<A>
): Promise<ReadonlyArray<A>> => {
  const total = rate === 0 ? 0 : Math.max(1, Math.round(rate * seconds))
  const start = performance.now()
  const results: Array<Promise<A>> = []
  while (results.length < total) {
    const due = Math.min(total, Math.floor((performance.now() - start) * rate / 1000) + 1)
    while (results.length < due) results.push(f(results.length))
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  return Promise.all(results)
}
