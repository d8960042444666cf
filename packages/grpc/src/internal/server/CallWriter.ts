import type { EventTooLarge } from "@sluice/core/Journal"
import * as Effect from "effect/Effect"
import type { IncomingCall } from "../../Call.ts"
import { echoFrame } from "../wire/beats.ts"
import type { Pieces } from "../wire/frames.ts"
import type { Share } from "./SendBudget.ts"

/** What is larger is waited for until it is on its way, so that no memory is asked for meanwhile. */
const little = 4 * 1024

/**
 * @internal
 * Writes to a call, each piece when the one before is on its way: what waits for the other side is not made yet.
 */
export class CallWriter {
  readonly #call: IncomingCall
  readonly #share: Pick<Share, "wrote">
  /** How many bytes are not on their way yet. */
  #pending = 0
  /** The last beat that has come. */
  #beat: bigint | undefined
  #disruption = ""
  /** Whether an echo is to be written, as soon as nothing is pending. */
  #owesEcho = false
  /** Goes on when nothing is pending. */
  #idle: (() => void) | undefined

  constructor(call: IncomingCall, share: Pick<Share, "wrote">) {
    this.#call = call
    this.#share = share
  }

  /**
   * Fails at an event that is too large, after those before it. A little may not be on its way yet when it ends: whoever looks for more
   * then need not be woken twice for an event.
   */
  write(pieces: Pieces): Effect.Effect<void, EventTooLarge> {
    const go: Effect.Effect<void, EventTooLarge> = Effect.suspend(() => {
      if (this.#pending > 0) return Effect.andThen(this.#untilIdle, go)
      const frames = pieces.next()
      if (frames === undefined) {
        const tooLarge = pieces.tooLarge()
        return tooLarge === undefined ? Effect.void : Effect.fail(tooLarge)
      }
      this.#put(frames)
      return frames.length <= little && pieces.isLast() ? Effect.void : go
    })
    return go
  }

  /** Echoes a beat as soon as what was written is on its way. Of several that come meanwhile it echoes the last. */
  echo(beat: bigint): void {
    this.#beat = beat
    this.#writeEcho()
  }

  /** Tells a consumer that sends beats what is wrong with what is read; nothing if that is empty. */
  tell(disruption: string): void {
    if (disruption === this.#disruption) return
    this.#disruption = disruption
    if (this.#beat !== undefined) this.#writeEcho()
  }

  #writeEcho(): void {
    this.#owesEcho = this.#pending > 0
    if (!this.#owesEcho) this.#put(echoFrame({ number: this.#beat!, disruption: this.#disruption }))
  }

  readonly #untilIdle: Effect.Effect<void> = Effect.callback((resume) => {
    if (this.#pending === 0) resume(Effect.void)
    else this.#idle = () => resume(Effect.void)
  })

  #put(frames: Uint8Array): void {
    this.#pending += frames.length
    this.#share.wrote(true, 0)
    this.#call.write(frames, this.#taken)
  }

  readonly #taken = (bytes: number): void => {
    this.#pending -= bytes
    this.#share.wrote(this.#pending > 0, bytes)
    if (this.#pending === 0 && this.#owesEcho) this.#writeEcho()
    if (this.#pending > 0 || this.#idle === undefined) return
    const idle = this.#idle
    this.#idle = undefined
    idle()
  }
}
