import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { EncodedEnvelope, Place } from "../../Envelope.ts"
import { type Provider, SourceTimeout } from "../../Source.ts"

/** In milliseconds. */
const patience = 10_000

/** @internal Fails when the source does not answer in time, each time that it is asked for more. */
export const inTime = <A, E, R>(
  provider: Provider<any, any, any>,
  stream: Stream.Stream<A, E, R>
): Stream.Stream<A, E | SourceTimeout, R> =>
  Stream.timeoutOrElse(stream, {
    duration: patience,
    orElse: () => Stream.fail(new SourceTimeout({ source: provider.key, waited: patience }))
  })

/** @internal An event as its source has it now, or none. With `to`, the first event from there up to another one. */
export const fetch = <E, R>(
  provider: Provider<any, E, R>,
  { persistenceId, sequenceNumber }: Pick<Place, "persistenceId" | "sequenceNumber">,
  to = sequenceNumber
): Effect.Effect<Option.Option<EncodedEnvelope>, E | SourceTimeout, R> => {
  const events = provider.entity(persistenceId, sequenceNumber, to)
  // A single event is read to the end of its stream: a remote call that is cut off counts against its whole connection.
  return (to === sequenceNumber ? Effect.map(Stream.runCollect(events), Arr.head) : Stream.runHead(events)).pipe(
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () => Effect.fail(new SourceTimeout({ source: provider.key, waited: patience }))
    })
  )
}
