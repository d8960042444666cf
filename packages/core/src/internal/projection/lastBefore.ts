import * as Effect from "effect/Effect"
import type { EncodedEnvelope } from "../../Envelope.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import type { Provider } from "../../Source.ts"
import { firstOf } from "./fetch.ts"

/**
 * @internal
 * The last sequence number of an entity, up to one that it has, whose event was seen to be old, as all events before that are; 0 if none was. An event that the source does not
 * show may be hidden for a moment, and says nothing. It asks for few of them, the last one first: in most cases nothing of the entity lies between.
 */
export const lastBefore = Effect.fnUntraced(function*<E, R>(
  provider: Provider<any, E, R>,
  persistenceId: PersistenceId,
  last: number,
  isOld: (event: EncodedEnvelope) => boolean
) {
  let [old, end] = [0, last + 1]
  for (let at = last; old + 1 < end; at = Math.floor((old + end) / 2)) {
    // by itself, as few streams should be cut off
    const found = (yield* firstOf(provider, persistenceId, at)) ??
      (at + 1 < end ? yield* firstOf(provider, persistenceId, at + 1, end - 1) : undefined)
    if (found !== undefined && isOld(found)) old = found.sequenceNumber
    else end = at
  }
  return old
})
