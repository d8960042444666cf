import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Journal from "../Journal.ts"
import * as Timestamp from "../Timestamp.ts"
import type { MemoryDatabase } from "./memoryDatabase.ts"
import { append, empty, entity, floors, heads, prune, reader, wrong } from "./memoryLogs.ts"

/** @internal */
export const makeMemoryJournal = (
  { committed, logs, read, subscribe, transaction, write }: MemoryDatabase
): Journal.Journal["Service"] =>
  Journal.make({
    identity: crypto.randomUUID(),
    now: Effect.map(Clock.currentTimeMillis, Timestamp.fromMillis),
    transaction,
    append: (request) =>
      write((transaction, now) => {
        const answer = append(logs, transaction.draft, request, now)
        if (answer._tag === "Conflict") return Effect.fail(answer.conflict)
        transaction.topics.add(request.entityType)
        return Effect.succeed(answer.written)
      }),
    heads: (entityType, range) => Effect.sync(() => heads(logs, entityType, range)),
    reader: (entityType, range, start) =>
      Effect.suspend(() => {
        const error = wrong(logs, entityType, range, start)
        return error === undefined ? Effect.succeed(reader(logs, entityType, range, start)) : Effect.fail(error)
      }),
    entity: (persistenceId, from, to, limit) =>
      read((transaction) => entity(logs, transaction?.draft, persistenceId, from, to, limit)),
    deleteEvents: (persistenceId, to) => write(({ draft }) => Effect.sync(() => empty(logs, draft, persistenceId, to))),
    prune: (entityType, before) => write(() => Effect.sync(() => prune(logs, entityType, before))),
    floors: (entityType, range) => Effect.sync(() => floors(logs, entityType, range)),
    committed,
    changes: subscribe
  })
