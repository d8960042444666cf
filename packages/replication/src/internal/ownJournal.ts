import { Journal, type JournalForked, type OffsetBelowFloor } from "@sluice/core/Journal"
import * as SliceRange from "@sluice/core/SliceRange"
import type { StorageError } from "@sluice/core/StorageError"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { ForeignJournal } from "../ReplicationError.ts"

/** For how many seconds a database is waited for that cannot be asked. */
const patience = 30

/** In so many logs an event is looked at: those from before the entities were replicated, which tell nothing, may come first in all of them. */
const mostLogs = 16

/** An entity of the type that belongs to one of the replicas. The newest event of a log is never removed, so that each has one after its floor. */
const someEntity = (
  entityType: string,
  suffixes: ReadonlyArray<string>
): Effect.Effect<string | undefined, StorageError | JournalForked | OffsetBelowFloor, Journal> =>
  Effect.gen(function*() {
    const journal = yield* Journal
    const heads = yield* journal.heads(entityType, SliceRange.full)
    for (const slice of [...heads.keys()].slice(0, mostLogs)) {
      const range = SliceRange.make(slice, slice)
      const reader = yield* journal.reader(entityType, range, yield* journal.floors(entityType, range))
      const [event] = yield* reader.next(1)
      if (event !== undefined && suffixes.some((suffix) => event.persistenceId.endsWith(suffix))) {
        return event.persistenceId
      }
    }
    return undefined
  }).pipe(Effect.scoped)

/**
 * @internal
 * Dies with `ForeignJournal` where the journal has entities of another replica. One event tells for all, as no replica has ever started on another one's
 * journal. What fails is tried again: the database may be busy, or remove events meanwhile.
 */
export const checkJournal = (
  entityType: string,
  replica: string,
  replicas: Iterable<string>
): Effect.Effect<void, never, Journal> =>
  someEntity(entityType, Array.from(replicas, (id) => `|${id}`)).pipe(
    Effect.retry({ schedule: Schedule.spaced("1 second"), times: patience }),
    Effect.orDie,
    Effect.flatMap((persistenceId) =>
      persistenceId === undefined || persistenceId.endsWith(`|${replica}`)
        ? Effect.void
        : Effect.die(new ForeignJournal({ entityType, persistenceId, replica }))
    )
  )
