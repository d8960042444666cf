import type { Offsets } from "@sluice/core/Offset"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { StreamStalled } from "../../GrpcError.ts"
import type { ClientCall } from "./clientCall.ts"

/** For how long, in milliseconds, a stream brings nothing before its producer is asked for its heads. */
const quiet = 30_000

/** For how long, in milliseconds, what the producer has may be on its way. */
const grace = 30_000

/** A slice of which the producer has more than was received. */
const missing = (heads: Offsets, received: Offsets) =>
  [...heads].find(([slice, { position }]) => position > (received.get(slice)?.position ?? 0))

/**
 * @internal
 * Ends a stream that brings nothing though its producer has something for it: the producer's event loop echoes beats, but whatever serves
 * this stream hangs, such as a stage that waits for ever. A stream that waits for its consumer is not looked at. If the producer cannot
 * be asked, nothing is known.
 */
export const watchStall = (
  call: Pick<ClientCall, "fail" | "waiting">,
  options: {
    readonly address: string
    readonly streamId: string
    readonly clock: Clock.Clock
    readonly heads: Effect.Effect<Offsets, unknown>
    readonly received: () => Offsets
  }
): Effect.Effect<never> => {
  const { address, clock, heads, received, streamId } = options
  const sleep = (millis: number) => clock.sleep(Duration.millis(millis))
  return Effect.forever(Effect.gen(function*() {
    yield* sleep(quiet + grace)
    if (call.waiting < quiet) return
    const there = yield* Effect.option(heads)
    if (Option.isNone(there) || missing(there.value, received()) === undefined) return
    yield* sleep(grace)
    const found = missing(there.value, received())
    if (found === undefined || call.waiting < quiet + grace) return
    const [slice, { position }] = found
    const seconds = Math.floor(call.waiting / 1000)
    call.fail(
      new StreamStalled({
        address,
        streamId,
        slice,
        received: received().get(slice)?.position ?? 0,
        head: position,
        seconds
      })
    )
  }))
}
