import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { DurableStateStore } from "../../DurableStateStore.ts"
import type { EncodedEnvelope } from "../../Envelope.ts"
import { type Feed, Health, type Start } from "../../Feed.ts"
import { type JournalForked, JournalReplaced } from "../../JournalError.ts"
import { ReadBudget } from "../../ReadBudget.ts"
import type { SliceRange } from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"
import { answering } from "./answering.ts"
import { pastHeads } from "./pastHeads.ts"

const pageSize = 500

/** @internal Reads the changes of durable states, and then waits for more. */
export const followChanges = (
  entityType: string,
  range: SliceRange,
  start: Start
): Effect.Effect<
  Feed<JournalForked | StorageError>,
  JournalForked | JournalReplaced | StorageError,
  DurableStateStore | Scope.Scope
> =>
  Effect.gen(function*() {
    const states = yield* DurableStateStore
    if (start.journal !== undefined && start.journal !== states.identity) {
      return yield* new JournalReplaced({ expected: start.journal, actual: states.identity, entityType })
    }
    // subscribed before the first read, or a change between the two would go unnoticed
    const changed = yield* states.changes(entityType)
    const byTime = start.byTime ?? false
    const offsets = byTime ? pastHeads(start.offsets, yield* states.heads(entityType, range)) : start.offsets
    const reader = yield* states.reader(entityType, range, offsets, { byTime })
    const budget = yield* ReadBudget
    const health = yield* Health
    const next: Effect.Effect<Arr.NonEmptyReadonlyArray<EncodedEnvelope>, JournalForked | StorageError> = Effect
      .flatMap(
        budget.read(
          (limit) => answering(health, `follow the states of '${entityType}'`, reader.next(limit)),
          pageSize
        ),
        (page) => Arr.isReadonlyArrayNonEmpty(page) ? Effect.succeed(page) : Effect.andThen(changed, next)
      )
    return { journal: states.identity, envelopes: Stream.fromPull(Effect.succeed(next)) }
  })
