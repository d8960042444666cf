import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { EncodedEnvelope } from "../Envelope.ts"
import * as Floor from "../Floor.ts"
import * as Journal from "../Journal.ts"
import type { Offsets } from "../Offset.ts"
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
  Feed<StorageError | Journal.OffsetBelowFloor>,
  StorageError | Journal.JournalForked | Journal.JournalReplaced | Journal.OffsetBelowFloor,
  Journal.Journal | Scope.Scope
> =>
  Journal.Journal.use((journal) =>
    start.pastDeleted !== true
      ? followLog(journal, entityType, range, start)
      : Effect.flatMap(
        journal.floors(entityType, range),
        (floors) => followLog(journal, entityType, range, { ...start, offsets: Floor.raise(start.offsets, floors) })
      )
  )

/** What a log can be followed with. */
interface Log<E, E2> {
  readonly identity: string
  readonly changes: Journal.Journal["Service"]["changes"]
  readonly reader: (
    entityType: string,
    range: SliceRange,
    start: Offsets
  ) => Effect.Effect<
    { readonly next: (limit: number) => Effect.Effect<ReadonlyArray<EncodedEnvelope>, E2> },
    E,
    Scope.Scope
  >
}

/** @internal As `follow`, of any log that can be read on. */
export const followLog = <E, E2>(
  log: Log<E, E2>,
  entityType: string,
  range: SliceRange,
  start: Start
): Effect.Effect<Feed<E2>, E | Journal.JournalReplaced, Scope.Scope> =>
  Effect.gen(function*() {
    if (start.journal !== undefined && start.journal !== log.identity) {
      return yield* new Journal.JournalReplaced({ expected: start.journal, actual: log.identity })
    }
    // subscribed before the first read, or an append between the two would go unnoticed
    const changed = yield* log.changes(entityType)
    const reader = yield* log.reader(entityType, range, start.offsets)
    const next: Effect.Effect<Arr.NonEmptyReadonlyArray<EncodedEnvelope>, E2> = Effect.flatMap(
      reader.next(pageSize),
      (page) => Arr.isReadonlyArrayNonEmpty(page) ? Effect.succeed(page) : Effect.andThen(changed, next)
    )
    return { journal: log.identity, envelopes: Stream.fromPull(Effect.succeed(next)) }
  })
