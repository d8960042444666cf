import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Envelope } from "../../Envelope.ts"
import { type Flow, FlowEnded, FlowOverdue, isFlow } from "../../Flow.ts"
import { isGrouped, type Scoped } from "../../Handler.ts"
import type { Projection } from "../../ProjectionDefinition.ts"
import type { SliceRange } from "../../SliceRange.ts"

type Handled = Effect.Effect<void, unknown, any>
type Start<A> = Effect.Effect<A, unknown, any>

/** @internal A handler that has started. It is given one event, unless it is one of groups. May throw. */
export type Handle = (envelopes: ReadonlyArray<Envelope<any>>) => Handled

/** @internal Starts a handler for a range, for as long as the scope. A flow is started anew for the events of each call, and ends with them. */
export const startHandler = (
  { handler, name }: Pick<Projection<any, any>, "handler" | "name">,
  range: SliceRange
): Start<Handle> =>
  isFlow(handler)
    ? Effect.succeed((envelopes) => runFlow(name, handler, envelopes))
    : isGrouped(handler)
    ? start(handler.handle, range)
    : Effect.map(start(handler, range), (handle): Handle => (envelopes) => handle(envelopes[0]!))

const start = <Input>(
  handle: ((input: Input) => Handled) | Scoped<Input, Handled>,
  range: SliceRange
): Start<(input: Input) => Handled> =>
  typeof handle === "function" ? Effect.succeed(handle) : Effect.suspend(() => handle.start(range))

const runFlow = (projection: string, { deadline, run }: Flow, envelopes: ReadonlyArray<Envelope<any>>): Handled =>
  Effect.suspend(() => {
    const missing = new Set(envelopes)
    const judge = (hasEnded: boolean): Effect.Effect<void, FlowOverdue | FlowEnded> => {
      for (const { persistenceId, sequenceNumber } of missing) {
        const event = { persistenceId, sequenceNumber }
        const error = hasEnded
          ? new FlowEnded({ projection, event })
          : new FlowOverdue({ projection, ...event, deadline: Duration.toMillis(deadline) })
        return Effect.fail(error)
      }
      return Effect.void
    }
    return run(Stream.fromArray(envelopes)).pipe(
      Stream.runForEach(({ persistenceId, sequenceNumber }) =>
        Effect.sync(() => {
          for (const envelope of missing) {
            const isIt = envelope.persistenceId === persistenceId && envelope.sequenceNumber === sequenceNumber
            if (isIt) missing.delete(envelope)
          }
        })
      ),
      Effect.scoped,
      Effect.timeoutOption(deadline),
      Effect.flatMap(({ _tag }) => judge(_tag === "Some"))
    )
  })
