import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as RcMap from "effect/RcMap"
import * as Scope from "effect/Scope"
import type { EncodedEnvelope } from "../../Envelope.ts"
import * as Journal from "../../Journal.ts"
import * as MetricAttributes from "../../MetricAttributes.ts"
import { journalPages } from "../../Metrics.ts"
import * as SliceRange from "../../SliceRange.ts"
import type { StorageError } from "../../StorageError.ts"
import { answering } from "./answering.ts"
import { JournalTail } from "./JournalTail.ts"

/** @internal */
export type TailError = StorageError | Journal.JournalForked | Journal.OffsetBelowFloor

/** Enough for the cost of a page to vanish. */
const pageSize = 500

type Tails = RcMap.RcMap<string, JournalTail<TailError>, TailError>

/**
 * @internal
 * The tail of an entity type of a journal. All who follow it share it, and one reader feeds it. It ends with the last of them.
 */
export interface JournalTails {
  readonly get: (
    journal: Journal.Journal["Service"],
    entityType: string
  ) => Effect.Effect<JournalTail<TailError>, TailError, Scope.Scope>
}

/** @internal No tails yet. */
export const make = (): JournalTails => {
  const known = new WeakMap<Journal.Journal["Service"], Tails>()
  return {
    get: (journal, entityType) =>
      Effect.suspend(() => {
        const tails = known.get(journal)
        if (tails !== undefined) return RcMap.get(tails, entityType)
        return Effect.flatMap(makeTails(journal), (made) => {
          // another may have begun meanwhile
          const tails = known.get(journal) ?? made
          known.set(journal, tails)
          return RcMap.get(tails, entityType)
        })
      })
  }
}

/** @internal The tails of this process, unless others are provided. */
export const JournalTails = Context.Reference<JournalTails>("@sluice/core/JournalTails", { defaultValue: make })

const makeTails = (journal: Journal.Journal["Service"]): Effect.Effect<Tails> =>
  Effect.gen(function*() {
    const map: Tails = yield* RcMap.make({
      lookup: (entityType: string) =>
        start(journal, entityType, Effect.suspend(() => RcMap.invalidate(map, entityType)))
    })
    return map
  }).pipe(Scope.provide(Scope.makeUnsafe()))

/** Keeps a tail up to date. When that fails, so do all who follow it: they begin anew from where they are. */
const start = Effect.fnUntraced(function*(
  journal: Journal.Journal["Service"],
  entityType: string,
  forget: Effect.Effect<void>
) {
  // listens before it reads, or an append between the two would go unnoticed
  const changed = yield* journal.changes(entityType)
  let publish: Parameters<typeof journal.committed>[1] | undefined
  yield* journal.committed(entityType, (events) => publish?.(events))

  const heads = yield* journal.heads(entityType, SliceRange.full)
  const reader = yield* journal.reader(entityType, SliceRange.full, heads, { byTime: true })
  const tail = new JournalTail<TailError>(heads)
  const forked = Deferred.makeUnsafe<never, TailError>()
  const push = (events: ReadonlyArray<EncodedEnvelope>): void => {
    const fork = tail.failure === undefined ? tail.push(events) : undefined
    if (fork === undefined) return
    const error = new Journal.JournalForked({ entityType, ...fork })
    // at once, as what comes next is of another history
    tail.fail(Cause.fail(error))
    Deferred.doneUnsafe(forked, Exit.fail(error))
  }
  publish = (events) => {
    push(events)
    if (events.every((event) => tail.has(event))) reader.pass(events)
  }

  const metered = MetricAttributes.add(yield* Effect.context(), "entity_type", entityType)
  const next = answering(tail.health, `follow the journal of '${entityType}'`, reader.next(pageSize))
  const read: Effect.Effect<never, TailError> = Effect.flatMap(next, (page) => {
    push(page)
    if (page.length > 0) journalPages.updateUnsafe(1, metered)
    return page.length === 0 ? Effect.andThen(changed, read) : read
  })
  yield* Effect.raceFirst(read, Deferred.await(forked)).pipe(
    Effect.catchCause((cause) => Effect.andThen(forget, Effect.sync(() => tail.fail(cause)))),
    Effect.forkScoped
  )
  return tail
})
