import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { EncodedEnvelope } from "../../Envelope.ts"
import type { PersistenceId } from "../../PersistenceId.ts"
import { compile } from "../pipeline/compile.ts"
import type { Repairing } from "./repairs.ts"

/** So many events are decoded at once. It is few, as others wait meanwhile. */
const atOnce = 16

type GoPast = (from: number, to: number) => Effect.Effect<void, unknown, any>

/**
 * @internal
 * Has the events of an entity judged, from one number to another, as they come. It goes past numbers that are not there as it is told, once all before
 * them were passed on.
 */
export const deliver = <E, R>(
  self: Repairing,
  persistenceId: PersistenceId,
  from: number,
  to: number,
  events: Stream.Stream<EncodedEnvelope, E, R>,
  goPast: GoPast
): Effect.Effect<void, unknown, any> =>
  Effect.suspend(() => {
    let next = from
    return events.pipe(
      Stream.runForEachArray((chunk) =>
        Effect.map(deliverChunk(self, persistenceId, next, chunk, goPast), (after) => {
          next = after
        })
      ),
      Effect.andThen(Effect.suspend(() => next > to ? Effect.void : goPast(next, to + 1)))
    )
  })

/** One number is expected next. Returns which one is expected then. */
const deliverChunk = Effect.fnUntraced(function*(
  self: Repairing,
  persistenceId: PersistenceId,
  expected: number,
  chunk: ReadonlyArray<EncodedEnvelope>,
  goPast: GoPast
): Effect.fn.Return<number, unknown, any> {
  let next = expected
  let events: Array<EncodedEnvelope> = []
  for (const event of chunk) {
    if (event.persistenceId !== persistenceId || event.sequenceNumber < next) continue
    if (event.sequenceNumber > next) {
      yield* pass(self, events)
      events = []
      yield* goPast(next, event.sequenceNumber)
    }
    events.push(event)
    next = event.sequenceNumber + 1
  }
  yield* pass(self, events)
  return next
})

const pass = Effect.fnUntraced(function*(
  { decoding, handling: { projection: { source } }, offer }: Repairing,
  events: ReadonlyArray<EncodedEnvelope>
): Effect.fn.Return<void, unknown, any> {
  const toElements = compile<any, any>(source.provider.codec, source.stages)
  for (let i = 0; i < events.length; i += atOnce) {
    const some = events.slice(i, i + atOnce) as unknown as NonEmptyReadonlyArray<EncodedEnvelope>
    yield* Semaphore.withPermit(decoding, Effect.flatMap(toElements(some), offer))
  }
})
