import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { EncodedEnvelope } from "../Envelope.ts"
import * as Journal from "../Journal.ts"
import type { SliceRange } from "../SliceRange.ts"
import type { Feed, Start } from "../Source.ts"
import type { StorageError } from "../StorageError.ts"

/** Enough for the cost of a page to vanish, and few enough for the event loop to stay responsive. */
const pageSize = 500

/** @internal Reads a journal to its end, and then on as it grows. */
export const follow = (
  entityType: string,
  range: SliceRange,
  start: Start
): Effect.Effect<
  Feed<StorageError>,
  StorageError | Journal.JournalForked | Journal.JournalReplaced,
  Journal.Journal | Scope.Scope
> =>
  Effect.gen(function*() {
    const journal = yield* Journal.Journal
    if ("journal" in start && start.journal !== undefined && start.journal !== journal.identity) {
      return yield* new Journal.JournalReplaced({ expected: start.journal, actual: journal.identity })
    }
    // subscribed before the first read, or an append between the two would go unnoticed
    const changed = yield* journal.changes(entityType)
    const reader = yield* journal.reader(entityType, range, "timestamp" in start ? start.timestamp : start.offsets)
    const next: Effect.Effect<Arr.NonEmptyReadonlyArray<EncodedEnvelope>, StorageError> = Effect.flatMap(
      reader.next(pageSize),
      (page) => Arr.isReadonlyArrayNonEmpty(page) ? Effect.succeed(page) : Effect.andThen(changed, next)
    )
    return { journal: journal.identity, envelopes: Stream.fromPull(Effect.succeed(next)) }
  })
