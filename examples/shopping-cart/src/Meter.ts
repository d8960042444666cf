/**
 * Events a second, over the last moments.
 */
interface Sample {
  /** Seconds. */
  readonly time: number
  readonly appended: number
  readonly processed: number
}

/** Seconds. */
const window = 1

export class Meter {
  #samples: Array<Sample> = []

  add(sample: Sample): { readonly appendedPerSecond: number; readonly processedPerSecond: number } {
    this.#samples.push(sample)
    while (this.#samples.length > 2 && this.#samples[1]!.time <= sample.time - window) this.#samples.shift()
    const first = this.#samples[0]!
    const seconds = sample.time - first.time
    return {
      appendedPerSecond: seconds > 0 ? (sample.appended - first.appended) / seconds : 0,
      processedPerSecond: seconds > 0 ? (sample.processed - first.processed) / seconds : 0
    }
  }
}
