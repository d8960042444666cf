import { type EncodedElement, isSkipped } from "@sluice/core/Envelope"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Semaphore from "effect/Semaphore"

/** For how long, in milliseconds, placeholders wait for an event to be sent with. */
const longest = 50

/** So many wait at most. */
const most = 500

const isPlaceholder = (element: EncodedElement): boolean => !isSkipped(element) && element.payload === undefined

/**
 * @internal
 * Writes in the same order, but has placeholders wait for the next event, or for a moment by the clock of the network. They only move offsets. Replicas that consume each other
 * send one for each event that they have just been sent, and each by itself would cost both of them as much as an event. `sendHeld` is to run for as long: it writes what has waited for long enough, and fails as that does.
 */
export const holdingBack = <E>(
  write: (elements: ReadonlyArray<EncodedElement>) => Effect.Effect<void, E>,
  clock: Clock.Clock
): {
  readonly send: (elements: ReadonlyArray<EncodedElement>) => Effect.Effect<void, E>
  readonly sendHeld: Effect.Effect<never, E>
} => {
  const waits = Latch.makeUnsafe()
  const one = Semaphore.makeUnsafe(1)
  let held: Array<EncodedElement> = []
  /** What is held goes first. */
  const send = (elements: ReadonlyArray<EncodedElement>) =>
    Semaphore.withPermit(
      one,
      Effect.suspend(() => {
        const all = held.length === 0 ? elements : [...held, ...elements]
        held = []
        return all.length === 0 ? Effect.void : write(all)
      })
    )
  return {
    send: (elements) =>
      Effect.suspend(() => {
        if (held.length + elements.length > most || !elements.every(isPlaceholder)) return send(elements)
        held.push(...elements)
        waits.openUnsafe()
        return Effect.void
      }),
    sendHeld: Effect.forever(Effect.gen(function*() {
      yield* waits.await
      yield* clock.sleep(Duration.millis(longest))
      waits.closeUnsafe()
      yield* send([])
    }))
  }
}
