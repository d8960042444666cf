import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { EncodedEnvelope } from "../../Envelope.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import { make as sequenceNumber } from "../../SequenceNumber.ts"
import type { Provider } from "../../Source.ts"
import { fetch } from "./fetch.ts"

/**
 * @internal
 * The last sequence number of an entity, up to one that it has, whose event is old, as all events before that are: the `last` one, where events that the source does not have
 * any more count as old if no other event that is not old is before them, and the last one that was `seen`, or 0. It asks for few of them, the last one first: in most cases nothing of
 * the entity lies between.
 */
export const lastBefore = Effect.fnUntraced(function*<E, R>(
  provider: Provider<any, E, R>,
  persistenceId: PersistenceId,
  last: number,
  isOld: (event: EncodedEnvelope) => boolean
) {
  const get = (from: number, to: number) =>
    Effect.map(
      fetch(provider, { persistenceId, sequenceNumber: sequenceNumber(from) }, sequenceNumber(to)),
      Option.getOrUndefined
    )
  /** The first one that is known not to be old. */
  let first = last + 1
  let [old, end] = [0, last + 1]
  for (let at = last; old + 1 < end; at = Math.floor((old + end) / 2)) {
    // by itself, as few streams should be cut off
    const found = (yield* get(at, at)) ?? (at + 1 < end ? yield* get(at + 1, end - 1) : undefined)
    if (found !== undefined && isOld(found)) old = found.sequenceNumber
    else {
      end = at
      if (found !== undefined) first = found.sequenceNumber
    }
  }
  return { last: first - 1, seen: old }
})
