/** The consumer's side of a test. */
import type { Envelope } from "@sluice/core/Envelope"
import * as Source from "@sluice/core/Source"
import * as EventConsumer from "@sluice/grpc/EventConsumer"
import * as Wait from "@sluice/testing/Wait"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { CartEvents } from "./Producer.ts"

export const remote = (where: number | string, options?: Partial<EventConsumer.Options>) =>
  EventConsumer.source(CartEvents, {
    address: typeof where === "number" ? `127.0.0.1:${where}` : where,
    ...options
  })

/** A source that is being read. */
export interface Reading<A, E> {
  readonly envelopes: ReadonlyArray<Envelope<A>>
  readonly fiber: Fiber.Fiber<void, E>
}

export const read = <A, E>(
  source: Source.Source<A, E>,
  options?: Source.OpenOptions
): Effect.Effect<Reading<A, E>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const envelopes: Array<Envelope<A>> = []
    const fiber = yield* Effect.forkScoped(
      Stream.runForEachArray(Source.toStream(source, options), (chunk) => Effect.sync(() => envelopes.push(...chunk)))
    )
    return { envelopes, fiber }
  })

/** Waits for at least `n` envelopes, or the end of the reading. */
export const received = (reading: Reading<unknown, unknown>, n: number): Effect.Effect<void> =>
  Wait.until(`${n} envelopes`, () => {
    const exit = reading.fiber.pollUnsafe()
    if (exit !== undefined && Exit.isFailure(exit) && reading.envelopes.length < n) {
      throw new Error("the reading failed", { cause: Cause.squash(exit.cause) })
    }
    return reading.envelopes.length >= n
  })

/** How a reading fails. */
export const failure = <A, E>(reading: Reading<A, E>): Effect.Effect<E, void> => Effect.flip(Fiber.join(reading.fiber))

export const shortly = ({ event, persistenceId, sequenceNumber }: Envelope<string>): string =>
  `${persistenceId.slice(persistenceId.indexOf("|") + 1)} ${sequenceNumber} ${event}`
