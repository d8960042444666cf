import type { Envelope } from "@sluice/core/Envelope"
import { type Handler, isGrouped, type Scoped } from "@sluice/core/Handler"
import * as Effect from "effect/Effect"

type Handled = Effect.Effect<void, any, any>

/** @internal The handler, with something done around each of its calls, whose envelopes are one, or a group. */
export const aroundHandler = <A, F extends Handled>(
  handler: Handler<A, F>,
  around: (envelopes: ReadonlyArray<Envelope<A>>, call: Effect.Effect<void, Effect.Error<F>, Effect.Services<F>>) => F
): Handler<A, F> => {
  const aroundAs = <Input>(
    handle: ((input: Input) => F) | Scoped<Input, F>,
    envelopesOf: (input: Input) => ReadonlyArray<Envelope<A>>
  ): typeof handle => {
    // a handler may throw
    const each = (handle: (input: Input) => F) => (input: Input) =>
      around(envelopesOf(input), Effect.suspend(() => handle(input)))
    return typeof handle === "function"
      ? each(handle)
      : { ...handle, start: (range) => Effect.map(handle.start(range), each) }
  }
  return isGrouped(handler)
    ? { ...handler, handle: aroundAs(handler.handle, (envelopes) => envelopes) }
    : aroundAs(handler, (envelope) => [envelope])
}
