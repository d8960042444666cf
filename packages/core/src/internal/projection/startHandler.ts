import * as Effect from "effect/Effect"
import type { Envelope } from "../../Envelope.ts"
import { type Handler, isGrouped, type Scoped } from "../../Handler.ts"
import type { SliceRange } from "../../SliceRange.ts"

type Handled = Effect.Effect<void, unknown, any>
type Start<A> = Effect.Effect<A, unknown, any>

/** @internal A handler that has started. It is given one event, unless it is one of groups. May throw. */
export type Handle = (envelopes: ReadonlyArray<Envelope<any>>) => Handled

/** @internal Starts a handler for a range, for as long as the scope. */
export const startHandler = (handler: Handler<any, any>, range: SliceRange): Start<Handle> =>
  isGrouped(handler)
    ? start(handler.handle, range)
    : Effect.map(start(handler, range), (handle): Handle => (envelopes) => handle(envelopes[0]!))

const start = <Input>(
  handle: ((input: Input) => Handled) | Scoped<Input, Handled>,
  range: SliceRange
): Start<(input: Input) => Handled> =>
  typeof handle === "function" ? Effect.succeed(handle) : Effect.suspend(() => handle.start(range))
