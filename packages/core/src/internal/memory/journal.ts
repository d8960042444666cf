import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Journal from "../../Journal.ts"
import { entityType as entityTypeOf } from "../../PersistenceId.ts"
import * as Timestamp from "../../Timestamp.ts"
import type { MemoryDatabase } from "./database.ts"
import {
  append,
  before,
  empty,
  entitiesOf,
  entity,
  floors,
  hasReplicated,
  heads,
  isReplicated,
  prune,
  reader,
  wrong
} from "./logs.ts"
import { emptyLetters, type Letters } from "./projectionManagement.ts"

/** @internal */
export const makeMemoryJournal = (
  { afterCommit, committed, events, inTransaction, logs, read, transaction, whileOpen, write }: MemoryDatabase,
  letters: Letters,
  identity: string
): Journal.Journal["Service"] =>
  Journal.make({
    identity,
    now: Effect.map(Clock.currentTimeMillis, Timestamp.fromMillis),
    transaction,
    afterCommit,
    inTransaction,
    append: (request) =>
      write((transaction, now) => {
        const answer = append(logs, transaction.draft, request, now)
        if (answer._tag === "Conflict") return Effect.fail(answer.conflict)
        return Effect.succeed(answer.written)
      }),
    entityTypes: (limit) =>
      whileOpen(Effect.sync(() =>
        Array.from(logs.timelines)
          .flatMap(([entityType, events]) => events.length > 0 ? [entityType] : [])
          .slice(0, limit)
      )),
    heads: (entityType, range) => whileOpen(Effect.sync(() => heads(logs, entityType, range))),
    before: (entityType, range, time) => whileOpen(Effect.sync(() => before(logs, entityType, range, time))),
    reader: (entityType, range, start) =>
      whileOpen(Effect.suspend(() => {
        const error = wrong(logs, entityType, range, start)
        if (error !== undefined) return Effect.fail(error)
        const { next, pass } = reader(logs, entityType, range, start)
        return Effect.succeed({ next: (limit: number) => whileOpen(next(limit)), pass })
      })),
    entity: (persistenceId, from, to, limit) =>
      read((transaction) => entity(logs, transaction?.draft, persistenceId, from, to, limit)),
    deleteEvents: (persistenceId, to, { evenReplicated = false } = {}) =>
      write((transaction) =>
        Effect.suspend(() => {
          if (!evenReplicated && isReplicated(logs, transaction.draft, persistenceId)) {
            return Effect.fail(
              new Journal.ReplicatedEvents({ entityType: entityTypeOf(persistenceId), persistenceId })
            )
          }
          empty(logs, transaction.draft, persistenceId, to)
          emptyLetters(
            letters,
            transaction,
            Journal.sourceKey(entityTypeOf(persistenceId)),
            (letter) => letter.persistenceId === persistenceId && letter.sequenceNumber <= to
          )
          return Effect.void
        })
      ),
    prune: (entityType, before, { evenReplicated = false, included, upTo } = {}) =>
      write((transaction) =>
        Effect.gen(function*() {
          if (!evenReplicated && hasReplicated(logs, entityType)) {
            return yield* new Journal.ReplicatedEvents({ entityType, persistenceId: undefined })
          }
          const kept = included && (yield* included(entitiesOf(logs, entityType)))
          const removed = prune(logs, entityType, before, upTo, kept)
          emptyLetters(
            letters,
            transaction,
            Journal.sourceKey(entityType),
            ({ persistenceId, sequenceNumber }) =>
              entity(logs, undefined, persistenceId, sequenceNumber, sequenceNumber, 1).length === 0
          )
          return removed
        })
      ),
    floors: (entityType, range) => whileOpen(Effect.sync(() => floors(logs, entityType, range))),
    committed,
    changes: events.subscribe
  })
