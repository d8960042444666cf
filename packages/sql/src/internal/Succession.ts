import type { Statement } from "@sluice/core/Transaction"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as RealTime from "../adapter/RealTime.ts"
import type { Following, Lease } from "./Lease.ts"

/** For how long a transaction may wait that has begun ahead, in milliseconds. What it has locked is locked meanwhile. */
const patience = 100

/**
 * @internal
 * Transactions that follow each other on one connection. With the COMMIT of one goes the BEGIN of the next, and its first statement, where that is known by
 * then. Nothing else of the next is sent before the commit is answered. What has begun so and is not taken in time is rolled back.
 */
export class Succession implements Following {
  readonly #next: () => Statement | undefined
  #begun: Lease | undefined
  /** Nobody has come in time for what has begun last: what is done between two transactions takes too long, and none begins ahead. */
  #isSlow = false
  /** When one was committed since then. */
  #committedAt = -Infinity
  #inTime: (() => void) | undefined
  /** Whoever gives up what has begun waits for what is being given up already. */
  readonly #turn = Semaphore.makeUnsafe(1)

  constructor(next: () => Statement | undefined) {
    this.#next = next
  }

  next(): Statement | undefined {
    return this.#isSlow ? undefined : this.#next()
  }

  begun(lease: Lease): void {
    this.#begun = lease
    this.#inTime = RealTime.after(patience, () => {
      this.#isSlow = true
      void Effect.runFork(this.abandon)
    })
  }

  committed(): void {
    if (this.#isSlow) this.#committedAt = RealTime.now()
  }

  /** The next transaction is to begin, with that statement. What has begun with another one, or is lost, is rolled back. */
  comeTo(statement: () => Statement | undefined): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#isSlow && RealTime.now() - this.#committedAt < patience) this.#isSlow = false
      return this.#begun === undefined || this.#begun.beganWith(statement()) ? Effect.void : this.abandon
    })
  }

  /** The connection on which the next transaction has begun, which is the caller's from now on. */
  take(): Lease | undefined {
    const lease = this.#begun
    this.#begun = undefined
    this.#inTime?.()
    return lease
  }

  /** Rolls back what has begun and nobody has taken. */
  readonly abandon: Effect.Effect<void> = Effect.suspend(() => {
    const lease = this.take()
    return lease === undefined ? Effect.void : Effect.asVoid(Effect.andThen(lease.rollback(), lease.release()))
  }).pipe(Semaphore.withPermit(this.#turn), Effect.uninterruptible)
}

/** @internal The succession that the transaction of a fiber is to be one of. */
export const Current = Context.Reference<Succession | undefined>("@sluice/sql/Succession", {
  defaultValue: () => undefined
})
