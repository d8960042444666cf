import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type { Place } from "../../Envelope.ts"
import type { Rewound } from "../../ReadingState.ts"
import type { Slice } from "../../Slice.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { Provider } from "../../Source.ts"
import { type Timestamp, toMillis } from "../../Timestamp.ts"
import { orTimeout } from "./fetch.ts"

/** What is known of events that are missing, beside that the source does not have them. */
interface Known {
  /** What is older than this was given up by a change of the filter, or handled. */
  readonly settled: Timestamp
  /** The last one that was seen to be as old; 0 if none was. */
  readonly lastGivenUp: number
  /** Up to which one they had been handled before a rewind. */
  readonly rewound: Rewound | undefined
}

/**
 * @internal
 * Says which events of an entity are gone, of those from one number to before another one: what the source has deleted before it could be read is never
 * handled. Nothing is said of those that would not have been handled either way.
 */
export const tellOfGone = Effect.fnUntraced(function*<E, R>(
  provider: Provider<any, E, R>,
  { persistenceId, slice }: Pick<Place, "persistenceId" | "slice">,
  from: number,
  next: number,
  { lastGivenUp, rewound, settled }: Known
) {
  const last = next - 1
  let first = Math.max(from, lastGivenUp + 1)
  const tell = (to: number, what: string) =>
    Effect.logWarning(`Events ${first} to ${to} of '${persistenceId}' ${what}. Goes on with event ${next}`)
  if (rewound !== undefined && first <= Math.min(last, rewound.last)) {
    const { since } = rewound
    const to = Math.min(last, rewound.last)
    if (yield* isDeletedSince(provider, slice, since)) {
      yield* tell(
        to,
        `were deleted at the source. Those of them that were written from ${
          format(since)
        } on were to come again after a ` +
          "rewind, and do not"
      )
    }
    first = to + 1
  }
  if (first > last) return
  const leftOut = "were left out by a filter, and deleted at the source before they were selected"
  if (settled === 0) return yield* tell(last, leftOut)
  if (yield* isDeletedSince(provider, slice, settled)) {
    yield* tell(
      last,
      `${leftOut}. Those of them that were written before ${
        format(settled)
      } are no loss: they had been handled, or given up`
    )
  }
})

/** Whether the source has deleted any event of a slice that is not older than a time. It may have, where it does not say: nothing else depends on that. */
const isDeletedSince = <E, R>(provider: Provider<any, E, R>, slice: Slice, time: Timestamp) =>
  orTimeout(provider, provider.before(SliceRange.make(slice, slice), time)).pipe(
    Effect.map((before) => before.get(slice)?.position === 0),
    Effect.orElseSucceed(() => true)
  )

const format = (time: Timestamp): string => DateTime.formatIso(DateTime.makeUnsafe(toMillis(time)))
