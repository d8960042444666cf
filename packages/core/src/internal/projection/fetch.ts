import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { EncodedEnvelope, Place } from "../../Envelope.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import { make as sequenceNumber } from "../../SequenceNumber.ts"
import { type Provider, SourceTimeout } from "../../Source.ts"

/** @internal For how long a source may take for an answer, in milliseconds. */
export const patience = 10_000

const tooLate = ({ key }: Provider<any, any, any>) => new SourceTimeout({ source: key, waited: patience })

/** @internal Fails when the source does not answer in time, each time that it is asked for more. */
export const inTime = <A, E, R>(
  provider: Provider<any, any, any>,
  stream: Stream.Stream<A, E, R>
): Stream.Stream<A, E | SourceTimeout, R> =>
  Stream.timeoutOrElse(stream, {
    duration: patience,
    orElse: () => Stream.fail(tooLate(provider))
  })

/** @internal Fails when the source does not answer in time. */
export const orTimeout = <A, E, R>(
  provider: Provider<any, any, any>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SourceTimeout, R> =>
  Effect.timeoutOrElse(effect, {
    duration: patience,
    orElse: () => Effect.fail(tooLate(provider))
  })

/** @internal An event as its source has it now, or none. With `to`, the first event from there up to another one. */
export const fetch = <E, R>(
  provider: Provider<any, E, R>,
  { persistenceId, sequenceNumber }: Pick<Place, "persistenceId" | "sequenceNumber">,
  to = sequenceNumber
): Effect.Effect<Option.Option<EncodedEnvelope>, E | SourceTimeout, R> => {
  const events = provider.entity(persistenceId, sequenceNumber, to)
  // A single event is read to the end of its stream: a remote call that is cut off counts against its whole connection.
  return orTimeout(
    provider,
    to === sequenceNumber ? Effect.map(Stream.runCollect(events), Arr.head) : Stream.runHead(events)
  )
}

/** @internal The first event of an entity from one number to another, as its source has it now; undefined if there is none. */
export const firstOf = <E, R>(
  provider: Provider<any, E, R>,
  persistenceId: PersistenceId,
  from: number,
  to = from
): Effect.Effect<EncodedEnvelope | undefined, E | SourceTimeout, R> =>
  Effect.map(
    fetch(provider, { persistenceId, sequenceNumber: sequenceNumber(from) }, sequenceNumber(to)),
    Option.getOrUndefined
  )

/**
 * @internal
 * Whether a source that shows the place alone of an event may show the event later. Of one that it hides, as part of an entity that it shows, it does not say when
 * it was written, as it does of one that it has dropped, or that is deleted.
 */
export const isHiddenAlone = <E, R>(
  provider: Provider<any, E, R>,
  { persistenceId, sequenceNumber }: Pick<Place, "persistenceId" | "sequenceNumber">
): Effect.Effect<boolean, E | SourceTimeout, R> =>
  provider.filter === undefined || provider.written === undefined
    ? Effect.succeed(false)
    : Effect.map(
      orTimeout(provider, provider.written(persistenceId, sequenceNumber)),
      (written) => written === undefined
    )
