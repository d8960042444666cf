import * as Effect from "effect/Effect"

/** In nanoseconds. */
const most = 10_000_000n

/**
 * @internal
 * A driver that answers at once holds up the whole process meanwhile. After some milliseconds of such statements, whoever runs them gives way
 * to others, so that time-outs and other fibers come to their turn within a transaction of many slow statements.
 */
export class GiveWay {
  private heldUp = 0n

  /** That it was held up for so many nanoseconds more. */
  add(nanos: bigint): void {
    this.heldUp += nanos
  }

  get isDue(): boolean {
    return this.heldUp >= most
  }

  /** Gives way, if it is time to. */
  readonly whenDue: Effect.Effect<void> = Effect.suspend(() => {
    if (!this.isDue) return Effect.void
    this.heldUp = 0n
    return Effect.yieldNow
  })
}
